"""The tables of tests/inputs, asked of the clients themselves: a version that judges otherwise shows here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import inputs
import pytest
from verdicts import Bench

if TYPE_CHECKING:
    from pathlib import Path

    from managed import Host

LOGINS = inputs.cases("config_json.yml")
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
