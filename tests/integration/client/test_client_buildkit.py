"""registry_client and BuildKit: its own reader of buildkitd.toml and its own resolver do what the file says.

No package has the daemon. Its source is compiled as far as registries are concerned.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING

import pytest
from clients import Box
from engine import command, run_container
from engine_trust import client
from managed import TREE
from paths import ROOT
from steps import four_runs, says

if TYPE_CHECKING:
    from peers import Peers

pytestmark = pytest.mark.long

FILE = "/etc/buildkit/buildkitd.toml"
PROBE = ROOT / "tests" / "support" / "buildkit_probe.go"


@pytest.fixture(scope="module")
def builder() -> Box:
    image = command(sys.executable, str(ROOT / "tests" / "lab" / "build-image"), "buildkit").stdout.strip()
    # /tmp of modules is root's own.
    box = Box(run_container(image, "sleep", "infinity", options=(f"--volume={TREE}:/managed:ro",)), "root")
    box.run("mkdir /root/probe; cat > /root/probe/probe.go", stdin=PROBE.read_text())
    box.run("cd /root/probe; GOPATH=/usr/share/gocode GO111MODULE=off go build -o /usr/local/bin/probe probe.go")
    return box


@pytest.fixture
def clean(builder: Box) -> Box:
    builder.run("rm -rf /etc/buildkit")
    return builder


def run(box: Box, *registries: dict, **options: object) -> dict:
    return client(box.host, *registries, engines=["buildkit"], **options)


def resolved(box: Box, reference: str, password: str = "") -> str:
    """What BuildKit's resolver says of an image."""
    done = box.run(f"probe {FILE} {reference} {'ci' if password else ''}", stdin=password, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


def test_a_registry_with_a_ca(clean: Box, peers: Peers, image: str) -> None:
    reference, password = f"{peers.outside}/{image}", peers.users["ci"]
    registry = {"host": peers.outside, "ca": peers.ca.read_text()}
    look = functools.partial(clean.output, "find /etc/buildkit -type f -exec sha256sum {} + 2> /dev/null || true")
    four_runs(functools.partial(run, clean, registry), look)
    assert "sha256:" in resolved(clean, reference, password)
    assert "no basic auth credentials" in resolved(clean, reference)
    four_runs(functools.partial(run, clean, registry, state="absent"), look)
    assert clean.run(f"test -e {FILE}", check=False).returncode == 1
    clean.run(f"touch {FILE}")
    assert "certificate signed by unknown authority" in resolved(clean, reference, password)


def test_an_insecure_registry_with_and_without_tls(clean: Box, peers: Peers, image: str) -> None:
    run(clean, {"host": peers.outside, "insecure": True})
    assert "sha256:" in resolved(clean, f"{peers.outside}/{image}", peers.users["ci"])
    plain = peers["registry"]
    run(clean, {"host": plain, "insecure": True})
    assert "sha256:" in resolved(clean, f"{plain}/{image}")


def test_a_mirror_below_a_path(clean: Box, peers: Peers, image: str) -> None:
    """The registry that the name names does not exist."""
    repository, tag = image.split(":")
    room, name = repository.split("/", 1)
    registry = {"host": peers.outside, "ca": peers.ca.read_text()}
    run(clean, registry, upstream_mirrors={"gone.example": f"https://{peers.outside}/{room}"})
    assert "sha256:" in resolved(clean, f"gone.example/{name}:{tag}", peers.users["ci"])


def test_a_mirror_without_tls(clean: Box, peers: Peers, image: str) -> None:
    repository, tag = image.split(":")
    run(clean, upstream_mirrors={"gone.example": f"http://{peers['registry']}"})
    assert "sha256:" in resolved(clean, f"gone.example/{repository}:{tag}")


def test_buildkit_reads_all_that_is_written(clean: Box, full: dict) -> None:
    run(clean, full, mirrors=["https://m.example.com"])
    found = json.loads(clean.output(f"probe {FILE}"))
    folder = f"/etc/buildkit/certs.d/{full['host']}"
    own = found[full["host"]]
    assert (own["RootCAs"], own["Insecure"], own["PlainHTTP"]) == ([f"{folder}/ca.crt"], True, True)
    assert own["KeyPairs"] == [{"Key": f"{folder}/client.key", "Certificate": f"{folder}/client.cert"}]
    assert found["docker.io"]["Mirrors"] == ["m.example.com"]


def test_the_example_of_a_pipeline_names_the_ca(builder: Box) -> None:
    text = (ROOT / "examples/ci/private-ca/buildkitd.toml").read_text(encoding="utf-8")
    builder.run("cat > /root/example.toml", stdin=text)
    found = json.loads(builder.output("probe /root/example.toml"))
    host = "registry.example.com"
    assert found[host]["RootCAs"] == [f"/etc/docker/certs.d/{host}/ca.crt"]


def test_a_file_that_is_no_toml_stays_as_it_is(clean: Box) -> None:
    clean.run(f"mkdir /etc/buildkit; echo '[registry' > {FILE}")
    says(run(clean, {"host": "r.example.com", "insecure": True}, failed=True), FILE)
    assert clean.output(f"cat {FILE}") == "[registry"
