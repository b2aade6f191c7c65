"""registry_check against engines and registries that misbehave: each case ends in one clear error, in bounded time."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import io
import json
import tarfile
import time
from types import SimpleNamespace

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName, parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis import probe_image, verification
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._engine import podman_image_store
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import (
    DockerApi,
    EngineDownError,
    EngineError,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_image_store import DockerImageStore
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import failure
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_store import ImageStore, StoredImage
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman_image_store import PodmanImageStore
from inprocess import run_module
from misbehaving import Misbehaving, make_certificate, raw, reply

REGISTRY = RegistryName("r.example.com:5000")
DIGEST = "sha256:" + "1" * 64
IMAGE = parse_reference("r.example.com:5000/apps/web:1.0")
CREDENTIAL = Credential("ci", "geheim")
OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PUSH = "/images/r.example.com%3A5000/apps/web/push"


@pytest.fixture
def engine(tmp_path):
    """A server on a Unix socket, as an engine has it."""
    with Misbehaving(host=str(tmp_path / "docker.sock")) as engine:
        engine.answer("/version", reply(200, '{"Version": "20.10"}'))
        yield engine


@pytest.fixture
def docker(engine):
    return DockerImageStore(IMAGE, CREDENTIAL, engine.netloc, 1)


def chunk(text):
    return f"{len(text):x}\r\n{text}\r\n".encode()


# --- names and the image ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("apps/web", "r.example.com:5000/apps/web:latest"),
        (" apps/web:1.0\n", "r.example.com:5000/apps/web:1.0"),
        ("r.example.com:5000/apps/web:1.0", "r.example.com:5000/apps/web:1.0"),
        (f"apps/web@{DIGEST}", f"r.example.com:5000/apps/web@{DIGEST}"),
        (f"apps/web:1.0@{DIGEST}", f"r.example.com:5000/apps/web@{DIGEST}"),
    ],
)
def test_images_by_name(text, reference):
    assert str(verification.parse_image(text, REGISTRY)) == reference


@pytest.mark.parametrize("text", ["", "A/b", "a:", "a@", "a@sha256:1", "other.example.com:5000/a:1", "../x", "a b"])
def test_what_names_no_image(text):
    with pytest.raises(InputError):
        verification.parse_image(text, REGISTRY)


def test_the_hub_has_a_namespace():
    assert str(verification.parse_image("nginx:1.28.0", RegistryName("docker.io"))) == "docker.io/library/nginx:1.28.0"


@pytest.mark.parametrize(
    ("node", "tag"),
    [
        ("web1.example.com", "web1"),
        ("Büro-1", "B-ro-1"),
        ("-odd", "odd"),
        ("", "this-host"),
        ("...", "this-host"),
        ("x" * 300, "x" * 128),
    ],
)
def test_the_tag_of_a_host(monkeypatch, node, tag):
    monkeypatch.setattr("platform.node", lambda: node)
    assert str(probe_image.probe_reference(REGISTRY)) == f"r.example.com:5000/wharf-verify:{tag}"


def test_the_image_of_a_host_is_the_same_each_time(monkeypatch):
    made = probe_image.probe_archive(IMAGE)
    time.sleep(1.1)
    assert probe_image.probe_archive(IMAGE) == made
    monkeypatch.setattr("platform.node", lambda: "another")
    assert probe_image.probe_archive(IMAGE) != made


def test_the_archive_is_one_that_engines_load():
    with tarfile.open(fileobj=io.BytesIO(probe_image.probe_archive(IMAGE))) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == [str(IMAGE)]
    config = files[manifest["Config"]]
    assert manifest["Config"] == hashlib.sha256(config).hexdigest() + ".json"
    layers = [f"sha256:{hashlib.sha256(files[layer]).hexdigest()}" for layer in manifest["Layers"]]
    assert json.loads(config)["rootfs"]["diff_ids"] == layers


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
    assert time.monotonic() - began < 3


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
    engine.answer("/version", reply(200, answer))
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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("denied: requested access to the resource is denied", ["may not pull there", "pull access"]),
        ("unauthorized: authentication required", ["credentials for a pull"]),
        ("received unexpected HTTP status: 502 Bad Gateway", ["cannot give it now"]),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", ["platform of this host"]),
        ("choosing image instance: no image found in manifest list for architecture arm64", ["platform of this host"]),
        ("proxyconnect tcp: dial tcp 192.0.2.1:3128: i/o timeout", ["HTTP proxy", "NO_PROXY"]),
        ("write /var/lib/docker/tmp/x: no space left on device", ["no space left"]),
        (
            "pinging container registry r.example.com: x509: certificate signed by unknown authority",
            ["does not know the CA", "/etc/containers/certs.d/r.example.com/ca.crt"],
        ),
    ],
)
def test_what_engines_say_of_a_pull(words, says):
    message = str(failure(words, "r.example.com", action="pull", certificates="/etc/containers/certs.d"))
    assert all(part in message for part in says), message


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
    monkeypatch.setattr(podman_image_store, "find", lambda _name: str(tmp_path / "podman"))
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


# --- the module -------------------------------------------------------------------------------------------------------


def run(server, engine=None, **options):
    args = {"registry": server.netloc, "plain_http": True, "username": "ci", "password": "geheim", "timeout": 2}
    socket = engine.netloc if engine else "/nonexistent.sock"
    return run_module("registry_check", {**args, "engine": "docker", "socket": socket, **options})


def challenge(request, connection):
    if "authorization" in request.headers:
        return reply(200, "{}", Content_Type="application/json")(request, connection)
    return reply(401, WWW_Authenticate='Basic realm="x"')(request, connection)


@pytest.fixture
def registry(server):
    server.answer("/v2/", challenge)
    return server


def test_an_upload_that_is_refused_in_any_way(registry, engine):
    for status in (401, 403, 405):
        registry.answer("/v2/a/blobs/uploads/", reply(status, WWW_Authenticate='Basic realm="x"'))
        registry.answer("/v2/a/manifests/latest", reply(404))
        engine.answer("/images/json", reply(200, "[]"))
        result = run(registry, engine, access="pull", image="a")
        assert result["failed_hop"] == "pull", result["msg"]
        assert "has no" in result["msg"]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_upload_that_is_neither_begun_nor_refused(registry, status):
    registry.answer("/v2/a/blobs/uploads/", reply(status))
    result = run(registry, access="pull", image="a")
    assert (result["failed_hop"], result["verified"]) == ("upload refused", False)
    assert str(status) in result["msg"]


def test_an_engine_that_pulls_something_else(registry, engine):
    registry.answer("/v2/a/blobs/uploads/", reply(403))
    registry.answer(
        "/v2/a/manifests/latest",
        reply(200, Docker_Content_Digest=DIGEST, Content_Type="application/vnd.docker.distribution.manifest.v2+json"),
    )
    other = "sha256:" + "2" * 64
    image = {"Id": other, "RepoTags": [f"{registry.netloc}/a:latest"], "RepoDigests": [f"{registry.netloc}/a@{other}"]}
    engine.answer("/images/json", reply(200, "[]"), reply(200, json.dumps([image])))
    engine.answer("/images/create", reply(200, '{"status": "done"}'))
    engine.otherwise = reply(200, "[]")
    result = run(registry, engine, access="pull", image="a")
    assert result["failed_hop"] == "digest"
    assert DIGEST in result["msg"]
    assert other in result["msg"]
    assert "changes or caches" in result["cure"]


ELSEWHERE = "this registry does not serve this address, or not for this user: connect from a network that it allows"
UNCERTIFIED = "this registry asks for a client certificate that its CA has signed"


def denied(words):
    return reply(403, json.dumps({"errors": [{"code": "DENIED", "message": words}]}), Content_Type="application/json")


@pytest.mark.parametrize(
    ("answer", "mistake", "says", "cure"),
    [
        (denied(ELSEWHERE), "address_refused", ELSEWHERE, "reverse_proxy_allowed_networks"),
        (denied(UNCERTIFIED), "client_certificate", UNCERTIFIED, "client_cert and client_key"),
        (reply(403, "<h1>no</h1>"), "address_refused", "as for an address that it does not serve", "Connect from"),
    ],
)
def test_who_is_turned_away_before_a_login(server, answer, mistake, says, cure):
    server.answer("/v2/", answer)
    result = run(server)
    assert (result["failed_hop"], result["mistake"]) == ("registry", mistake)
    assert f"403 before any login: {says}" in result["msg"] or f"403 before any login, {says}" in result["msg"]
    assert cure in result["cure"]
    # No user was logged in.
    assert "user 'ci'" not in result["msg"]


def test_who_is_turned_away_after_a_login(server):
    server.answer("/v2/", challenge_then(denied(ELSEWHERE)))
    result = run(server)
    assert (result["failed_hop"], result["mistake"]) == ("credentials", "wrong_account")
    assert "user 'ci' may not use it" in result["msg"]


def challenge_then(answer):
    def behave(request, connection):
        return (answer if "authorization" in request.headers else challenge)(request, connection)

    return behave


def test_how_far_the_clocks_differ_is_told(registry, tmp_path):
    """The server lives two days ago, when its certificate was valid."""
    certificate = make_certificate(tmp_path / "server.pem", begins=-3, days=-1)
    date = email.utils.formatdate(time.time() - 2 * 86400, usegmt=True)
    with Misbehaving(certificate) as server:
        server.answer("/v2/", reply(401, Date=date))
        result = run(server, plain_http=False, ca_path=str(certificate))
    assert (result["failed_hop"], result["mistake"]) == ("TLS", "clock_off"), result
    assert result["seen"]["clock_ahead"] == pytest.approx(2 * 86400, abs=30)
    assert run(registry)["seen"]["clock_ahead"] is None


def test_one_connection_serves_all_hops(registry, engine):
    registry.answer("/v2/a/blobs/uploads/", reply(403))
    assert run(registry, engine, access="pull", image="a")["failed"]
    assert registry.connections == 1


def test_a_name_that_nobody_answers_for(monkeypatch):
    def wait(*_arguments, **_options):
        time.sleep(5)

    monkeypatch.setattr("socket.getaddrinfo", wait)
    began = time.monotonic()
    result = run(SimpleNamespace(netloc="slow.example.com"), timeout=1)
    assert time.monotonic() - began < 3
    assert result["failed_hop"] == "name"
    assert "no answer within 1 seconds" in result["msg"]


def test_a_proxy_is_named_by_the_hops(registry, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:pass@{server.netloc}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.answer("http://registry.example.com/v2/", challenge)
    result = run(SimpleNamespace(netloc="registry.example.com"))
    assert result["verified"], result
    assert [f"by the HTTP proxy {server.netloc}" in hop["said"] for hop in result["hops"]] == [True, True, False, False]
    assert "pass@" not in json.dumps(result)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    result = run(SimpleNamespace(netloc="registry.example.com"), plain_http=False)
    assert (result["failed_hop"], result["mistake"]) == ("connection", "proxy")
    assert "127.0.0.1:1" in result["msg"]
    assert "HTTPS_PROXY" in result["cure"]


def test_a_credential_file_at_fault_is_at_fault_at_the_credentials(registry, tmp_path):
    (tmp_path / "config.json").write_text("{")
    result = run(registry, username=None, password=None, config_path=str(tmp_path / "config.json"))
    assert result["failed_hop"] == "credentials"
    assert "config.json" in result["msg"]
