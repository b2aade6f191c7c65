"""The page behind the login: what each account may read of it, how soon it is up to date, and the log of requests."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import managed
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import Manifest
from ansible_collections.wharf.registry.plugins.module_utils._gate.report_store import Facts, ReportStore, seal_key
from ansible_collections.wharf.registry.plugins.module_utils._gate.signatures import payload_of
from collecting import Collector, content_of, delete
from engine import command, wait_for
from front import ROLES, Front
from http_client import ACCEPT, OCI
from page_program import PageProgram, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "access": "push"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull", "push", "delete"]}]},
    {"name": "reader", "rules": [{"repositories": ["team/app", "apps/api"], "actions": ["pull"]}]},
    {"name": "nobody"},
]
# How soon a push is to be seen.
SECONDS = 5
# A part of a name that only admin and ci may know.
HIDDEN = "secret-plans"
PUBLIC = "public/tool"
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    front = fronts(USERS, reverse_proxy_page=True, reverse_proxy_anonymous_pull=["public/*"])
    shutil.copytree(ROLES / "reverse_proxy" / "files" / "page", front.directory / "page" / "site")
    front.give_away()
    return front


@pytest.fixture(scope="module")
def page(proxy: Front) -> Iterator[PageProgram]:
    # The oldest Python of managed hosts that there is.
    with running(proxy, USERS, python=next(iter(managed.pythons().values()))) as program:
        program.wait_until_complete("admin")
        yield program


@pytest.fixture
def name() -> str:
    """A repository that no other test has."""
    return f"team/{next(_NUMBERS)}-{secrets.token_hex(4)}"


def seen(page: PageProgram, name: str, holds: Callable[[dict], object], user: str = "admin") -> dict:
    """The details of a repository, which become what they are to be in time."""
    began = time.monotonic()
    found: dict = {}

    def right() -> bool:
        found.clear()
        found.update(page.details(user, name) or {})
        return bool(found) and bool(holds(found))

    wait_for(f"{name} on the page", right, SECONDS, longest=0.2)
    assert time.monotonic() - began < SECONDS
    return found


def seen_row(page: PageProgram, name: str, count: int) -> dict:
    """The row of a repository, which comes to have so many tags in time."""
    wait_for(f"{count} tags of {name}", lambda: page.rows("admin").get(name, {}).get("tags") == count, SECONDS)
    return page.rows("admin")[name]


def tags(details: dict) -> dict[str, dict]:
    return {tag["name"]: tag for tag in details["tags"]}


# --- who sees what --------------------------------------------------------------------------------------------------


def test_each_policy_has_its_own_index(proxy: Front, page: PageProgram) -> None:
    ci = content_of(proxy, "ci")
    shared = ci.image("team/app", "1.0", layer=b"one layer")
    for repository in ("apps/api", f"{HIDDEN}/core", f"team/{HIDDEN}", PUBLIC):
        ci.image(repository, "1.0", layer=b"one layer")
    names = {"team/app", "apps/api", f"{HIDDEN}/core", f"team/{HIDDEN}", PUBLIC}
    expected = {
        "admin": names,
        "ci": names,
        "team": {"team/app", f"team/{HIDDEN}", PUBLIC},
        "reader": {"team/app", "apps/api", PUBLIC},
        "nobody": set(),
    }
    wait_for("all of them", lambda: names <= set(page.rows("admin")), SECONDS)
    for user, mine in expected.items():
        rows = page.rows(user)
        assert {one for one in rows if one in names} == mine, user
        for one in names:
            assert (page.details(user, one) is not None) == (one in mine or one == PUBLIC), (user, one)
    # Which of the same digest there are, as far as one sees them.
    path = f"digests/{shared['digest'].replace(':', '-')}.json"
    assert {tag.partition(":")[0] for tag in page.get("admin", path)["tags"]} == names
    assert page.get("reader", path)["tags"] == ["apps/api:1.0", f"{PUBLIC}:1.0", "team/app:1.0"]
    assert page.get("nobody", path) is None


def test_nothing_that_a_user_is_given_names_what_is_hidden(proxy: Front, page: PageProgram) -> None:
    content_of(proxy, "ci").image(f"{HIDDEN}/core", "2.0", layer=b"one layer")
    wait_for("it", lambda: page.rows("admin").get(f"{HIDDEN}/core", {}).get("tags"), SECONDS)
    index = page.get("reader", "index.json")
    paths = ["/", "/page/data/index.json", f"/page/data/{index['base']}", "/page/data/fleet.json"]
    paths += [f"/page/data/repositories/{one}.json" for one in ("team/app", "apps/api", f"{HIDDEN}/core", "no/such")]
    paths += [
        f"/page/data/digests/{one['digest'].replace(':', '-')}.json"
        for one in page.details("reader", "team/app")["tags"]
    ]
    for path in paths:
        answer = proxy.client("reader").ask("GET", path)
        assert HIDDEN.encode() not in answer.body, path
        assert HIDDEN not in str(answer.headers), path
    # What is hidden and what is not there are answered alike.
    hidden, absent = (
        proxy.client("reader").ask("GET", f"/page/data/repositories/{one}.json")
        for one in (f"{HIDDEN}/core", "no/such")
    )
    assert (hidden.status, hidden.body) == (absent.status, absent.body) == (403, absent.body)


def test_an_index_of_another_policy_can_not_be_had(proxy: Front, page: PageProgram) -> None:
    content_of(proxy, "ci").image(f"{HIDDEN}/core", "3.0")
    wait_for("it", lambda: f"{HIDDEN}/core" in page.rows("admin"), SECONDS)
    page.stop()
    page.start()
    wait_for(
        "a base of its own", lambda: page.get("admin", "index.json")["base"] != page.get("reader", "index.json")["base"]
    )
    base = page.get("admin", "index.json")["base"]
    policies = [path.name for path in (page.data / "policies").iterdir()]
    assert len(policies) == 4
    for path in (base, f"../policies/{policies[0]}/index.json", f"policies/{policies[0]}/index.json", f"%2e%2e/{base}"):
        answer = proxy.client("reader").ask("GET", f"/page/data/{path}")
        assert answer.status in (400, 404), path
        assert b'"rows"' not in answer.body


@pytest.mark.parametrize(
    "path", ["/", "/page/index.js", "/page/data/index.json", f"/page/data/repositories/{PUBLIC}.json"]
)
def test_all_of_it_asks_for_a_login(proxy: Front, page: PageProgram, path: str) -> None:
    # Each wrong password takes its time.
    wrong = (proxy.client("admin", "wrong"), proxy.client("unknown-user", "x")) if path == "/" else ()
    for client in (proxy.client(), *wrong):
        answer = client.ask("GET", path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="registry"'
        assert b"Log in to this registry" in answer.body
        assert answer.headers["Content-Type"].startswith("text/html")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert proxy.client("admin").ask(method, path, b"").status in (404, 405)


def test_browsers_are_told_to_trust_nothing_else(proxy: Front, page: PageProgram) -> None:
    content_of(proxy, "ci").image("team/app", "1.1")
    seen(page, "team/app", lambda found: "1.1" in tags(found))
    for path in ("/", "/page/data/index.json", "/page/data/repositories/team/app.json"):
        headers = proxy.client("admin").ask("GET", path).headers
        policy = dict(one.split(" ", 1) for one in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers.get_all("Cache-Control") == ["no-cache" if path == "/" else "no-store"]
        assert headers["X-Wharf-User"] == "admin"
    base = page.get("admin", "index.json")["base"]
    assert proxy.client("admin").ask("GET", f"/page/data/{base}").headers["Cache-Control"] == "no-store"
    # A page that looks again is told that nothing has changed.
    first = proxy.client("admin").ask("GET", "/page/data/index.json")
    again = proxy.client("admin").ask("GET", "/page/data/index.json", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_a_browser_can_forget_who_has_logged_in(proxy: Front) -> None:
    client = proxy.client()
    assert client.ask("GET", "/page/logout").status == 401
    right = base64.b64encode(b"logout:").decode()
    assert client.ask("GET", "/page/logout", Authorization=f"Basic {right}").status == 200
    # The name opens nothing else.
    assert client.ask("GET", "/", Authorization=f"Basic {right}").status == 401
    assert client.ask("GET", "/page/logout", Authorization=proxy.basic("admin")).status == 401


def test_the_fleet_is_for_those_who_may_list_everything(proxy: Front, page: PageProgram) -> None:
    image = content_of(proxy, "ci").image("apps/running", "1")
    seen(page, "apps/running", tags)
    reports = proxy.directory / "reports"
    reports.mkdir()
    told = {"version": 1, "made": "2026-11-30T10:00:00Z", "registry": "r", "outcome": "ok", "summary": "s"}
    empty = {"sections": [], "lines": []}
    hosts = {"web1": {"outcome": "ok", "said": "", "when": told["made"], "engines": ["docker 26.1"], "trust": "CA"}}
    (reports / "rollout.json").write_text(json.dumps({**told, **empty, "kind": "rollout", "data": {"hosts": hosts}}))
    (reports / "doctor.json").write_text("[[[[")
    wait_for("the host", lambda: (page.get("admin", "fleet.json") or {}).get("hosts"), 3 * SECONDS)
    assert [one["host"] for one in page.get("admin", "fleet.json")["hosts"]] == ["web1"]
    assert page.get("admin", "index.json")["fleet"] is True
    for user in ("ci", "team", "reader", "nobody"):
        assert page.get(user, "fleet.json") is None, user
        assert not (page.get(user, "index.json") or {}).get("fleet"), user
        assert "storage" not in (page.get(user, "index.json") or {})
    # On how many hosts an image runs is told to those who may pull it.
    runs = {name: {"seen": told["made"], "runs": [{"digest": image["digest"], "image": "i"}]} for name in ("a", "b")}
    (reports / "exposure.json").write_text(json.dumps({**told, **empty, "kind": "exposure", "data": {"hosts": runs}}))

    def running() -> dict:
        return page.details("ci", "apps/running")["images"][image["digest"]]["running"]

    wait_for("what runs", lambda: running() == {"hosts": 2}, 3 * SECONDS)


# --- how soon, and what ---------------------------------------------------------------------------------------------


def test_a_push_is_seen_in_seconds(proxy: Front, page: PageProgram, name: str) -> None:
    ci = content_of(proxy, "ci")
    for number in range(3):
        image = ci.image(name, f"1.{number}", labels={"n": str(number)})
        details = seen(page, name, lambda found, number=number: f"1.{number}" in tags(found))
        tag = tags(details)[f"1.{number}"]
        assert tag["digest"] == image["digest"] and tag["pushed_by"] == "ci"
        assert tag["created"] == "2026-11-01T10:00:00Z" and tag["kind"] == "image"
        assert details["images"][image["digest"]]["platforms"] == ["linux/amd64"]
        assert abs(tag["pushed"] - time.time()) < 10
        row = seen_row(page, name, number + 1)
        assert row["pushed_by"] == "ci" and row["own_bytes"] > 0


def test_a_tag_that_moves_and_one_that_goes(proxy: Front, page: PageProgram, name: str) -> None:
    admin = content_of(proxy)
    first = admin.image(name, "stable")
    admin.image(name, "old")
    second = admin.image(name, "stable")
    details = seen(page, name, lambda found: tags(found).get("stable", {}).get("digest") == second["digest"])
    assert [one["digest"] for one in details["untagged"]] == [first["digest"]]
    assert details["untagged"][0]["reason"] == "no tag leads to it: a collection deletes it"
    delete(admin, name, admin.digest(name, "old"))
    seen(page, name, lambda found: set(tags(found)) == {"stable"})
    # What a collection removes, no request tells of.
    Collector(proxy).run()
    seen(page, name, lambda found: not found["untagged"])
    delete(admin, name, second["digest"])
    Collector(proxy).run()
    wait_for(
        "no more of it", lambda: name not in page.rows("admin") and page.details("admin", name) is None, 2 * SECONDS
    )


def test_an_index_and_what_belongs_to_it(proxy: Front, page: PageProgram, name: str) -> None:
    admin = content_of(proxy)
    index, children = admin.index(name, "2.0")
    admin.sign(name, index)
    details = seen(page, name, lambda found: found["images"].get(index["digest"], {}).get("signatures") is not None)
    assert tags(details).keys() == {"2.0"}
    tag = tags(details)["2.0"]
    assert tag["kind"] == "index" and tag["created"] == "2026-11-01T10:00:00Z"
    assert details["images"][index["digest"]]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert {one["digest"]: one["reason"] for one in details["untagged"]} == {
        one["digest"]: "part of 2.0" for one in children
    }
    assert tag["size"] > sum(one["size"] for one in children)


def test_sizes_are_own_and_shared(proxy: Front, page: PageProgram, name: str) -> None:
    admin = content_of(proxy)
    both, alone = secrets.token_bytes(5000), secrets.token_bytes(700)
    admin.image(name, "1", layer=both)
    wait_for("the first", lambda: page.rows("admin").get(name, {}).get("own_bytes", 0) > 5000, SECONDS)
    admin.image(f"{name}-too", "1", layer=both)
    admin.image(f"{name}-too", "2", layer=alone)
    wait_for("shared by both", lambda: page.rows("admin")[name]["shared_bytes"] >= 5000, SECONDS)
    wait_for("the other", lambda: page.rows("admin").get(f"{name}-too", {}).get("tags") == 2, SECONDS)
    rows = page.rows("admin")
    assert rows[name]["own_bytes"] < 5000 <= rows[name]["shared_bytes"]
    assert 700 < rows[f"{name}-too"]["own_bytes"] < 5000 <= rows[f"{name}-too"]["shared_bytes"]


def test_the_last_pull_is_told_and_the_page_itself_pulls_nothing(proxy: Front, page: PageProgram, name: str) -> None:
    content_of(proxy, "ci").image(name, "1")
    seen(page, name, tags)
    looking = proxy.client("team")
    for _time in range(3):
        answer = looking.ask("GET", f"/v2/{name}/manifests/1", Accept=ACCEPT, Sec_Fetch_Site="same-origin")
        assert answer.status == 200
    time.sleep(3)
    assert page.rows("admin")[name]["pulled"] is None
    assert proxy.client("reader").ask("GET", f"/v2/{name}/manifests/1", Accept=ACCEPT).status == 403
    assert looking.ask("GET", f"/v2/{name}/manifests/1", Accept=ACCEPT).status == 200
    wait_for("the pull", lambda: page.rows("admin")[name]["pulled"], 30, longest=1)
    assert abs(page.rows("admin")[name]["pulled"] - time.time()) < 60
    assert tags(page.details("admin", name))["1"]["pulled"]


# --- signatures, reports, retention ---------------------------------------------------------------------------------


def signed(content: object, name: str, image: dict, key: Path) -> None:
    """What cosign makes of an image: a payload that names it, and its signature."""
    payload = payload_of(f"registry.test/{name}", image["digest"])
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(key)], input=payload, capture_output=True, check=True
    ).stdout
    layer = {
        **content.blob(name, payload),
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()},
    }
    config = {**content.blob(name, b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"}
    document = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer]}
    content.manifest(name, f"{image['digest'].replace(':', '-')}.sig", document, OCI)


def test_who_has_signed(proxy: Front, page: PageProgram, name: str, tmp_path: Path) -> None:
    for key in ("ours", "theirs"):
        command("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(tmp_path / f"{key}.pem"))
    public = command("openssl", "ec", "-in", str(tmp_path / "ours.pem"), "-pubout").stdout
    page.stop()
    page.start(gate={"keys": [public, "/nonexistent/key.pub"], "policy": {}, "waivers": [], "cache": ""})
    admin = content_of(proxy)
    images = {tag: admin.image(name, tag) for tag in ("ours", "theirs", "unsigned", "copied")}
    for key in ("ours", "theirs"):
        signed(admin, name, images[key], tmp_path / f"{key}.pem")
    # The signature of one image under the tag of another proves nothing.
    stolen = json.loads(
        admin.ask("GET", f"/v2/{name}/manifests/{images['ours']['digest'].replace(':', '-')}.sig", Accept=ACCEPT)[2]
    )
    admin.manifest(name, f"{images['copied']['digest'].replace(':', '-')}.sig", stolen, OCI)
    told = lambda found: {  # noqa: E731
        tag: [bool(one["signed_by"]) for one in found["images"][image["digest"]]["signatures"]]
        for tag, image in images.items()
    }
    expected = {"ours": [True], "theirs": [False], "unsigned": [], "copied": [False]}
    details = seen(page, name, lambda found: set(tags(found)) == set(images) and told(found) == expected)
    assert details["images"][images["ours"]["digest"]]["signatures"][0]["signed_by"].startswith("SHA256:")
    assert "gate_trusted_keys[2]" in page.complained()


REPORT = {
    "SchemaVersion": 2,
    "ArtifactName": "x",
    "Results": [
        {
            "Target": "debian",
            "Class": "os-pkgs",
            "Type": "debian",
            "Packages": [{"Name": "zlib", "Version": "1.0"}],
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2026-0001",
                    "PkgName": "zlib",
                    "InstalledVersion": "1.0",
                    "FixedVersion": "1.1",
                    "Severity": "CRITICAL",
                }
            ],
        }
    ],
}


def test_only_a_report_with_the_seal_of_the_gate_is_a_verdict(
    proxy: Front, page: PageProgram, name: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    page.stop()
    key = seal_key(str(cache))
    page.start(gate={"keys": [], "policy": {}, "waivers": [], "cache": str(cache)})
    admin = content_of(proxy)
    bad = admin.image(name, "bad")
    praised = admin.image(name, "praised")
    api = Api(admin)
    facts = Facts("2026-11-30T10:00:00Z", "trivy 0.58", "2026-11-30T00:00:00Z", scanned=True)
    content = json.dumps(REPORT).encode()
    ReportStore(api, name, key).put(api.manifest(name, bad["digest"]), content, facts)
    ReportStore(api, name, b"another key").put(
        api.manifest(name, praised["digest"]), b'{"SchemaVersion": 2, "Results": []}', facts
    )
    details = seen(
        page, name, lambda found: all(found["images"].get(one["digest"], {}).get("scan") for one in (bad, praised))
    )
    scan = details["images"][bad["digest"]]["scan"]
    assert scan["verdict"] == "refused" and "CVE-2026-0001" in scan["sentence"]
    assert scan["counts"] == {"critical": 1, "high": 0, "medium": 0, "low": 0, "unknown": 0}
    assert details["images"][praised["digest"]]["scan"]["verdict"] == "unverified"
    # The list of all repositories is written after them.
    wait_for("it is in the list", lambda: page.rows("admin").get(name, {}).get("worst") == "refused")


class Api:
    """What the store of reports asks a registry for."""

    def __init__(self, content: object) -> None:
        self._content = content

    def manifest(self, repository: str, reference: str) -> object:
        answer = self._content.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
        if answer.status != 200:
            return None
        return Manifest(answer.body, answer.headers["Docker-Content-Digest"], answer.headers["Content-Type"])

    def put_blob(self, repository: str, content: bytes) -> str:
        return self._content.blob(repository, content)["digest"]

    def put_manifest(self, repository: str, reference: str, manifest: object) -> None:
        answer = self._content.ask(
            "PUT", f"/v2/{repository}/manifests/{reference}", manifest.content, Content_Type=manifest.media_type
        )
        assert answer.status == 201, answer

    def referrers(self, _repository: str, _subject: str, _odd: object = None) -> None:
        return None


def test_what_retention_would_do(proxy: Front, page: PageProgram, name: str) -> None:
    page.stop()
    page.start(retention=[{"repositories": ["team/*"], "tags": ["*"], "keep_newest": 1, "keep_matching": ["^keep$"]}])
    admin = content_of(proxy)
    for number, tag in enumerate(("1", "2", "keep")):
        admin.image(name, tag, created=f"2026-11-0{3 - number if tag == 'keep' else number + 4}T10:00:00Z")
    details = seen(page, name, lambda found: len(found["decisions"]) == 3)
    kept = {tag: told["kept"] for tag, told in details["decisions"].items()}
    assert kept == {"1": False, "2": True, "keep": True}
    assert "is one of the 1 newest" in details["decisions"]["2"]["reason"]
    page.stop()
    page.start(retention=[])


# --- over restarts, rotations and attacks -----------------------------------------------------------------------------


def test_what_happens_while_the_program_is_down(proxy: Front, page: PageProgram, name: str) -> None:
    page.stop(kill=True)
    content_of(proxy, "ci").image(name, "1")
    time.sleep(1.5)
    page.start()
    details = seen(page, name, lambda found: "1" in tags(found) and tags(found)["1"]["pushed_by"])
    assert tags(details)["1"]["pushed_by"] == "ci"


def test_the_log_is_renamed_without_loss(proxy: Front, page: PageProgram, name: str) -> None:
    log = proxy.directory / "log" / "requests.log"
    ci = content_of(proxy, "ci")
    ci.image(name, "0")
    before = log.stat().st_ino
    with log.open("ab") as file:
        file.write(b'{"filler": "' + b"x" * 1000 + b'"}\n')
        file.write((b"y" * 1023 + b"\n") * (33 << 10))
    number = 0
    end = time.monotonic() + 8
    while time.monotonic() < end:
        number += 1
        ci.image(name, f"{number}", layer=b"the same")
        time.sleep(0.02)
    assert log.stat().st_ino != before and log.stat().st_size < 32 << 20
    assert log.with_name("requests.log.1").stat().st_ino == before
    details = seen(page, name, lambda found: len(found["tags"]) == number + 1)
    assert {tag["pushed_by"] for tag in details["tags"]} == {"ci"}


def test_a_damaged_catalog_begins_anew(page: PageProgram, name: str, proxy: Front) -> None:
    content_of(proxy, "ci").image(name, "1")
    seen(page, name, lambda found: "1" in tags(found))
    page.stop()
    (page.state / "catalog.db").write_bytes(b"this is no database" * 1000)
    page.start()
    content_of(proxy, "ci").image(name, "2")
    seen(page, name, lambda found: set(tags(found)) == {"1", "2"})


def test_what_lies_in_the_storage_leads_nowhere(proxy: Front, page: PageProgram, name: str, tmp_path: Path) -> None:
    admin = content_of(proxy)
    admin.image(name, "1")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "link").write_text("sha256:" + "0" * 64)
    top = proxy.directory / "storage" / "docker" / "registry" / "v2" / "repositories" / name / "_manifests" / "tags"
    (top / "2").mkdir()
    (top / "2" / "current").symlink_to(tmp_path / "secret")
    (top / "<script>").mkdir()
    (top / "3" / "current").mkdir(parents=True)
    os.mkfifo(top / "3" / "current" / "link")
    admin.image(name, "4")
    details = seen(page, name, lambda found: "4" in tags(found))
    assert set(tags(details)) == {"1", "4"}


def test_a_policy_that_changes_never_shows_what_the_other_saw(proxy: Front, page: PageProgram) -> None:
    """An index belongs to what a policy says, and not to its number."""
    users = [{"name": "reader", "rules": [{"repositories": ["public/*"], "actions": ["pull"]}]}, *USERS[:3]]
    proxy.change(users, reverse_proxy_page=True, reverse_proxy_anonymous_pull=["public/*"])
    try:
        # The program has not been told yet.
        assert page.get("reader", "index.json") is None
        assert page.rows("team")
    finally:
        proxy.change(USERS, reverse_proxy_page=True, reverse_proxy_anonymous_pull=["public/*"])


def test_the_page_of_another_site_changes_nothing(proxy: Front) -> None:
    """A browser that is logged in sends the password with whatever any page asks for."""
    client = proxy.client("ci")
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 202), ("none", 202)):
        assert client.ask("POST", "/v2/apps/api/blobs/uploads/", b"", Sec_Fetch_Site=site).status == status, site
    assert client.ask("GET", "/v2/", Sec_Fetch_Site="cross-site").status == 200


def test_sizes_are_those_of_files_and_one_repository_stops_no_other(proxy: Front, page: PageProgram, name: str) -> None:
    admin = content_of(proxy)
    layer = {
        **admin.blob(f"{name}-evil", b"tiny"),
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "size": 2**63 - 1,
    }
    config = {
        **admin.blob(f"{name}-evil", b"{}"),
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "size": 2**63 - 1,
    }
    document = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer]}
    admin.manifest(f"{name}-evil", "1", document, OCI)
    assert admin.ask("GET", f"/v2/{name}-evil/manifests/1", Accept=ACCEPT)[0] == 200
    admin.image(name, "1", layer=b"tiny")
    seen(page, name, tags)
    time.sleep(11)
    assert page.rows("admin")[name]["own_bytes"] + page.rows("admin")[name]["shared_bytes"] < 10_000
    assert page.rows("admin")[f"{name}-evil"]["own_bytes"] < 10_000
    assert page.process.poll() is None
