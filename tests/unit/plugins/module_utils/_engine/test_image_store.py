"""The images of Docker and Podman where those misbehave: each case ends in one clear error, in bounded time."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._engine import engine_command
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import (
    DockerApi,
    EngineDownError,
    EngineError,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_image_store import DockerImageStore
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_store import ImageStore, StoredImage
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman_image_store import PodmanImageStore
from misbehaving import raw, reply

DIGEST = "sha256:" + "1" * 64
IMAGE = parse_reference("r.example.com:5000/apps/web:1.0")
CREDENTIAL = Credential("ci", "geheim")
OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PUSH = "/images/r.example.com%3A5000/apps/web/push"


@pytest.fixture
def docker(engine):
    return DockerImageStore(IMAGE, CREDENTIAL, engine.netloc, 1)


def chunk(text):
    return f"{len(text):x}\r\n{text}\r\n".encode()


# --- Docker -----------------------------------------------------------------------------------------------------------


def test_progress_is_read_as_it_comes(engine):
    """The time limit is for each silence and not for all of them."""
    parts = [chunk(json.dumps({"status": str(number)}) + "\r\n") for number in range(4)]
    engine.answer("/x", raw(OK, *parts, b"0\r\n\r\n", pause=0.4))
    told = list(DockerApi(engine.netloc, 1).stream("POST", "/x"))
    assert told == [{"status": str(number)} for number in range(4)]


@pytest.mark.parametrize(
    ("behaviour", "says", "kind"),
    [
        (raw(OK, b"", pause=5), "said nothing for 1 seconds", EngineDownError),
        (raw(OK + b"zz\r\n"), "in the middle of its answer", EngineDownError),
        (raw(OK + chunk('{"status": "half"}')), "in the middle of its answer", EngineDownError),
        (raw(b""), "in the middle of its answer", EngineDownError),
        (reply(500, '{"message": "it is broken"}'), "it is broken", EngineError),
        (reply(500, "plain words"), "plain words", EngineError),
        (raw(OK + chunk('{"error": "denied", "errorDetail": {"message": "denied"}}\r\n')), "denied", EngineError),
    ],
)
def test_an_engine_that_does_not_do_it(engine, docker, behaviour, says, kind):
    engine.answer(PUSH, behaviour)
    began = time.monotonic()
    with pytest.raises(kind) as error:
        docker.push(IMAGE)
    assert says in str(error.value)
    assert time.monotonic() - began < 20


def test_lines_that_are_no_progress_are_passed_over(engine, docker):
    lines = f'\r\nwords\r\n[1]\r\n{{"aux": 1}}\r\n{{"aux": {{"Digest": "{DIGEST}"}}}}\r\n'
    engine.answer(PUSH, raw(OK + chunk(lines) + b"0\r\n\r\n"))
    assert docker.push(IMAGE) == DIGEST


def test_the_login_goes_in_a_header_and_is_not_shown(engine, docker):
    engine.answer(PUSH, reply(500, '{"message": "denied: geheim is wrong"}'))
    with pytest.raises(EngineError, match=r"may not push there .*\*\*\*\*\*\*\*\* is wrong") as error:
        docker.push(IMAGE)
    assert "geheim" not in str(error.value)
    (request,) = engine.seen(PUSH)
    assert request.headers["x-registry-auth"].startswith("eyJ")
    assert "geheim" not in request.target


@pytest.mark.parametrize("answer", ["{}", "[1]", '"x"', "words", '[{"Id": "x", "RepoTags": 1}]', "[{}]"])
def test_images_that_are_listed_in_another_way(engine, docker, answer):
    engine.answer("/images/json", reply(200, answer))
    with contextlib.suppress(EngineError):
        assert docker.images() == {}


@pytest.mark.parametrize("answer", ["{}", "[]", "<html>"])
def test_what_is_no_engine(engine, docker, answer):
    engine.answer("/info", reply(200, answer))
    with pytest.raises(EngineDownError, match="is not a Docker Engine"):
        docker.version()


def test_no_socket(tmp_path):
    with pytest.raises(EngineDownError, match="No such file"):
        DockerApi(str(tmp_path / "none.sock"), 1).info()


def test_the_engine_has_a_proxy_of_its_own(engine, docker):
    info = {"HttpsProxy": "http://ci:geheim@proxy.example.com:3128", "NoProxy": "localhost"}
    engine.answer("/info", reply(200, json.dumps(info)))
    engine.answer("/images/create", reply(500, json.dumps({"message": 'Get "https://r.example.com": i/o timeout'})))
    with pytest.raises(EngineError) as error:
        docker.pull(IMAGE)
    message = str(error.value)
    assert "cannot reach the registry" in message
    assert "proxy.example.com:3128" in message
    assert "add r.example.com:5000 to NO_PROXY" in message
    assert "geheim" not in message
    assert error.value.mistake == "proxy"
    # The engine may wait for a proxy for longer than it is waited for.
    engine.answer("/images/create", raw(OK, b"", pause=5))
    with pytest.raises(EngineDownError, match=r"said nothing for 1 seconds.*NO_PROXY") as down:
        docker.pull(IMAGE)
    assert down.value.mistake == "proxy"
    # What is no matter of reaching it has another cure.
    engine.answer("/images/create", reply(404, json.dumps({"message": "manifest unknown"})))
    with pytest.raises(EngineError) as error:
        docker.pull(IMAGE)
    assert "NO_PROXY" not in str(error.value)


# --- Podman -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """Makes a store whose command is this script: no real Podman can be made to hang."""

    def make(script, timeout=1):
        command = tmp_path / "podman"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        return PodmanImageStore(IMAGE, CREDENTIAL, timeout)

    return make


def test_a_podman_that_does_nothing_is_given_up(podman, tmp_path):
    began = time.monotonic()
    with podman("sleep 60 & wait") as store, pytest.raises(EngineDownError, match="did nothing for 1 seconds"):
        store.pull(IMAGE)
    assert time.monotonic() - began < 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["podman"]


def test_a_podman_that_goes_on_is_waited_for(podman):
    with podman("for i in 1 2 3 4 5 6 7 8; do cat /proc/uptime >/dev/null; sleep 0.5; done") as store:
        store.pull(IMAGE)


def test_the_login_of_podman_lies_in_a_private_file(podman, tmp_path):
    script = 'echo "$@" >&2; stat --format=%a "$4"; stat --format=%a "$(dirname "$4")"; cat "$4"'
    with podman(f"{{ {script}; }} >{tmp_path}/told 2>&1; exit 0") as store:
        store.pull(IMAGE)
    arguments, *modes, content = (tmp_path / "told").read_text().splitlines()
    assert "geheim" not in arguments
    assert modes == ["600", "700"]
    assert json.loads(content) == {"auths": {"r.example.com:5000": {"auth": "Y2k6Z2VoZWlt"}}}
    assert not list(tmp_path.glob("wharf-check*"))


def test_what_podman_says_holds_no_secret(podman):
    with podman("echo 'Error: denied: geheim' >&2; exit 125") as store, pytest.raises(EngineError) as error:
        store.pull(IMAGE)
    assert "may not pull there" in str(error.value)
    assert "geheim" not in str(error.value)


def test_no_podman(monkeypatch, tmp_path):
    monkeypatch.setattr(engine_command, "find", lambda _name: str(tmp_path / "podman"))
    with pytest.raises(EngineDownError, match="podman cannot be run"):
        PodmanImageStore(IMAGE, None, 1).version()


@pytest.mark.parametrize("answer", ["words", '{"Id": "x"}', "[1]", "null", ""])
def test_images_that_podman_lists_in_another_way(podman, answer):
    with podman(f"echo '{answer}'") as store, contextlib.suppress(EngineError):
        assert store.images() == {}


# --- the images from before -------------------------------------------------------------------------------------------


class Recorder(ImageStore):
    """Notes what is done to images that a test lists."""

    def __init__(self, *listings):
        super().__init__(IMAGE, None)
        self._listings = list(listings)
        self.done = []

    def _list(self):
        images = self._listings.pop(0) if len(self._listings) > 1 else self._listings[0]
        found = {key: StoredImage() for key in images}
        for key, names in images.items():
            found[key].names.update(parse_reference(name) for name in names)
        return found

    def remove(self, name):
        self._known = None
        self.done.append(("remove", str(name)))

    def tag(self, identifier, name):
        self.done.append(("tag", identifier, str(name)))

    def _untag(self, identifier, name, keep):
        self.done.append(("untag", identifier, str(name), sorted(map(str, keep))))


def test_what_others_pull_meanwhile_is_not_touched():
    others = {"other": [f"{IMAGE.registry.name}/apps/web:2.0"], "third": [f"{IMAGE.registry.name}/apps/web@{DIGEST}"]}
    store = Recorder({}, {"ours": [str(IMAGE)], **others})
    with store.restored({IMAGE}, pytest.fail):
        store._known = None
    assert store.done == [("remove", str(IMAGE))]


def test_the_names_of_an_engine_that_keeps_images_in_containerd(engine, docker):
    """As 26.1 lists them: the digest of only one repository, and a pull by digest among the tags."""
    pinned = parse_reference(f"{IMAGE.registry.name}/apps/web@{DIGEST}")
    image = {"Id": DIGEST, "RepoTags": [str(IMAGE), "aside:1"], "RepoDigests": [f"aside@{DIGEST}"]}
    engine.answer("/images/json", reply(200, json.dumps([image])))
    kept = docker.images()[DIGEST]
    assert (kept.names, kept.digests) == ({IMAGE}, {DIGEST})
    image = {"Id": DIGEST, "RepoTags": [str(IMAGE), str(pinned)], "RepoDigests": [str(pinned)]}
    engine.answer("/images/json", reply(200, json.dumps([image])))
    docker._known = None
    kept = docker.images()[DIGEST]
    assert (kept.names, kept.digests) == ({IMAGE, pinned}, {DIGEST})


def test_the_names_of_an_engine_that_has_a_digest_for_a_name(engine, docker):
    pinned = parse_reference(f"{IMAGE.registry.name}/apps/web@{DIGEST}")
    image = {"Id": "sha256:" + "2" * 64, "RepoTags": [str(IMAGE)], "RepoDigests": [str(pinned)]}
    engine.answer("/images/json", reply(200, json.dumps([image])))
    (kept,) = docker.images().values()
    assert kept.names == {IMAGE, pinned}
    assert DIGEST in kept.digests


def test_what_can_not_be_put_back_is_a_warning():
    store, warnings = Recorder({}, {"ours": [str(IMAGE)]}), []

    def remove(_name):
        raise EngineError("the engine said: conflict", "Check its log")

    store.remove = remove
    with store.restored({IMAGE}, warnings.append):
        store._known = None
    assert len(warnings) == 1
    assert "conflict" in warnings[0]
