"""Who may do what, for each user, repository and call, against what the rules mean and not how they are written."""

from __future__ import annotations

import functools
import secrets
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import pytest
from http_client import ACCEPT, OCI, Answer, at_once, digest_of, manifest, with_digest
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from http_client import Client

# A network without hosts: it is for documentation.
ELSEWHERE = "192.0.2.0/24"
USERS = [
    {"name": "reader", "access": "pull"},
    {"name": "pusher", "access": "push"},
    {"name": "admin", "access": "admin"},
    {"name": "nobody"},
    {"name": "empty", "rules": []},
    {
        "name": "overlap",
        "rules": [
            {"repositories": ["apps/*"], "actions": ["pull"]},
            {"repositories": ["apps/web", "apps/w*/old"], "actions": ["push"]},
            {"repositories": ["*/old"], "actions": ["pull", "push", "delete"]},
        ],
    },
    {
        "name": "shapes",
        "rules": [
            {"repositories": ["v?/[abc]x"], "actions": ["pull"]},
            {"repositories": ["[!a]b/*/c", "open-[0-9]"], "actions": ["pull", "push"]},
            {"repositories": ["team/?/b*"], "actions": ["delete"]},
        ],
    },
    {
        "name": "both",
        "access": "pull",
        "rules": [{"repositories": ["team/a/*"], "actions": ["push"]}],
    },
    {"name": "writer", "rules": [{"repositories": ["drop/*"], "actions": ["push"]}]},
    {"name": "cleaner", "rules": [{"repositories": ["*"], "actions": ["delete"]}]},
    {"name": "keeper", "rules": [{"repositories": ["drop/*", "apps/?pi"], "actions": ["push", "delete"]}]},
    {"name": "lister", "catalog": True},
    {"name": "away", "access": "admin", "allowed_networks": [ELSEWHERE]},
    {"name": "near", "access": "push", "allowed_networks": [ELSEWHERE, "127.0.0.0/8", "172.16.0.0/12"]},
    # One name is the beginning of another, and of a number of a policy nothing is read.
    {"name": "read", "rules": [{"repositories": ["apps/a"], "actions": ["pull"]}]},
    {"name": "Rita.O-x@1", "rules": [{"repositories": ["v1/ax", "x"], "actions": ["pull", "push"]}]},
]
ANONYMOUS = ["public/*", "open-?"]
REPOSITORIES = [
    "apps/web",
    "apps/web/old",
    "apps/api",
    "apps/a",
    "v1/ax",
    "v1/dx",
    "v12/ax",
    "bb/q/r/c",
    "ab/q/c",
    "team/a/b/c",
    "drop/x",
    "public/tool",
    "open-1",
    "open-12",
    "x",
]
NOWHERE = f"sha256:{'0' * 64}"


class Call(NamedTuple):
    name: str
    action: str
    method: str
    path: str


CALLS = [
    Call("tags", "pull", "GET", "/v2/{repository}/tags/list"),
    Call("manifest by tag", "pull", "GET", "/v2/{repository}/manifests/one"),
    Call("manifest by digest", "pull", "HEAD", "/v2/{repository}/manifests/{manifest}"),
    Call("manifest that is not there", "pull", "GET", "/v2/{repository}/manifests/none"),
    Call("blob", "pull", "GET", "/v2/{repository}/blobs/{blob}"),
    Call("head of a blob", "pull", "HEAD", "/v2/{repository}/blobs/{blob}"),
    Call("blob that is not there", "pull", "GET", "/v2/{repository}/blobs/{nowhere}"),
    Call("referrers", "pull", "GET", "/v2/{repository}/referrers/{manifest}"),
    Call("delete a manifest", "delete", "DELETE", "/v2/{repository}/manifests/{nowhere}"),
    Call("delete a tag", "delete", "DELETE", "/v2/{repository}/manifests/none"),
    Call("delete a blob", "delete", "DELETE", "/v2/{repository}/blobs/{nowhere}"),
]
# What the API has not got.
UNKNOWN = [
    Call("patch a manifest", "unknown", "PATCH", "/v2/{repository}/manifests/one"),
    Call("put tags", "unknown", "PUT", "/v2/{repository}/tags/list"),
    Call("another word", "unknown", "GET", "/v2/{repository}/secrets"),
]
# What a user has to hear, and what the registry says where it is asked.
REFUSED = {401: "UNAUTHORIZED", 403: "DENIED", 404: "UNSUPPORTED"}
ALLOWED = "allowed"


class Oracle:
    """What the rules mean, from the words of the documentation alone."""

    def __init__(self, users: list[dict], anonymous: list[str]) -> None:
        self.users = {user["name"]: user for user in users}
        self.anonymous = anonymous

    def permits(self, name: str, action: str, repository: str) -> bool:
        user = self.users[name]
        of_access = {"pull": ["pull"], "push": ["pull", "push"], "admin": ["pull", "push", "delete"]}
        if action in of_access.get(user.get("access", ""), []):
            return True
        if action == "pull" and any(fnmatchcase(repository, glob) for glob in self.anonymous):
            return True
        return any(
            action in rule["actions"] and any(fnmatchcase(repository, glob) for glob in rule["repositories"])
            for rule in user.get("rules", [])
        )

    def anything(self, name: str) -> bool:
        user = self.users[name]
        return bool(user.get("access") or user.get("rules") or user.get("catalog"))

    def expects(self, name: str | None, action: str, repository: str = "") -> int | str:
        """A status, or that the registry is asked."""
        if name is None:
            is_open = action == "pull" and any(fnmatchcase(repository, glob) for glob in self.anonymous)
            return ALLOWED if is_open else 401
        user = self.users[name]
        if user.get("allowed_networks") == [ELSEWHERE]:
            return 403
        if action == "base":
            return ALLOWED if self.anything(name) else 403
        if action == "catalog":
            return ALLOWED if user.get("catalog") or user.get("access") == "admin" else 403
        if action == "unknown":
            return 404 if self.anything(name) else 403
        return ALLOWED if self.permits(name, action, repository) else 403


class Table:
    """Cells that were checked, and those that were not as expected."""

    def __init__(self) -> None:
        self.cells = 0
        self.wrong: list[str] = []

    def check(self, what: str, expected: int | str, answer: Answer, allowed: Answer | int, head: bool = False) -> None:
        """Compare an answer; `allowed` is what the registry itself says, or the status that it says it with."""
        self.cells += 1
        status = allowed if isinstance(allowed, int) else allowed.status
        if expected == ALLOWED:
            good = answer.status == status
            if not isinstance(allowed, int):
                good = good and answer.body == allowed.body
        else:
            good = answer.status == expected and (head or answer.code == REFUSED[int(expected)])
            if expected == 401:
                good = good and answer.headers["WWW-Authenticate"] == 'Basic realm="registry"'
        if not good:
            self.wrong.append(f"{what}: expected {expected} ({status}), got {answer.status} {answer.body[:80]!r}")

    def done(self, least: int) -> None:
        print(f"\n{self.cells} cells were checked")
        assert not self.wrong, f"{len(self.wrong)} of {self.cells} are wrong:\n" + "\n".join(self.wrong)
        assert self.cells >= least


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_anonymous_pull=ANONYMOUS)


@pytest.fixture(scope="module")
def seeded(proxy: Front) -> dict[str, dict[str, str]]:
    """What a path is filled in with, for each repository, which holds one image."""
    registry = proxy.registry()
    found = {}
    for repository in REPOSITORIES:
        digest, blob = registry.put_image(repository, "one", f"layer of {repository}".encode())
        found[repository] = {"repository": repository, "manifest": digest, "blob": blob, "nowhere": NOWHERE}
    return found


ORACLE = Oracle(USERS, ANONYMOUS)
EVERYBODY = [None, *(user["name"] for user in USERS)]


def filled(call: Call, material: dict[str, str]) -> str:
    return call.path.format(**material)


def test_each_user_can_do_what_the_rules_say_and_nothing_else(proxy: Front, seeded: dict) -> None:
    table = Table()
    registry = proxy.registry(2)
    themselves = {
        (repository, call.name): registry.ask(call.method, filled(call, seeded[repository]), Accept=ACCEPT)
        for repository in REPOSITORIES
        for call in CALLS
    }
    for name in EVERYBODY:
        client = proxy.client(name)
        for path, action in (("/v2/", "base"), ("/v2/_catalog?n=1000", "catalog")):
            itself = registry.ask("GET", path)
            table.check(f"{name} GET {path}", ORACLE.expects(name, action), client.ask("GET", path), itself)
        for repository in REPOSITORIES:
            for call in [*CALLS, *UNKNOWN]:
                answer = client.ask(call.method, filled(call, seeded[repository]), Accept=ACCEPT)
                table.check(
                    f"{name}: {call.name} of {repository}",
                    ORACLE.expects(name, call.action, repository),
                    answer,
                    themselves.get((repository, call.name), 404),
                    head=call.method == "HEAD",
                )
    table.done(3000)


def test_who_may_push_has_an_upload_of_their_own_from_begin_to_end(proxy: Front, seeded: dict) -> None:
    table = Table()
    registry = proxy.registry()
    for name in EVERYBODY:
        client = proxy.client(name)
        for repository in REPOSITORIES:
            expected = ORACLE.expects(name, "push", repository)
            began = client.ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
            table.check(f"{name}: begin an upload to {repository}", expected, began, 202)
            if began.status == 202:
                upload(table, client, f"{name} in {repository}", began.headers["Location"])
            # By a user who may not push, too: an upload that the proxy knows nothing of has no owner.
            location = registry.begin(repository)
            content = secrets.token_bytes(16)
            answer = client.ask("PUT", with_digest(location, digest_of(content)), content)
            table.check(f"{name}: end an upload to {repository}", expected, answer, 201)
            if expected != ALLOWED:
                assert not registry.holds(repository, digest_of(content)), (name, repository)
            manifest_of(table, client, registry, name, repository)
    table.done(1000)


def upload(table: Table, client: Client, who: str, location: str) -> None:
    """All that can be done with an upload of one's own."""
    content = secrets.token_bytes(32)
    patched = client.ask("PATCH", location, content[:16], Content_Type="application/octet-stream")
    table.check(f"{who}: patch", ALLOWED, patched, 202)
    location = patched.headers["Location"]
    table.check(f"{who}: ask for an upload", ALLOWED, client.ask("GET", location), 204)
    ended = client.ask("PUT", with_digest(location, digest_of(content)), content[16:])
    table.check(f"{who}: end", ALLOWED, ended, 201)


def manifest_of(table: Table, client: Client, registry: Client, name: str | None, repository: str) -> None:
    """Push a manifest by a tag and by its digest, of layers that are there."""
    layer = f"layer of {repository}".encode()
    content = manifest(layer, annotations={"of": secrets.token_hex(8)})
    expected = ORACLE.expects(name, "push", repository)
    for reference in (f"t{secrets.token_hex(4)}", digest_of(content)):
        answer = client.ask("PUT", f"/v2/{repository}/manifests/{reference}", content, Content_Type=OCI)
        table.check(f"{name}: put {reference[:8]} into {repository}", expected, answer, 201)
        there = registry.digest(repository, reference) is not None
        assert there == (expected == ALLOWED), (name, repository, reference)


def test_the_upload_of_another_is_theirs_alone_where_nobody_may_delete(proxy: Front, seeded: dict) -> None:
    table = Table()
    admin = proxy.client("admin")
    for name in EVERYBODY:
        if name == "admin":
            continue
        client = proxy.client(name)
        for repository in REPOSITORIES:
            expected = ORACLE.expects(name, "push", repository)
            if expected == ALLOWED and ORACLE.expects(name, "delete", repository) != ALLOWED:
                expected = 403
            location = admin.begin(repository)
            for method, allowed in (("GET", 204), ("PATCH", 202)):
                answer = client.ask(method, location, b"evil" if method == "PATCH" else None)
                what = f"{name}: {method} the upload of another in {repository}"
                table.check(what, expected, answer, allowed)
            if answer.status != 202:
                ended = admin.ask("PUT", with_digest(location, digest_of(b"good")), b"good")
                assert ended.status == 201, (name, repository, ended)
    table.done(400)


@pytest.mark.parametrize("targets", [("apps/web",), *repeated(("x", "drop/x", "open-1", "team/a/b/c"))])
def test_a_mount_reads_another_repository_and_is_an_upload_where_that_may_not_be_read(
    proxy: Front, seeded: dict, targets: tuple[str, ...]
) -> None:
    table = Table()
    registry = proxy.registry()
    for name in EVERYBODY:
        client = proxy.client(name)
        for target in targets:
            for source in REPOSITORIES:
                if source == target:
                    continue
                # A layer that the target has not got, however often this is asked.
                layer = f"{name} {target} {source}".encode()
                digest = registry.put_blob(source, layer)
                written = source if len(source) % 2 else source.replace("/", "%2F")
                answer = client.ask("POST", f"/v2/{target}/blobs/uploads/?mount={digest}&from={written}", b"")
                may_read = ORACLE.expects(name, "pull", source) == ALLOWED
                expected = ORACLE.expects(name, "push", target)
                table.check(f"{name}: mount {source} in {target}", expected, answer, 201 if may_read else 202)
                assert registry.holds(target, digest) == (expected == ALLOWED and may_read), (name, source, target)
    table.done(180 * len(targets))


def test_a_wrong_password_is_said_before_anything_else(proxy: Front, seeded: dict) -> None:
    """One question each, so that none of them is a guess too many."""
    table = Table()
    paths = ("/v2/", "/v2/public/tool/tags/list", "/v2/x/manifests/one", "/v2/_catalog")
    for some in (USERS[first : first + 5] for first in range(0, len(USERS), 5)):
        # A "no" takes seconds, and many no longer than one.
        asked = [(user["name"], path) for user in some for path in paths]
        answers = at_once([functools.partial(proxy.client(name, "wrong").ask, "GET", path) for name, path in asked])
        for (name, path), answer in zip(asked, answers, strict=True):
            table.check(f"{name} {path}", 401, answer, 401)
    table.done(4 * len(USERS))


def test_outside_of_the_api_there_is_nothing(proxy: Front) -> None:
    for name in (None, "admin", "nobody"):
        client = proxy.client(name)
        for path in (
            "/",
            "/v1/",
            "/v2",
            "/metrics",
            "/debug/health",
            "/_internal/proxy",
            "/_internal/password",
            "/_internal/error/denied",
            "/_internal/claim_upload/a",
        ):
            answer = client.ask("GET", path)
            assert (answer.status, answer.code) == (404, "NAME_UNKNOWN"), (name, path, answer)
        assert client.ask("GET", "/healthz").status == 200
