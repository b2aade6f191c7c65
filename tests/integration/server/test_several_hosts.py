"""Several hosts are one registry: what one nginx keeps in its memory holds for all of them."""

from __future__ import annotations

import concurrent.futures
import json
import secrets
import threading
from typing import TYPE_CHECKING

import pytest
from content import Content
from engine import bridge_address, command, wait_for
from http_client import ACCEPT, OCI, digest_of, with_digest
from several_fronts import holdable, several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from several_fronts import SharedFront

USERS = [
    {"name": "ci", "access": "push"},
    {"name": "other", "access": "push"},
    {"name": "admin", "access": "admin"},
    {"name": "runtime", "access": "pull"},
]
# By the hash of their names, each of the hosts has two of them.
REPOSITORIES = ["apps/web", "team/a", "apps/api", "team/c", "team/b", "web/shop"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, images: dict[str, str]) -> Iterator[list[SharedFront]]:
    with several(
        tmp_path_factory.mktemp("hosts"),
        images,
        USERS,
        3,
        reverse_proxy_immutable_tags=["v*"],
        reverse_proxy_bcrypt_cost=5,
    ) as hosts:
        yield hosts


def content_of(host: SharedFront, user: str = "ci") -> Content:
    return Content(host.client(user).connection, host.basic(user))


def path_of(location: str) -> str:
    return location[location.index("/v2/") :]


def test_what_comes_in_by_one_is_there_by_all(hosts: list[SharedFront]) -> None:
    for repository in REPOSITORIES:
        tag = secrets.token_hex(4)
        image = content_of(hosts[0]).image(repository, tag, layer=secrets.token_bytes(200_000))
        assert [content_of(host, "runtime").digest(repository, tag) for host in hosts] == [image["digest"]] * 3
    # Each was the one for some of them.
    owners = {
        place
        for place, host in enumerate(hosts)
        if any('"method":"PUT"' in line and '"served":"registry"' in line for line in host.log().splitlines())
    }
    assert owners == {0, 1, 2}


def test_an_upload_goes_on_by_another_host_and_is_its_users(hosts: list[SharedFront]) -> None:
    for repository in REPOSITORIES:
        begun = content_of(hosts[0]).ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202
        state = path_of(begun.headers["Location"])
        for host in hosts:
            taken = content_of(host, "other").ask("PATCH", state, b"stolen", Content_Type="application/octet-stream")
            assert (taken.status, taken.code) == (403, "DENIED")
        part = secrets.token_bytes(1000)
        appended = content_of(hosts[1]).ask("PATCH", state, part, Content_Type="application/octet-stream")
        assert appended.status == 202
        ended = content_of(hosts[2]).ask("PUT", with_digest(path_of(appended.headers["Location"]), digest_of(part)))
        assert ended.status == 201
        assert content_of(hosts[0], "runtime").ask("GET", f"/v2/{repository}/blobs/{digest_of(part)}").body == part


def race(hosts: list[SharedFront], times: int) -> None:
    """Two hosts are asked for the same immutable tag at the same instant."""
    repository = f"race/{secrets.token_hex(4)}"
    clients = [content_of(hosts[place]) for place in (0, 1)]
    documents = []
    for number in range(2):
        config = clients[0].blob(repository, json.dumps({"number": number}).encode())
        documents.append(
            json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI,
                    "config": {**config, "mediaType": "application/vnd.oci.image.config.v1+json"},
                    "layers": [],
                }
            ).encode()
        )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _time in range(times):
            tag = f"v{secrets.token_hex(6)}"
            puts = [
                pool.submit(client.ask, "PUT", f"/v2/{repository}/manifests/{tag}", document, Content_Type=OCI)
                for client, document in zip(clients, documents, strict=True)
            ]
            answers = [put.result() for put in puts]
            won = [place for place, answer in enumerate(answers) if answer.status == 201]
            assert len(won) == 1, answers
            # There is one already, or another push is under way.
            assert answers[1 - won[0]].status in (403, 503), answers
            assert content_of(hosts[2], "runtime").digest(repository, tag) == digest_of(documents[won[0]])


def test_one_of_two_pushes_of_an_immutable_tag_wins(hosts: list[SharedFront]) -> None:
    race(hosts, 30)


@pytest.mark.long
def test_one_of_two_pushes_of_an_immutable_tag_wins_each_time(hosts: list[SharedFront]) -> None:
    race(hosts, 1000)


def test_a_tag_that_is_deleted_by_one_is_gone_by_all(hosts: list[SharedFront]) -> None:
    for repository in REPOSITORIES[::2]:
        image = content_of(hosts[0]).image(repository, "old")
        gone = content_of(hosts[1], "admin").ask("DELETE", f"/v2/{repository}/manifests/{image['digest']}")
        assert gone.status == 202
        assert [content_of(host, "runtime").digest(repository, "old") for host in hosts] == [None] * 3


def test_who_may_not_push_may_not_by_another_host(hosts: list[SharedFront]) -> None:
    for host in hosts:
        for repository in REPOSITORIES:
            for user, status in (("runtime", 403), (None, 401)):
                client = host.client(user)
                assert client.ask("POST", f"/v2/{repository}/blobs/uploads/").status == status


@pytest.mark.parametrize("secret", ["", "0" * 64])
def test_nothing_is_handed_over_by_others(hosts: list[SharedFront], secret: str) -> None:
    """Who is no host of the registry can't say for which address it asks, with a right password or without."""
    headers = {
        "Host": "wharf-peer",
        "X-Wharf-Peer": secret,
        "X-Wharf-Host": "localhost",
        "X-Forwarded-For": "192.0.2.7",
    }
    for host in hosts:
        client = host.client("ci")
        client.connection.request("GET", "/v2/", headers={**headers, "Authorization": host.basic("ci")})
        answer = client.connection.getresponse()
        assert (answer.status, json.loads(answer.read())["errors"][0]["code"]) == (503, "UNAVAILABLE")
        assert "192.0.2.7" not in host.log()


def test_a_host_sees_the_address_of_the_client(hosts: list[SharedFront]) -> None:
    """And not that of the host which it came to: rules for networks and limits count by it."""
    assert content_of(hosts[0]).ask("POST", "/v2/seen/app/blobs/uploads/").status == 202
    seen = {
        json.loads(line)["address"]
        for host in hosts
        for line in host.log().splitlines()
        if '"path":"/v2/seen/app/blobs/uploads/"' in line
    }
    assert seen == {hosts[0].seen_as()}
    assert bridge_address() not in seen or hosts[0].seen_as() == bridge_address()


def garbage_of(hosts: list[SharedFront], repository: str) -> str:
    """A blob that no tag leads to any more: its digest."""
    layer = secrets.token_bytes(5000)
    old = content_of(hosts[1]).image(repository, "old", layer=layer)
    assert content_of(hosts[2], "admin").ask("DELETE", f"/v2/{repository}/manifests/{old['digest']}").status == 202
    return digest_of(layer)


def is_there(hosts: list[SharedFront], digest: str) -> bool:
    hexadecimal = digest.partition(":")[2]
    blobs = hosts[0].directory / "storage" / "docker" / "registry" / "v2" / "blobs" / "sha256"
    return (blobs / hexadecimal[:2] / hexadecimal / "data").exists()


def test_a_collection_asks_and_holds_each_host(hosts: list[SharedFront]) -> None:
    kept = content_of(hosts[1]).image("collected/app", "kept", layer=secrets.token_bytes(5000))
    old = garbage_of(hosts, "collected/app")
    with holdable(hosts[1]) as first, holdable(hosts[2]) as second:
        report = hosts[0].collector().run(upload_idle_seconds=0, push_seconds=0)
        assert report["removed"]["blobs"] >= 1, report
        assert [len(first), len(second)] == [1, 1]
        assert [program.wait(timeout=30) for program in (*first, *second)] == [0, 0]
    assert not is_there(hosts, old)
    assert content_of(hosts[0], "runtime").digest("collected/app", "kept") == kept["digest"]
    # Nothing is held any more.
    for host in hosts:
        content_of(host).image("collected/app", secrets.token_hex(4))


def test_what_a_client_of_another_host_has_looked_at_stays(hosts: list[SharedFront]) -> None:
    old = garbage_of(hosts, "collected/looked")
    over = threading.Event()

    def look() -> None:
        client = content_of(hosts[2])
        while not over.wait(0.2):
            client.ask("HEAD", f"/v2/collected/looked/blobs/{old}")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with holdable(hosts[1]), holdable(hosts[2]):
            hosts[0].collector().run(upload_idle_seconds=0, push_seconds=0, grace_seconds=10)
    finally:
        over.set()
        looking.join()
    assert is_there(hosts, old)


def test_without_an_answer_of_each_host_nothing_is_removed(hosts: list[SharedFront]) -> None:
    old = garbage_of(hosts, "collected/other")
    with holdable(hosts[1]):
        collector = hosts[0].collector()
        status, _output, errors = collector.finish(collector.start(upload_idle_seconds=0, push_seconds=0))
    assert status == 1
    assert "host-2 does not answer" in errors
    assert is_there(hosts, old)


def test_a_collection_that_is_killed_holds_no_other_host(hosts: list[SharedFront]) -> None:
    old = garbage_of(hosts, "collected/killed")
    held = hosts[1].directory / "sockets" / "hold"
    with holdable(hosts[1]) as programs, holdable(hosts[2]):
        collector = hosts[0].collector(quiet_command=["sh", "-c", "exit 22"], drain_seconds=50)
        process = collector.start(upload_idle_seconds=0, push_seconds=0)
        wait_for("the other host is held", held.exists)
        process.kill()
        collector.finish(process)
        assert programs[0].wait(timeout=60) == 0
        assert not held.exists()
        content_of(hosts[1]).image("collected/killed", secrets.token_hex(4))
    # Its own host is held no longer either, and what it has left behind there blocks no client.
    content_of(hosts[0]).image("collected/killed", secrets.token_hex(4))
    assert is_there(hosts, old)


def test_a_session_that_has_ended_before_anything_is_held_is_begun_anew(hosts: list[SharedFront]) -> None:
    """As while a large storage is looked at for the first time."""
    old = garbage_of(hosts, "collected/silent")
    with holdable(hosts[1]) as programs, holdable(hosts[2]) as next_ones:
        collector = hosts[0].collector()
        process = collector.start(upload_idle_seconds=0, push_seconds=0, grace_seconds=10)
        # One host after another: the one before has answered.
        wait_for("the other hosts are asked", lambda: next_ones)
        programs[0].kill()
        status, _output, errors = collector.finish(process)
    assert (status, errors) == (0, "")
    assert not is_there(hosts, old)
    assert len(programs) > 1


def test_a_session_that_ends_while_it_holds_removes_nothing(hosts: list[SharedFront]) -> None:
    old = garbage_of(hosts, "collected/held")
    held = hosts[2].directory / "sockets" / "hold"
    with holdable(hosts[1]) as programs, holdable(hosts[2]):
        collector = hosts[0].collector(quiet_command=["sh", "-c", "sleep 3; exit 0"], drain_seconds=50)
        process = collector.start(upload_idle_seconds=0, push_seconds=0)
        wait_for("the other hosts are held", held.exists)
        programs[0].kill()
        status, _output, errors = collector.finish(process)
    assert status == 1
    assert "host-1 is held no longer" in errors
    assert is_there(hosts, old)


def test_a_host_without_a_registry_reads_from_another_one(hosts: list[SharedFront]) -> None:
    """Its clients come to it until they are led elsewhere, and many of them do not try again after an error."""
    image = content_of(hosts[2]).image("apps/web", "there", layer=secrets.token_bytes(300_000))
    replicas = [name for role, name in hosts[0].containers.items() if role.startswith("registry")]
    assert len(replicas) == 2
    command("docker", "kill", *replicas)
    try:
        for _turn in range(20):
            for user in ("ci", "runtime"):
                content = content_of(hosts[0], user)
                assert content.digest("apps/web", "there") == image["digest"]
                layer = content.ask("GET", "/v2/apps/web/manifests/there", Accept=ACCEPT).json["layers"][0]
                blob = f"/v2/apps/web/blobs/{layer['digest']}"
                assert content.ask("HEAD", blob).headers["Content-Length"] == str(layer["size"])
                assert digest_of(content.ask("GET", blob).body) == layer["digest"]
                part = content.ask("GET", blob, Range="bytes=5-14")
                assert (part.status, len(part.body)) == (206, 10)
                assert "there" in content.ask("GET", "/v2/apps/web/tags/list").json["tags"]
                # What the registry says, and not the proxy.
                missing = content.ask("GET", "/v2/apps/web/manifests/none")
                assert (missing.status, missing.code) == (404, "MANIFEST_UNKNOWN")
        assert content_of(hosts[0], "runtime").ask("GET", "/v2/_catalog").status in (200, 403)
        # Refused here, before another one hears of it.
        assert content_of(hosts[0], "runtime").ask("DELETE", f"/v2/apps/web/manifests/{image['digest']}").status == 403
        for repository in REPOSITORIES:
            content_of(hosts[0]).image(repository, "more")
    finally:
        command("docker", "start", *replicas)
    wait_for("the replicas answer", lambda: all(hosts[0].answers(replica) for replica in (1, 2)))


# Last: hosts end.
def test_a_host_that_ends_is_passed_over(hosts: list[SharedFront]) -> None:
    command("docker", "kill", hosts[1].containers["proxy"])
    client = content_of(hosts[0])
    for repository in REPOSITORIES:
        tag = secrets.token_hex(4)
        image = client.image(repository, tag)
        assert content_of(hosts[2], "runtime").digest(repository, tag) == image["digest"]
    race([hosts[0], hosts[2], hosts[2]], 10)
