"""What a query may ask for: the same of the proxy as of the registry, and nothing that they could read in two ways."""

from __future__ import annotations

import secrets
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from engine import command, wait_for
from http_client import ACCEPT, OCI, digest_of, manifest, with_digest
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from http_client import Answer, Client

USERS = [
    {"name": "ci", "access": "push"},
    {"name": "admin", "access": "admin"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull", "push"]}]},
]
SECRET = b"a layer that the team may not have"


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"])


def refused(answer: Answer, words: bytes) -> bool:
    return (answer.status, answer.code) == (400, "UNSUPPORTED") and words in answer.body


# --- mounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "mount={digest}&from={source}",
        "from={source}&mount={digest}",
        # crane, ko, cosign and kaniko.
        "from={source}&mount={digest}&origin=registry.test",
        "mount={digest}&from={source}&origin=localhost%3A5000",
        "origin=registry.test&mount={digest}&from={source}",
        "from={source}&origin=registry.test&mount={digest}",
        # containerd's proxies, and what is yet to come.
        "ns=docker.io&from={source}&mount={digest}&x.y-z=1&x.y-z=2",
        "&mount={digest}&&from={source}&",
        "mount={encoded}&from={source}&origin=",
    ],
)
@pytest.mark.parametrize("slash", ["/", "%2F", *repeated("%2f")])
def test_a_layer_is_mounted_whatever_else_is_asked(proxy: Front, registry: Client, query: str, slash: str) -> None:
    digest = registry.put_blob("team/source", secrets.token_bytes(64))
    filled = query.format(digest=digest, encoded=urllib.parse.quote(digest), source=f"team{slash}source")
    answer = proxy.client("team").ask("POST", f"/v2/team/target/blobs/uploads/?{filled}", b"")
    assert answer.status == 201, (filled, answer)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert registry.holds("team/target", digest)


# {bad} is a repository that the team may not read, and {good} one that it may; neither order may count.
AMBIGUOUS = [
    "mount={digest}&from={good}&from={bad}",
    "mount={digest}&from={bad}&from={good}",
    "from={good}&mount={digest}&origin=x&from={bad}",
    "mount={digest}&mount={digest}&from={good}",
    "mount={digest}&from={good}&From={bad}",
    "mount={digest}&FROM={bad}",
    "Mount={digest}&from={bad}",
    "mount={digest}&fr%6Fm={bad}",
    "mount={digest}&%66rom={bad}&from={good}",
    "mount={digest}&from={good}&from%00={bad}",
    "mount={digest}&from={good}&+from={bad}",
    "mount={digest}&from={good};from={bad}",
    "mount={digest};from={bad}",
    "x=1;from={bad}&mount={digest}&from={good}",
    "mount={digest}&from={good}#&from={bad}",
    "mount={digest}&from=",
    "mount={digest}&from",
    "mount=&from={good}",
    "mount&from={good}",
    "mount=sha256:0&from={good}",
    "mount={digest}x&from={good}",
    "mount={digest}%00&from={good}",
    "mount={digest}&from=%73ecret%2Fapp",
    "mount={digest}&from=secret%252Fapp",
    "mount={digest}&from=Secret/app",
    "mount={digest}&from=/{bad}",
    "mount={digest}&from={bad}/",
    "mount={digest}&from=team//app",
    "mount={digest}&from=team/../{bad}",
    "mount={digest}&from=team%2F..%2Fsecret%2Fapp",
    "mount={digest}&from={good}%00{bad}",
    "mount={digest}&from={good}%26from%3D{bad}",
    "mount={digest}&from={good}+{bad}",
    "mount={digest}&from={good}?from={bad}",
    "digest={digest}&mount={digest}&from={good}",
    "mount={digest}&from={good}&origin=x&digest={digest}",
]


@pytest.mark.parametrize("query", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused(proxy: Front, registry: Client, secret: str, query: str) -> None:
    for good, bad in (("team/app", "secret/app"), ("team%2Fapp", "secret%2Fapp")):
        filled = query.format(digest=secret, good=good, bad=bad)
        answer = proxy.client("team").ask("POST", f"/v2/team/app/blobs/uploads/?{filled}", b"")
        assert refused(answer, b"two ways"), (filled, answer)
        assert answer.headers.get_all("Docker-Distribution-Api-Version") == ["registry/2.0"]
        assert answer.headers["Content-Type"] == "application/json"
    assert not registry.holds("team/app", secret)


@pytest.mark.parametrize("origin", ["", "&origin=registry.test", "&ns=docker.io"])
def test_a_mount_of_what_may_not_be_read_is_an_upload(proxy: Front, registry: Client, secret: str, origin: str) -> None:
    for query in (f"mount={secret}&from=secret/app{origin}", f"from=secret%2Fapp{origin}&mount={secret}"):
        answer = proxy.client("team").ask("POST", f"/v2/team/app/blobs/uploads/?{query}", b"")
        assert answer.status == 202, (query, answer)
        assert not registry.holds("team/app", secret)


# --- tags of a query --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("tag=v1", b"takes no tag from a query"),
        ("tag=v1&tag=other", b"takes no tag from a query"),
        ("tag", b"takes no tag from a query"),
        ("tag=", b"takes no tag from a query"),
        ("x=1&Tag=v1", b"takes no tag from a query"),
        ("TAG=v1&ns=docker.io", b"takes no tag from a query"),
        ("%74ag=v1", b"two ways"),
        ("t%61g=v1", b"two ways"),
        ("tag%5B%5D=v1", b"two ways"),
        ("x=1;tag=v1", b"two ways"),
        ("n=x", b"two ways"),
    ],
)
def test_a_manifest_has_no_tag_but_that_of_its_path(proxy: Front, registry: Client, query: str, words: bytes) -> None:
    registry.put_image("team/app", "base", b"a layer")
    content = manifest(b"a layer", annotations={"of": query})
    for reference in (digest_of(content), "mutable", "v9"):
        path = f"/v2/team/app/manifests/{reference}"
        answer = proxy.client("team").ask("PUT", f"{path}?{query}", content, Content_Type=OCI)
        assert refused(answer, words), (reference, query, answer)
        assert registry.digest("team/app", reference) is None
    # A reader is not asked, and has no tag to say.
    wrong = proxy.client("team").ask("PUT", f"/v2/secret/app/manifests/x?{query}", content, Content_Type=OCI)
    assert (wrong.status, wrong.code) == (403, "DENIED")


# --- what reaches a registry ------------------------------------------------------------------------------------------


def received(proxy: Front, path: str) -> list[str]:
    """The queries with which the registries were asked for a path."""
    said = "".join(
        done.stdout + done.stderr
        for name, container in proxy.containers.items()
        if name.startswith("registry")
        for done in [command("docker", "logs", container)]
    )
    targets = [word for word in said.split() if word.startswith(path)]
    return [target.partition("?")[2] for target in targets]


def test_a_registry_gets_what_a_call_takes_and_nothing_else(proxy: Front, registry: Client) -> None:
    client = proxy.client("admin")
    room = f"room-{secrets.token_hex(4)}"
    digest, blob = registry.put_image(room, "one", secrets.token_bytes(8))
    more = "ns=docker.io&account=ci&scope=repository%3Ax&tag=v1&new=%2e%2e%2f"
    content = manifest(b"{}", annotations={"of": room})
    for method, path, asked, expected in (
        ("GET", f"/v2/{room}/tags/list", f"{more}&last=a%2Fb&n=1000", "n=1000&last=a%2Fb"),
        ("GET", f"/v2/{room}/manifests/one", f"{more}&n=1&from=x", ""),
        ("HEAD", f"/v2/{room}/manifests/{digest}", f"{more}&digest={digest}", ""),
        ("HEAD", f"/v2/{room}/blobs/{blob}", f"{more}&mount={digest}", ""),
        (
            "GET",
            f"/v2/{room}/referrers/{digest}",
            f"{more}&artifactType=application%2Fx%2Bjson",
            "artifactType=application%2Fx%2Bjson",
        ),
        ("PUT", f"/v2/{room}/manifests/{digest_of(content)}", "ns=docker.io&digest=sha256:" + "0" * 64, ""),
        ("DELETE", f"/v2/{room}/manifests/sha256:{'0' * 64}", f"{more}&n=1", ""),
    ):
        body = content if method == "PUT" else None
        answer = client.ask(method, f"{path}?{asked}", body, Accept=ACCEPT, **({"Content_Type": OCI} if body else {}))
        assert answer.status != 400 or method == "PUT", (path, answer)
        wait_for(f"{path} in the log of a registry", lambda path=path: received(proxy, path))
        assert set(received(proxy, path)) <= {expected, ""}, path
        assert expected in received(proxy, path), path


def test_pages_and_uploads_go_on_as_before(proxy: Front, registry: Client) -> None:
    client = proxy.client("admin")
    page = client.ask("GET", "/v2/_catalog?n=1")
    assert page.body == registry.ask("GET", "/v2/_catalog?n=1").body and "Link" in page.headers
    following = page.headers["Link"].partition("<")[2].partition(">")[0]
    assert client.ask("GET", following).body == registry.ask("GET", following).body != page.body
    content = secrets.token_bytes(2000)
    location = client.ask("POST", "/v2/team/app/blobs/uploads/?ns=docker.io", b"").headers["Location"]
    location = client.ask("PATCH", f"{location}&ns=docker.io", content).headers["Location"]
    assert client.ask("GET", f"{location}&ns=docker.io").status == 204
    for twice in (f"{location}&_state=x", with_digest(f"{location}&digest={digest_of(b'')}", digest_of(content))):
        assert client.ask("PUT", twice, b"").status == 400
    assert client.ask("PUT", f"{with_digest(location, digest_of(content))}&ns=docker.io", b"").status == 201
    assert registry.holds("team/app", digest_of(content))
