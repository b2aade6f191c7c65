"""The tables of tests/verdicts, asked of the clients themselves: a version that judges otherwise shows here."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING

import inputs
import pytest
from paths import ROOT
from verdicts import Bench

# DaemonConfig is asked without an engine that it would be written for.
sys.path.insert(0, str(ROOT / ".venv" / "collections"))
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import INSECURE, DaemonConfig
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman import insecure_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clients import Box
    from managed import Host
    from peers import Peers

# Puts files where Podman of root looks for them, and prints what Podman makes of them.
ASK_REGISTRIES = """
import base64, json, os, shutil, subprocess, sys
etc, own = "/etc/containers/", "/root/.config/containers/"
shutil.rmtree(own, ignore_errors=True)
shutil.rmtree(etc + "registries.conf.d", ignore_errors=True)
files = dict({"main": ""}, **json.load(sys.stdin))
for name, raw in files.items():
    path = {"main": etc + "registries.conf", "home": own + "registries.conf"}.get(name)
    if path is None:
        path = (own if name.startswith("home.d/") else etc) + "registries.conf.d/" + name.replace("home.d/", "")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(base64.b64decode(raw))
command = ["podman", "info", "--format", "{{json .Registries}}"]
print(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
"""
LOGINS = inputs.cases("config_json.yml")
ENGINES = inputs.cases("daemon_json.yml")
# The client's column of the table; with skopeo that of Podman, as they share the library.
CLIENTS = {
    ("bookworm-docker", "docker"): "docker_20_10",
    ("clients", "docker"): "docker",
    ("clients", "podman"): "podman",
    ("trixie-podman", "skopeo"): "podman",
    ("tools", "crane"): "crane",
    ("tools", "skopeo"): "podman",
}


@pytest.fixture(scope="module")
def bench(images: dict[str, str]) -> Bench:
    return Bench(images)


@pytest.fixture(params=CLIENTS, ids="-".join)
def client(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.mark.long
def test_clients_judge_as_the_table_says(bench: Bench, client: tuple[str, str]) -> None:
    column = CLIENTS[client]
    expected = {case["name"]: case.get(column, case["docker"]) for case in LOGINS}
    found = bench.ask(*client, [(case["name"], case["raw"]) for case in LOGINS])
    assert {name: verdict for name, verdict in found.items() if verdict != expected[name]} == {}


@pytest.fixture(scope="module")
def written(session: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What registry_login leaves of each file that it does not refuse."""
    from managed import Host

    host: Host = Host()
    path: Path = tmp_path_factory.mktemp("written") / "config.json"
    found = {}
    args = {"registry": "r.example.com", "username": "ci", "password": "geheim-4711", "verify": False}
    for case in LOGINS:
        if "module" not in case:
            path.write_bytes(case["raw"])
            host.run_module("registry_login", {**args, "config_path": str(path)})
            found[case["name"]] = path.read_bytes()
    return found


def test_every_client_takes_what_a_login_leaves(
    bench: Bench, client: tuple[str, str], written: dict[str, bytes]
) -> None:
    found = bench.ask(*client, written.items())
    assert set(found.values()) == {"takes"}, found


@pytest.mark.long
@pytest.mark.parametrize(("image", "column"), [("bookworm-docker", "docker_20_10"), ("trixie-docker", "docker")])
def test_engines_judge_as_the_table_says(bench: Bench, image: str, column: str) -> None:
    expected = {case["name"]: case.get(column, case["docker"]) for case in ENGINES}
    found = bench.ask(image, "dockerd", [(case["name"], case["raw"]) for case in ENGINES])
    assert {name: verdict for name, verdict in found.items() if verdict != expected[name]} == {}


def test_an_engine_takes_what_registry_client_leaves(bench: Bench) -> None:
    """Whatever the encoding is that the file has."""
    written = {
        case["name"]: DaemonConfig(case["raw"], "daemon.json").with_entries(INSECURE, ["r.example.com"]).raw
        for case in ENGINES
        if "module" not in case
    }
    found = bench.ask("trixie-docker", "dockerd", written.items())
    assert set(found.values()) == {"takes"}, found


@pytest.mark.long
@pytest.mark.parametrize("form", inputs.CA_FORMS)
def test_podman_trusts_a_ca_as_the_table_says(root_box: Box, peers: Peers, form: str) -> None:
    make, trusted, _says = inputs.CA_FORMS[form]
    text = make(peers.ca.read_text()).encode("utf-8", "surrogateescape")
    place = f"/etc/containers/certs.d/{peers['basic']}"
    root_box.run(f"mkdir -p {place}; base64 -d >{place}/ca.crt", stdin=base64.b64encode(text).decode())
    done = root_box.run(
        f"podman login --username ci --password-stdin {peers['basic']}", stdin=peers.users["ci"], check=False
    )
    assert (done.returncode == 0) is trusted, done.stderr
    assert trusted or "certificate" in done.stderr


@pytest.fixture
def asked(bench: Bench) -> Callable[[dict[str, bytes]], dict]:
    """What Podman makes of r.example.com, where these files lie."""

    def ask(files: dict[str, bytes]) -> dict:
        sent = json.dumps({name: base64.b64encode(raw).decode() for name, raw in files.items()})
        said = json.loads(bench.run("clients", "python3", "-c", ASK_REGISTRIES, stdin=sent))
        # The whole domain's entry, where there is none of the name itself.
        return said.get("r.example.com") or said.get("*.example.com") or {}

    return ask


def summary(entry: dict) -> str:
    mirrors = ",".join(mirror["Location"] for mirror in entry.get("Mirrors") or [])
    return mirrors or ("blocked" if entry.get("Blocked") else "insecure" if entry.get("Insecure") else "")


@pytest.mark.long
@pytest.mark.parametrize("case", inputs.cases("registries_conf.yml"), ids=lambda case: case["name"])
def test_podman_reads_files_of_others_as_the_table_says(asked: Callable[[dict[str, bytes]], dict], case: dict) -> None:
    ours = {"wharf-registry-r.example.com.conf": insecure_text("r.example.com").encode()}
    assert summary(asked(case["files"] | ours)) == case["podman"]
    if "lost" in case:
        assert summary(asked(case["files"])) == case["lost"]


@pytest.mark.long
@pytest.mark.parametrize(("image", "client"), [("clients", "podman"), ("trixie-podman", "skopeo"), ("tools", "skopeo")])
def test_podman_shows_the_login_of_the_narrowest_namespace(bench: Bench, image: str, client: str) -> None:
    for keys, repository, expected in inputs.NAMESPACES:
        script = f"cat >/tmp/auth.json; {client} login --get-login --authfile /tmp/auth.json r.example.com/{repository}"
        said = bench.run(image, "/bin/sh", "-c", script, stdin=inputs.namespaced(keys).decode(), check=False)
        assert said.strip() == expected, (keys, repository)
