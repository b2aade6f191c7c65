"""Who may do what, by the API and by a real Docker client."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labtest import DockerClient, Registry

REPOSITORY = "access/probe"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
DIGEST = "sha256:" + "0" * 64
WRITES = [
    ("POST", UPLOADS),
    ("POST", f"{UPLOADS}?mount={DIGEST}&from=other/repository"),
    ("PATCH", f"{UPLOADS}00000000-0000-0000-0000-000000000000"),
    ("PUT", f"{UPLOADS}00000000-0000-0000-0000-000000000000?digest={DIGEST}"),
    ("PUT", f"/v2/{REPOSITORY}/manifests/latest"),
    ("DELETE", f"/v2/{REPOSITORY}/manifests/{DIGEST}"),
    ("DELETE", f"/v2/{REPOSITORY}/blobs/{DIGEST}"),
]
READS = [
    ("GET", "/v2/"),
    ("GET", "/v2/_catalog"),
    ("GET", f"/v2/{REPOSITORY}/tags/list"),
    ("GET", f"/v2/{REPOSITORY}/manifests/latest"),
    ("HEAD", f"/v2/{REPOSITORY}/manifests/latest"),
    ("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}"),
]


def refused_without_credentials(registry: Registry, method: str, path: str, **options: object) -> None:
    answer = registry.request(method, path, **options)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    if method != "HEAD":
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.codes == ["UNAUTHORIZED"]


@pytest.mark.parametrize(("method", "path"), READS + WRITES)
def test_anonymous_is_challenged(registry: Registry, method: str, path: str) -> None:
    refused_without_credentials(registry, method, path)


@pytest.mark.parametrize("user", ["admin", "ci", "runtime", "nobody", ""])
def test_wrong_password(registry: Registry, user: str) -> None:
    refused_without_credentials(registry, "GET", "/v2/", user=user, password=uuid.uuid4().hex)


def test_empty_password(registry: Registry) -> None:
    refused_without_credentials(registry, "GET", "/v2/", user="admin", password="")


def test_one_users_password_is_no_other_users(registry: Registry) -> None:
    refused_without_credentials(registry, "GET", "/v2/", user="admin", password=registry.password("runtime"))


def test_a_password_once_seen_is_checked_again(registry: Registry) -> None:
    """A cache of checked passwords must never answer for another password."""
    assert registry.request("GET", "/v2/", "admin").status == 200
    for wrong in (registry.password("admin") + "x", registry.password("admin")[:-1]):
        refused_without_credentials(registry, "GET", "/v2/", user="admin", password=wrong)
    assert registry.request("GET", "/v2/", "admin").status == 200


def test_other_schemes_are_challenged(registry: Registry) -> None:
    pair = base64.b64encode(f"admin:{registry.password('admin')}".encode()).decode()
    for header in (f"Bearer {pair}", pair, "Basic", "Basic !"):
        answer = registry.request("GET", "/v2/", headers={"Authorization": header})
        assert answer.status in {400, 401}, header


@pytest.mark.parametrize("user", ["admin", "ci", "runtime"])
def test_every_user_gets_in(registry: Registry, user: str) -> None:
    answer = registry.request("GET", "/v2/", user)
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_catalogue(registry: Registry) -> None:
    answer = registry.request("GET", "/v2/_catalog", "admin")
    assert answer.status == 200
    assert isinstance(answer.json["repositories"], list)
    for user in ("ci", "runtime"):
        answer = registry.request("GET", "/v2/_catalog", user)
        assert (answer.status, answer.codes) == (403, ["DENIED"])


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_pull_user_writes_nothing(registry: Registry, method: str, path: str) -> None:
    answer = registry.request(method, path, "runtime")
    assert answer.status == 403
    assert answer.codes == ["DENIED"]


@pytest.mark.parametrize(("method", "path"), READS + WRITES)
def test_user_without_access_does_nothing(registry: Registry, guest: dict[str, str], method: str, path: str) -> None:
    answer = registry.request(method, path, **guest)
    assert answer.status == 403
    if method != "HEAD":
        assert answer.codes == ["DENIED"]


@pytest.mark.parametrize("user", ["Admin", "ADMIN", "CI"])
def test_names_are_case_sensitive(registry: Registry, user: str) -> None:
    refused_without_credentials(registry, "GET", "/v2/", user=user, password=registry.password(user.lower()))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", UPLOADS.rstrip("/")),
        ("POST", "/" + UPLOADS),
        ("POST", UPLOADS.replace("/v2/", "/v2//")),
        ("POST", UPLOADS.replace("/v2/", "/v2/./")),
        ("POST", UPLOADS.replace("uploads", "%75ploads")),
        ("POST", UPLOADS.replace("/v2/", "/V2/")),
        ("POST", f"/health/..{UPLOADS}"),
        ("post", UPLOADS),
        ("MKCOL", UPLOADS),
    ],
)
def test_pull_user_finds_no_way_round(registry: Registry, method: str, path: str) -> None:
    answer = registry.request(method, path, "runtime")
    assert 400 <= answer.status < 500, answer.status


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_method_override_is_not_believed(registry: Registry, header: str) -> None:
    assert registry.request("POST", UPLOADS, "runtime", headers={header: "GET"}).status == 403
    assert registry.request("GET", UPLOADS, "runtime", headers={header: "POST"}).status in {403, 404, 405}


@pytest.mark.parametrize("path", ["/debug/vars", "/debug/health", "/debug/pprof/"])
def test_debug_pages_are_not_served(registry: Registry, path: str) -> None:
    assert registry.request("GET", path).status in {401, 404}
    assert registry.request("GET", path, "admin").status == 404


def test_push_user_opens_an_upload_at_a_relative_address(registry: Registry) -> None:
    answer = registry.request("POST", UPLOADS, "ci")
    assert answer.status == 202
    assert answer.headers["Location"].startswith(UPLOADS)
    assert registry.request("DELETE", answer.headers["Location"], "admin").status == 204


def test_login_refuses_a_wrong_password(clients: dict[str, DockerClient]) -> None:
    refused = clients["runtime"].login("not the password", check=False)
    clients["runtime"].login()
    assert refused.returncode != 0
    assert "unauthorized" in refused.stderr.lower()


def test_images_come_and_go(registry: Registry, clients: dict[str, DockerClient]) -> None:
    """The push user pushes, the pull user pulls the same and can't push, and the administrator alone deletes."""
    reference = clients["ci"].make_image(REPOSITORY)
    tag = reference.rpartition(":")[2]
    layers = clients["ci"].layers(reference)

    denied = clients["runtime"].run("push", reference, check=False)
    assert denied.returncode != 0
    assert "denied" in denied.stderr.lower()
    assert registry.manifest(REPOSITORY, tag, "admin").status == 404

    digest = clients["ci"].push(reference)
    assert clients["runtime"].pull_anew(reference) == layers
    assert registry.manifest(REPOSITORY, tag, "runtime").headers["Docker-Content-Digest"] == digest

    path = f"/v2/{REPOSITORY}/manifests/{digest}"
    for user in ("ci", "runtime"):
        answer = registry.request("DELETE", path, user)
        assert (answer.status, answer.codes) == (403, ["DENIED"])
    assert registry.request("DELETE", path, "admin").status == 202
    assert registry.manifest(REPOSITORY, tag, "admin").codes == ["MANIFEST_UNKNOWN"]


def test_anonymous_docker_is_refused(registry: Registry, clients: dict[str, DockerClient]) -> None:
    reference = clients["ci"].make_image(REPOSITORY)
    clients["ci"].push(reference)
    host = clients["ci"].host
    refused = host.run(f"docker --config $(mktemp -d) pull {reference}", check=False)
    assert refused.returncode != 0
    assert "no basic auth credentials" in refused.stderr or "unauthorized" in refused.stderr


def test_the_hosts_own_login_works(registry: Registry, clients: dict[str, DockerClient]) -> None:
    """What the client role left for root: no login by hand."""
    reference = clients["ci"].make_image(REPOSITORY)
    host = clients["ci"].host
    host.run(f"docker push {reference} && docker image rm {reference} && docker pull {reference}")
