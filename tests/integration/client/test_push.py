"""registry_push with this machine's engine and real registries: what arrives, and what is left behind here."""

from __future__ import annotations

import functools
import http.client
import io
import json
import secrets
import tarfile
from typing import TYPE_CHECKING

import pytest
from engine import command
from managed import assert_silent
from peers import docker_config
from steps import four_runs, says

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import managed
    from peers import Peers

LOCAL = "wharf-modules-push"
LISTED = "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}} {{.Size}}"


@pytest.fixture
def make_image(session: None, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Makes a new local image, with a name or without any, and returns its identifier."""
    made = []

    def make(*name: str) -> str:
        archive = tmp_path / "layer.tar"
        with tarfile.open(archive, "w") as tar:
            content = secrets.token_bytes(64)
            member = tarfile.TarInfo("payload")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        made.append(command("docker", "import", str(archive), *name).stdout.strip())
        return made[-1]

    yield make
    for identifier in made:
        command("docker", "rmi", "--force", identifier, check=False)


@pytest.fixture
def image(make_image: Callable[..., str]) -> tuple[str, str]:
    """The name and the identifier of a local image."""
    name = f"{LOCAL}/{secrets.token_hex(6)}:build"
    return name, make_image(name)


@pytest.fixture
def place(peers: Peers) -> dict[str, str]:
    """A place in the registry where nothing is yet."""
    return {"repository": f"push/{secrets.token_hex(6)}", "tag": "1.0"}


@pytest.fixture
def push(host: managed.Host, peers: Peers, config: Path, image: tuple[str, str], place: dict) -> Callable[..., dict]:
    """Runs registry_push against the Basic peer by default, as a user whose password is right.

    Whichever way it ends, the names of local images must be what they were.
    """
    docker_config(config, "other.example.com", "other", "secret")

    def run(peer: str = "basic", **options: object) -> dict:
        of_run = {key: options.pop(key) for key in ("env", "check", "failed", "secrets") if key in options}
        args = {
            "image": image[0],
            "registry": peers[peer],
            "username": "ci",
            "password": (peers.tokens.users if peer == "bearer" else peers.users)["ci"],
            "ca_path": str(peers.ca),
            "config_path": str(config),
            **place,
            **options,
        }
        before = names(peers)
        result = host.run_module(
            "registry_push", {key: value for key, value in args.items() if value is not None}, **of_run
        )
        assert names(peers) == before
        return result

    return run


def names(peers: Peers) -> list[str]:
    """What `docker image ls` shows, of all that a push could leave: names, digests and images without a name.

    Others use the engine at the same time, so this is of these peers, and of images of the size of those made here, or
    without content.
    """
    ours = (LOCAL, *(f"127.0.0.1:{port}/" for port in peers.ports.values()))
    lines = command("docker", "image", "ls", "--digests", "--no-trunc", f"--format={LISTED}").stdout.splitlines()
    return sorted(
        line
        for line in lines
        if line.startswith(ours) or (line.startswith("<none>") and line.endswith((" 64B", " 0B")))
    )


def held(peers: Peers, place: dict[str, str]) -> tuple[str, str] | None:
    """Image and digest that the registry behind the Basic peers has under the tag, asked without its proxy."""
    connection = http.client.HTTPConnection(peers["registry"], timeout=10)
    path = f"/v2/{place['repository']}/manifests/{place['tag']}"
    try:
        connection.request("GET", path, headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status == 404:
        return None
    return json.loads(content)["config"]["digest"], answer.headers["Docker-Content-Digest"]


def test_four_runs(push: Callable[..., dict], peers: Peers, image: tuple[str, str], place: dict) -> None:
    done = four_runs(push, lambda: held(peers, place))
    assert done["pushed"] is True
    assert done["reference"] == f"{peers['basic']}/{place['repository']}:1.0"
    assert held(peers, place) == (image[1], done["digest"])
    assert done["diff"]["after"] == {"image": image[1]}
    again = push()
    assert (again["digest"], again["pushed"]) == (done["digest"], False)
    # By its identifier it is the same image.
    assert not push(image=image[1])["changed"]


def test_what_is_there_is_not_sent_again(push: Callable[..., dict], peers: Peers) -> None:
    push()
    before = len(peers.requests("basic"))
    push()
    assert {method for method, *_rest in peers.requests("basic")[before:]} <= {"GET", "HEAD"}


def test_docker_pulls_what_was_pushed(
    push: Callable[..., dict], peers: Peers, config: Path, image: tuple[str, str], place: dict
) -> None:
    docker_config(config, peers["basic"], "ci", peers.users["ci"])
    done = push()
    name = f"{done['reference'].rpartition(':')[0]}@{done['digest']}"
    command("docker", "rmi", image[0])
    command("docker", "--config", str(config.parent), "pull", name)
    assert command("docker", "inspect", "--format={{.Id}}", name).stdout.strip() == image[1]
    # An image that has only a digest for a name keeps it, in the very repository that it goes to.
    assert push(image=name, tag="2.0")["digest"] == done["digest"]
    assert not push(image=name, tag="2.0")["changed"]


def test_latest_is_refused(push: Callable[..., dict], peers: Peers, place: dict) -> None:
    place["tag"] = "latest"
    for check in (True, False):
        result = push(failed=True, check=check)
        says(result, f"{peers['basic']}/{place['repository']}:latest", "allow_latest")
    assert held(peers, place) is None
    assert push(allow_latest=True)["pushed"]


def test_another_image_is_not_overwritten(
    push: Callable[..., dict], make_image: Callable[..., str], peers: Peers, place: dict
) -> None:
    first = push()
    before = held(peers, place)
    other = make_image()
    for check in (True, False):
        result = push(image=other, failed=True, check=check)
        says(result, f"{peers['basic']}/{place['repository']}:1.0", first["digest"], other, "overwrite")
    assert held(peers, place) == before
    done = four_runs(functools.partial(push, image=other, overwrite=True), lambda: held(peers, place))
    assert held(peers, place) == (other, done["digest"])


@pytest.mark.parametrize("peer", ["basic", "read_only"])
@pytest.mark.parametrize("way", ["its own", "another image's", "another tag of the image"])
def test_a_local_name_that_was_there_stays(
    push: Callable[..., dict], make_image: Callable[..., str], image: tuple[str, str], way: str, peer: str
) -> None:
    name = push(peer=peer, check=True)["reference"]
    if way == "another image's":
        make_image(name)
    else:
        command("docker", "tag", image[1], name if way == "its own" else f"{name}-other")
    if peer == "read_only":
        says(push(peer=peer, failed=True), name, "may not push")
    else:
        assert push()["changed"]
        assert not push()["changed"]


def test_an_image_without_a_name_stays(push: Callable[..., dict], make_image: Callable[..., str], peers: Peers) -> None:
    nameless = make_image()
    assert push(image=nameless)["changed"]
    assert not push(image=nameless)["changed"]
    says(push(peer="read_only", image=nameless, tag="2.0", failed=True), "2.0", "push access")
    assert command("docker", "inspect", "--format={{.RepoTags}} {{.RepoDigests}}", nameless).stdout.strip() == "[] []"


FAILURES = {
    "wrong password": ({"password": "wrong-password"}, ["refuses user 'ci'", "password"]),
    "no login": ({"username": None, "password": None}, ["asks for a login"]),
    "may not push": ({"peer": "read_only"}, ["may not push", "push access"]),
    "may nothing": ({"peer": "forbidden"}, ["403", "access"]),
    "too many requests": ({"peer": "too_many"}, ["429", "again"]),
    "the registry is ill": ({"peer": "unavailable"}, ["503", "log"]),
    "no such image": ({"image": f"{LOCAL}/none:none"}, [f"{LOCAL}/none:none", "build or load"]),
    "no name of an image": ({"image": "a b"}, ["invalid reference format", "name"]),
    "no engine": ({"env": {"DOCKER_HOST": "unix:///nonexistent.sock"}}, ["Docker Engine", "DOCKER_HOST"]),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_failed_and_what_to_do(push: Callable[..., dict], peers: Peers, place: dict, case: str) -> None:
    options, wanted = FAILURES[case]
    result = push(**options, timeout=5, failed=True)
    says(result, f"{peers[options.get('peer', 'basic')]}/{place['repository']}:1.0", *wanted)
    assert held(peers, place) is None


def test_tokens(push: Callable[..., dict], peers: Peers, config: Path) -> None:
    assert push(peer="bearer")["pushed"]
    assert not push(peer="bearer")["changed"]
    # Docker's own login leaves an identity token, which the engine takes from the module.
    address, password = peers["bearer"], peers.tokens.users["ci"]
    arguments = ("docker", "--config", str(config.parent), "login", "--username", "ci", "--password-stdin", address)
    command(*arguments, stdin=password)
    token = json.loads(config.read_text())["auths"][address]["identitytoken"]
    stored = functools.partial(push, peer="bearer", username=None, password=None, secrets=(token, password))
    assert not stored()["changed"]
    done = stored(tag="2.0")
    assert done["pushed"]
    assert_silent(json.dumps(done), {"username": "ci", "password": password})


def test_every_python(any_host: managed.Host) -> None:
    """Without the SDK, it says what is missing; with it, it goes on."""
    args = {"registry": "r.test", "repository": "x", "tag": "latest", "image": "x"}
    message = any_host.run_module("registry_push", args, failed=True)["msg"]
    assert "library (docker)" in message or "the tag latest" in message
