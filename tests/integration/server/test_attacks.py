"""Ways round the rules, each of which has to fail: what the registry did counts, and not what the proxy said."""

from __future__ import annotations

import base64
import json
import secrets
import time
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from engine import command, wait_for
from hostile_requests import SECRET, USERS, status, told
from http_client import OCI, at_once, digest_of, manifest, with_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from http_client import Client

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"], reverse_proxy_max_upload_size="1m")


# --- who asks ---------------------------------------------------------------------------------------------------------


def test_no_header_makes_somebody_else_of_a_user(proxy: Front, secret: str) -> None:
    path = f"/v2/secret/app/blobs/{secret}"
    team, admin = proxy.basic("team"), proxy.basic("admin")
    wrong = proxy.basic("admin", "wrong")

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode("latin-1")).decode()

    password = proxy.passwords["team"]
    attempts = [
        [team, wrong],
        [wrong, team],
        [f"{team}, {wrong}"],
        [f"{wrong}, {team}"],
        [basic(f"admin:{password}")],
        [basic(f"ADMIN:{proxy.passwords['admin']}")],
        [basic(f"admin\x00:{proxy.passwords['admin']}")],
        [basic(f"team\x00admin:{password}")],
        [basic(f"admin\nteam:{password}")],
        [basic(f" admin:{proxy.passwords['admin']}")],
        [basic("admin:")],
        [basic("admin")],
        [basic(":")],
        ["Basic"],
        ["Basic !!!!"],
        ["Basic " + "A" * 4000],
        [admin.replace("Basic", "Bearer")],
        [admin.replace("Basic ", "")],
        [""],
    ]
    for number, values in enumerate(attempts):
        answer = told(proxy, "GET", path, *(f"Authorization: {value}" for value in values))
        assert status(answer) in {400, 401, 403, 429}, (number, answer[:300])
        assert SECRET not in answer, number
    for header in ("X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Wharf-Verified", "X-Wharf-Owner"):
        answer = told(proxy, "GET", path, f"Authorization: {team}", f"{header}: admin")
        assert status(answer) == 403, header
        assert status(told(proxy, "GET", path, f"{header}: admin")) == 401, header


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_no_mount_reads_another_repository(proxy: Front, registry: Client, secret: str) -> None:
    """The registry takes what a form says, too, and in place of the query."""
    team = f"Authorization: {proxy.basic('team')}"
    name, encoded = "secret/app", "secret%2Fapp"
    queries = [
        f"mount={secret}&from={name}",
        f"from={encoded}&mount={secret}",
        f"mount={secret}&from=team%2Fapp&from={encoded}",
        f"mount={secret}&from={encoded}&from=team%2Fapp",
        f"from={encoded}&from=team%2Fapp&mount={secret}",
        f"mount={secret}&fr%6Fm={encoded}",
        f"mount={secret}&from=team%2Fapp&fr%6Fm={encoded}",
        f"m%6Funt={secret}&from={encoded}",
        f"mount={secret};from={encoded}",
        f"x=1;from={encoded}&mount={secret}&from=team%2Fapp",
        f"mount={secret}&from=team%2F..%2Fsecret%2Fapp",
        f"mount={secret}&from=%73ecret%2Fapp",
        f"mount={secret}&from=team%252Fapp%2F..%2F{encoded}",
        f"mount={secret}&from=team%2Fapp%00{encoded}",
        f"digest={secret}&mount={secret}&from={encoded}",
        f"mount={secret}&from={encoded}#&from=team%2Fapp",
        f"mount={secret}&from",
        "",
    ]
    form = f"mount={urllib.parse.quote(secret)}&from={encoded}"
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in (("mount", secret), ("from", name))
    )
    bodies = [
        ([], ""),
        ([f"Content-Type: {FORM}"], form),
        ([f"content-type: {FORM}", "Content-Type: text/plain"], form),
        (["Content-Type: multipart/form-data; boundary=x"], f"{parts}--x--\r\n"),
    ]
    for query in queries:
        for headers, body in bodies:
            target = f"/v2/team/app/blobs/uploads/{'?' if query else ''}{query}"
            answer = told(proxy, "POST", target, team, *headers, f"Content-Length: {len(body)}", body=body)
            assert status(answer) in {202, 400, 401, 403, 404}, (query, headers, answer[:300])
            assert not registry.holds("team/app", secret), (query, headers)


def test_an_upload_is_its_users(proxy: Front, registry: Client) -> None:
    owner, other, team = (proxy.client(name) for name in ("ci", "ci2", "team"))
    location = owner.begin("team/app")
    elsewhere = location.replace("team/app", "team/other")
    for client in (other, team):
        for place in (location, elsewhere, f"{location}&x=1"):
            for method in ("PATCH", "PUT", "GET", "DELETE"):
                target = with_digest(place, digest_of(b"evil")) if method == "PUT" else place
                answer = client.ask(method, target, b"evil" if method in {"PATCH", "PUT"} else None)
                assert answer.status >= 400, (method, place, answer)
    ended = owner.ask("PUT", with_digest(location, digest_of(b"good")), b"good")
    assert ended.status == 201
    assert registry.holds("team/app", digest_of(b"good"))
    assert not registry.holds("team/app", digest_of(b"evil"))
    assert not registry.holds("team/other", digest_of(b"evil"))


def test_a_layer_that_is_too_large_is_refused(proxy: Front) -> None:
    client = proxy.client("ci")
    answer = client.ask("PATCH", client.begin("team/app"), b"x" * (1 << 20) + b"x")
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


# --- blobs from the disk ----------------------------------------------------------------------------------------------


def test_blobs_are_what_the_registry_would_send(proxy: Front, registry: Client) -> None:
    content = secrets.token_bytes(300_000)
    digest = registry.put_blob("team/app", content)
    client = proxy.client("team")
    path = f"/v2/team/app/blobs/{digest}"
    kept = ("Content-Length", "Content-Type", "Content-Range", "Docker-Content-Digest", "Etag", "Accept-Ranges")
    for method in ("GET", "HEAD"):
        # Not If-Match: where it does not, the registry announces bytes that it does not send.
        for headers in (
            {},
            {"Range": "bytes=0-9"},
            {"Range": "bytes=100000-"},
            {"Range": "bytes=-5"},
            {"Range": "bytes=0-0"},
            {"If_None_Match": f'"{digest}"'},
            {"Range": "bytes=5-9", "If_Range": f'"{digest}"'},
            {"Range": "bytes=5-9", "If_Range": '"other"'},
        ):
            ours = client.ask(method, path, **headers)
            theirs = registry.ask(method, path, **headers)
            assert (ours.status, ours.body) == (theirs.status, theirs.body), (method, headers)
            # nginx does not tell in a part that there are others.
            of_part = kept[:-1] if ours.status != 200 else kept
            assert [ours.headers[name] for name in of_part] == [theirs.headers[name] for name in of_part], headers
    assert client.ask("GET", path, Range="bytes=900000-").status == 416

    def served() -> set[str]:
        return {json.loads(line)["served"] for line in proxy.log().splitlines() if digest in line}

    wait_for("both have served it, by the log", lambda: {"disk", "registry"} <= served())


def test_a_blob_is_read_through_a_repository_that_has_it(proxy: Front, registry: Client, secret: str) -> None:
    assert proxy.client("team").ask("GET", f"/v2/team/app/blobs/{secret}").status == 404
    assert proxy.client("admin").ask("GET", f"/v2/team/app/blobs/{secret}").code == "BLOB_UNKNOWN"
    digest = registry.put_blob("team/app", b"to be deleted")
    assert proxy.client("team").ask("GET", f"/v2/team/app/blobs/{digest}").body == b"to be deleted"
    assert registry.ask("DELETE", f"/v2/team/app/blobs/{digest}").status == 202
    assert proxy.client("team").ask("GET", f"/v2/team/app/blobs/{digest}").status == 404


# --- tags that stay ---------------------------------------------------------------------------------------------------


def test_of_many_pushes_to_a_tag_that_stays_one_wins(proxy: Front, registry: Client) -> None:
    registry.put_image("team/app", "base", b"a layer")
    pushed = [manifest(b"a layer", annotations={"of": str(number)}) for number in range(20)]
    clients = [proxy.client("ci") for _each in pushed]
    for client in clients:
        assert client.ask("GET", "/v2/").status == 200

    def put(client: Client, content: bytes) -> Callable:
        return lambda: client.ask("PUT", "/v2/team/app/manifests/v1", content, Content_Type=OCI)

    answers = at_once([put(client, content) for client, content in zip(clients, pushed, strict=True)])
    won = [digest_of(content) for content, answer in zip(pushed, answers, strict=True) if answer.status == 201]
    assert len(won) == 1
    assert {answer.status for answer in answers} <= {201, 403, 503}
    assert registry.digest("team/app", "v1") == won[0]
    again = put(clients[0], pushed[0])()
    assert (again.status, again.code) == (403, "DENIED")
    assert b"the tag v1 of team/app" in again.body
    # Who may delete may replace.
    assert put(proxy.client("admin"), pushed[1])().status == 201
    for path in ("/v2/team/app/manifests/other", "/v2/wharf-verify/manifests/v1"):
        for content in pushed[:2]:
            registry.put_image("wharf-verify", "base", b"a layer")
            assert proxy.client("ci").ask("PUT", path, content, Content_Type=OCI).status == 201


# --- passwords --------------------------------------------------------------------------------------------------------


def test_another_password_and_the_end_of_a_user_count_at_once(proxy: Front) -> None:
    kept = {name: proxy.client(name) for name in ("ci", "team")}
    for client in kept.values():
        assert client.ask("GET", "/v2/").status == 200
    former = proxy.passwords["ci"]
    remaining = [
        dict(user) | ({"password": secrets.token_urlsafe(12)} if user["name"] == "ci" else {})
        for user in USERS
        if user["name"] != "team"
    ]
    proxy.change(remaining, **proxy.options)
    # nginx gives the new workers a tenth of a second before it tells the others.
    time.sleep(0.5)
    for name, client in kept.items():
        try:
            answer = client.ask("GET", "/v2/")
        except OSError:
            # nginx ended the connection; the next one is new.
            client.connection.close()
            answer = client.ask("GET", "/v2/")
        assert answer.status == 401, name
    assert proxy.client("ci", former).ask("GET", "/v2/").status == 401
    assert proxy.client("ci").ask("GET", "/v2/").status == 200


def test_a_former_password_is_valid_until_it_is_dropped(proxy: Front) -> None:
    former, names = proxy.passwords["admin"], list(proxy.passwords)
    users = [user for user in USERS if user["name"] in names]
    changed = [
        dict(user)
        | {"password": secrets.token_urlsafe(12) if user["name"] == "admin" else proxy.passwords[user["name"]]}
        for user in users
    ]
    keep = {"reverse_proxy_keep_former_passwords": True}
    # Twice, as a run that failed in between is run again.
    for _turn in range(2):
        proxy.change(changed, **proxy.options | keep)
        for password in (former, None):
            assert proxy.client("admin", password).ask("GET", "/v2/").status == 200
    proxy.change(changed, **proxy.options | {"reverse_proxy_keep_former_passwords": False})
    time.sleep(0.5)
    assert proxy.client("admin", former).ask("GET", "/v2/").status == 401
    assert proxy.client("admin").ask("GET", "/v2/").status == 200


def test_what_is_remembered_lies_in_memory_that_nobody_else_reads(proxy: Front, inside: Callable[[str], str]) -> None:
    assert inside("stat -f -c %T /tmp") == "tmpfs"
    assert inside("stat -c %a /tmp/auth /tmp/uploads") == "700\n700"
    assert set(inside("find /tmp/auth -type f -exec stat -c %a {} +").split()) == {"600"}


def test_the_log_has_no_secret(proxy: Front) -> None:
    log = proxy.log()
    # A message about an error shows the request; a reader of the log who finds the state of an upload is not its user.
    assert not [line for line in log.splitlines() if line.startswith("{") and "_state" in line]
    for name, password in proxy.passwords.items():
        assert password not in log, name
        assert base64.b64encode(f"{name}:{password}".encode()).decode() not in log, name


@pytest.fixture(scope="module")
def inside(proxy: Front) -> Callable[[str], str]:
    """What a command says within the container of the proxy."""

    def say(script: str) -> str:
        return command("docker", "exec", proxy.containers["proxy"], "sh", "-c", script).stdout.strip()

    return say
