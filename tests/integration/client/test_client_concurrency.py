"""registry_client, many at once and killed at any moment: no entry is lost, and no file is left half written."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from engine_trust import DAEMON_JSON, FOREIGN, HOST, MIRROR, client, put
from managed import collect

if TYPE_CHECKING:
    from hosts import Machine


@pytest.mark.long
def test_fifty_at_once_lose_nothing(trixie: Machine) -> None:
    put(trixie, DAEMON_JSON, FOREIGN)
    names = [f"r{number}.example.com" for number in range(50)]

    def trusted(name: str) -> dict:
        run = trixie.host.start("registry_client", {"registries": [{"host": name, "insecure": True}]})
        return collect(run, {}, timeout=300)

    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(trusted, names))
    assert all(result["changed"] for result in results)
    document = json.loads(trixie.read(DAEMON_JSON))
    assert document["insecure-registries"][:2] == ["a.example.com:1", "10.0.0.0/8"]
    assert sorted(document["insecure-registries"][2:]) == sorted(names)
    assert set(names) <= set(trixie.belief()["insecure"])
    assert document | {"insecure-registries": []} == json.loads(FOREIGN) | {"insecure-registries": []}


def test_a_killed_run_leaves_an_old_file_or_a_new_one(trixie: Machine, full: dict) -> None:
    put(trixie, DAEMON_JSON, FOREIGN)
    trixie.run("systemctl reload docker")
    present = {"registries": [full], "mirrors": [MIRROR]}
    absent = {"registries": [{"host": HOST}], "mirrors": [MIRROR], "state": "absent"}
    client(trixie, full, mirrors=[MIRROR])
    new = trixie.read(DAEMON_JSON)
    client(trixie, {"host": HOST}, mirrors=[MIRROR], state="absent")
    old = trixie.read(DAEMON_JSON)
    put(trixie, "/tmp/present", json.dumps({"ANSIBLE_MODULE_ARGS": present}))  # noqa: S108
    put(trixie, "/tmp/absent", json.dumps({"ANSIBLE_MODULE_ARGS": absent}))  # noqa: S108
    sums = {hashlib.sha256(text.encode()).hexdigest() for text in (old, new, FOREIGN)}
    delays = " ".join(f"0.{number}" for number in (15, 20, 24, 28, 32, 36, 40, 50, 65))
    seen = trixie.output(
        f"""
        for delay in {delays}; do
            for state in present absent; do
                timeout -s KILL $delay python3 /managed/launch.py registry_client < /tmp/$state > /dev/null 2>&1 || true
                sha256sum < {DAEMON_JSON}
            done
        done
        """
    )
    found = {line.split()[0] for line in seen.splitlines()}
    assert found <= sums, "a file that is neither the old nor the new one"
    client(trixie, full, mirrors=[MIRROR])
    assert trixie.read(DAEMON_JSON) == new
    client(trixie, {"host": HOST}, mirrors=[MIRROR], state="absent")
    assert trixie.belief()["insecure"] == ["a.example.com:1"]
    assert trixie.output("find /etc/docker /tmp /dev/shm -path '/tmp/py-*' -prune -o -name '*wharf*' -print") == ""
