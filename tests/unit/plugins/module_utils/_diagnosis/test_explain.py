"""What a host finds out by itself of a mistake: names, clocks, CAs, logins, images, and the registry's storage."""

from __future__ import annotations

import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName, parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis import explain
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import RegistryClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    new_manifest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import failure
from misbehaving import reply

# --- what a host finds out by itself ----------------------------------------------------------------------------------


def test_the_name_in_the_hosts_file(tmp_path):
    file = tmp_path / "hosts"
    file.write_text(
        "127.0.0.1 localhost\n192.0.2.9 other Registry.Fleet.Test # once\n# 192.0.2.8 registry.fleet.test\n\n::1 x\n"
    )
    assert explain.in_hosts_file("registry.fleet.test", str(file)) == ["192.0.2.9"]
    assert explain.in_hosts_file("registry", str(file)) == []
    assert explain.in_hosts_file("x", str(tmp_path / "none")) == []


@pytest.fixture
def clock(monkeypatch):
    """A certificate of 90 days, and the times of this host and of the server, in days since it began."""

    def expired(here, server):
        begin = 1_700_000_000
        monkeypatch.setattr("time.time", lambda: begin + here * 86400)
        monkeypatch.setattr(explain, "_times", lambda *_arguments: (begin, begin + 90 * 86400, begin + server * 86400))
        error = RegistryError("The certificate of r has expired", "Renew it", "expired")
        assert explain.explain_time(error, "https://r/v2/", 1) == (here - server) * 86400
        return error

    return expired


@pytest.mark.parametrize(
    ("days", "mistake", "says", "cure"),
    [
        # The certificate may have been issued by a clock that was ahead, and may have expired by one that is right.
        ((-400, 30), "clock_off", "430 days behind", "the clock of this host or that of the registry host"),
        ((100, 30), "clock_off", "70 days ahead of", "timedatectl"),
        ((-1, 100), "clock_off", "this host's or the registry host's", "Compare both with date -u"),
        ((100, -1), "clock_off", "this host's or the registry host's", "Compare both with date -u"),
        ((100, 100), "expired", "by the clock of the server, too", "rotate.yml"),
        ((-1, -1), "expired", "not before 2023-11-14", "issue it again"),
    ],
)
def test_whose_clock_it_is(clock, days, mistake, says, cure):
    error = clock(*days)
    assert error.mistake == mistake
    assert says in error.message
    assert cure in error.cure


def test_a_server_that_does_not_tell_its_time(monkeypatch):
    def fail(*_arguments):
        raise RegistryError("no answer")

    monkeypatch.setattr(explain, "_times", fail)
    error = RegistryError("The certificate of r has expired", "Renew it", "expired")
    assert explain.explain_time(error, "https://r/v2/", 1) is None
    assert (str(error), error.mistake) == ("The certificate of r has expired. Renew it.", "expired")


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(explain, "CERTIFICATE_DIRECTORIES", [str(tmp_path / "docker"), str(tmp_path / "containers")])

    def put(engine, name):
        (tmp_path / engine / name).mkdir(parents=True)
        (tmp_path / engine / name / "ca.crt").touch()

    return put


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("r.test:5000", "is another CA, or the server does not send its intermediate certificates"),
        ("r.test", "/r.test, which is not for r.test:5000"),
        ("r.test:443", "/r.test:443, which is not for r.test:5000"),
        ("r.test2:5000", ""),
        ("other", ""),
    ],
)
def test_a_ca_that_lies_nearly_where_it_should(places, name, says):
    places("docker", name)
    error = RegistryError("unknown", "Put it there", "unknown_ca")
    explain.explain_ca(error, RegistryName("r.test:5000"))
    assert says in error.message
    assert (error.message == "unknown") is not bool(says)


def test_a_ca_that_another_engine_knows(places, tmp_path):
    places("containers", "r.test")
    error = RegistryError("unknown", "Put it there", "engine_unknown_ca")
    explain.explain_engine_ca(error, RegistryName("r.test"), (str(tmp_path / "docker"),), 1)
    assert f"It lies in {tmp_path}/containers/r.test/ca.crt, where this engine does not look" in error.message


def test_logins_for_nearly_the_same_name():
    error = RegistryError("asks for a login", "Log in", "not_logged_in")
    explain.explain_login(
        error, RegistryName("r.test:5000"), ["https://r.test", "r.test:443", "other.test", "xr.test", "r.test2"]
    )
    assert error.message.endswith("There is a login for https://r.test, r.test:443, which is not for r.test:5000")


# --- the image --------------------------------------------------------------------------------------------------------


SIGNATURES = [f"sha256-{letter * 64}{kind}" for letter in "12" for kind in ("", ".sig", ".att", ".of-a-tool")]


class Catalogue:
    """Lists what a test says."""

    def __init__(self, tags, names=()):
        self._tags = tags
        self._names = names

    def tags(self, _repository):
        return self._tags

    def repositories(self):
        return iter(self._names)


@pytest.mark.parametrize(
    ("tags", "wanted", "named", "mistake", "says"),
    [
        (None, "1.0", True, "no_repository", "no repository apps/web, but apps/webs"),
        ([], "1.0", True, "no_tag", "has no tags"),
        (["latest"], "1.0", True, "latest_only", "no tag but latest"),
        (["1.0", "1.10", "1.9"], "latest", False, "no_latest", "There is 1.0, 1.9, 1.10"),
        (["1.0", "1.10", "1.9"], "latest", True, "no_tag", "There is 1.0, 1.9, 1.10"),
        (["v1.2.3", "v1.2.4", "edge"], "v1.2.5", True, "no_tag", "There is v1.2.4, v1.2.3"),
        ([str(number) for number in range(30)], "x", True, "no_tag", "There is 25, 26, 27, 28, 29"),
        # What tools put beside the images is nothing to name.
        (["1.0", *SIGNATURES], "2.0", True, "no_tag", "There is 1.0"),
        (["1.0", *SIGNATURES], "x", True, "no_tag", "There is 1.0"),
        (["1.0", *SIGNATURES], "latest", False, "no_latest", "There is 1.0"),
        (["latest", *SIGNATURES], "1.0", True, "latest_only", "no tag but latest"),
        (SIGNATURES, "1.0", True, "no_tag", "no tags of images, only of signatures"),
    ],
)
def test_an_image_that_is_not_there(tags, wanted, named, mistake, says):
    reference = parse_reference(f"r.test/apps/web:{wanted}")
    error = explain.explain_absent(Catalogue(tags, ["apps/webs", "other"]), reference, named)
    assert error.mistake == mistake
    assert f"has no {reference}" in error.message
    assert says in error.message
    assert "sha256-" not in error.message
    assert error.cure


class Offer:
    """An index of images for some architectures, or one image for the only one."""

    def __init__(self, *architectures, index=True):
        self._manifests = {}
        children = []
        for architecture in architectures:
            self._configs = {"sha256:" + "c" * 64: architecture}
            config = {"digest": "sha256:" + "c" * 64, "mediaType": "application/vnd.oci.image.config.v1+json"}
            document = {"schemaVersion": 2, "config": config, "layers": [], "annotations": {"of": architecture}}
            manifest = self._add(document, OCI_MANIFEST)
            children.append(
                {"digest": manifest.digest, "platform": {"os": "linux", "architecture": architecture, "variant": "v7"}}
            )
        self._tagged = self._add({"schemaVersion": 2, "manifests": children}, OCI_INDEX) if index else manifest

    def _add(self, document, kind):
        manifest = new_manifest(document, kind)
        self._manifests[manifest.digest] = manifest
        return manifest

    def manifest(self, _repository, reference):
        return self._manifests.get(reference, self._tagged)

    def blob_begins(self, _repository, _digest):
        return True

    def blob(self, _repository, digest):
        return json.dumps({"os": "linux", "architecture": self._configs[digest]}).encode()


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    ("machine", "offered", "taken"),
    [
        ("x86_64", ["amd64"], "linux/amd64"),
        ("x86_64", ["386"], "linux/386"),
        ("aarch64", ["arm"], "linux/arm"),
        ("i686", ["amd64"], ""),
        ("armv7l", ["arm64"], ""),
        ("x86_64", ["arm"], ""),
    ],
)
def test_what_a_processor_runs_besides_its_own(monkeypatch, machine, offered, taken, index):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(explain, "_emulates", lambda _name: False)
    api, reference = Offer(*offered, index=index), parse_reference("r.test/apps/web:1.0")
    if taken:
        assert f"is there for {taken}," in explain.check_image(api, reference)
        return
    with pytest.raises(RegistryError) as error:
        explain.check_image(api, reference)
    assert error.value.mistake == "other_platform"


@pytest.mark.parametrize("offered", [["386", "amd64"], ["amd64", "386"]])
def test_what_is_for_this_platform_comes_first(monkeypatch, offered):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    api = Offer(*offered)
    digest = explain._child(api.manifest("", "1.0"), "linux/amd64", None)
    assert digest[0] == "linux/amd64"
    assert api.manifest("", digest[1]).document["annotations"] == {"of": "amd64"}


def test_a_disk(tmp_path):
    found = explain.disk(tmp_path / "not" / "there")
    assert found["path"] == str(tmp_path)
    assert 0 < found["free"] < found["size"]
    assert not found["full"]


# --- the storage of the registry --------------------------------------------------------------------------------------


# What registry 2.8.2 answers, on a file system that is full, word for word but for the path.
FULL = (
    '{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":'
    '{"Op":"write","Path":"/data/x","Err":28}}}]}\n'
)
ILL = FULL.replace("28", "5")


@pytest.mark.parametrize(
    ("begin", "patch", "mistake", "cancelled"),
    [
        (reply(202, Location="/v2/a/blobs/uploads/1"), reply(500, FULL), "registry_full", 1),
        (reply(500, FULL), reply(202), "registry_full", 0),
        (reply(500, ILL), reply(202), "registry_error", 0),
        (
            reply(202, Location="/v2/a/blobs/uploads/1"),
            reply(202, Location="/v2/a/blobs/uploads/1"),
            "registry_error",
            1,
        ),
    ],
)
def test_a_push_that_the_registry_can_not_store(server, begin, patch, mistake, cancelled):
    server.answer("/v2/a/blobs/uploads/", begin)
    server.answer("/v2/a/blobs/uploads/1", patch, reply(204))
    error = failure("received unexpected HTTP status: 500 Internal Server Error", "r")
    with HttpClient(TLSConfig("r"), 2) as client:
        explain.explain_storage(error, RegistryClient(RegistryName(server.netloc), client, plain_http=True), "a")
    assert error.mistake == mistake
    assert ("no space left on its storage" in error.message) is (mistake == "registry_full")
    assert "500 Internal Server Error" in error.message
    assert [request.method for request in server.requests].count("DELETE") == cancelled
