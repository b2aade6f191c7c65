"""registry_login and what can go wrong with files: many writers, kills, full and read-only disks, other owners."""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from managed import collect
from runs import run_login
from steps import alone, auths, entry, says

if TYPE_CHECKING:
    from pathlib import Path

    from clients import Box
    from managed import Host
    from peers import Peers

KILLS = int(os.environ.get("WHARF_KILLS", "48"))
WORKERS = 2


def arguments(peers: Peers, registry: str, config: Path, **options: object) -> dict[str, object]:
    of_all = {"username": "ci", "password": peers.users["ci"], "ca_path": str(peers.ca), "config_path": str(config)}
    return {"registry": registry, **of_all, **options}


@pytest.mark.long
def test_many_at_once(host: Host, peers: Peers, config: Path) -> None:
    """Fifty processes that log in to fifty registries, in one file that none of them finds there."""
    running = []
    for registry in peers.many:
        args = arguments(peers, registry, config)
        running.append((host.start("registry_login", args), args))
    for process, args in running:
        assert collect(process, args)["changed"]
    assert auths(config) == {registry: entry("ci", peers.users["ci"]) for registry in peers.many}
    alone(config)


@pytest.mark.long
def test_killed_at_any_moment(host: Host, peers: Peers, tmp_path: Path) -> None:
    """A login that is killed leaves the old or the new file, whole, and the next one needs no help.

    The file is big, so that writing takes a while. Half of the runs are killed at a moment of the whole run, and the
    others just after the temporary file has come into being.
    """
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        works = [pool.submit(kill_again_and_again, host, peers, tmp_path / str(n), n) for n in range(WORKERS)]
        outcomes = [outcome for work in works for outcome in work.result()]
    counts = {what: outcomes.count(what) for what in ("before", "while writing", "after")}
    print(f"{len(outcomes)} kills: {counts}")
    assert len(outcomes) >= KILLS // WORKERS * WORKERS
    assert all(counts.values()), counts


def kill_again_and_again(host: Host, peers: Peers, directory: Path, seed: int) -> list[str]:
    chance = random.Random(seed)  # noqa: S311 # moments, no secrets
    directory.mkdir()
    config = directory / "config.json"
    others = {f"registry-{n}.example.com": {**entry("user", "secret"), "note": "x" * 200} for n in range(1500)}
    config.write_text(json.dumps({"auths": others}, indent="\t"))
    config.chmod(0o600)
    args = arguments(peers, peers["refused"], config, verify=False)

    def passwords() -> dict[str, object]:
        return {**args, "password": f"password-{chance.getrandbits(64):016x}"}

    began = time.monotonic()
    done = collect(host.start("registry_login", args), args)
    assert done["changed"]
    whole = time.monotonic() - began
    outcomes = []
    while len(outcomes) < KILLS // WORKERS:
        now = passwords()
        before = config.read_bytes()
        process = host.start("registry_login", now)
        if len(outcomes) % 2:
            time.sleep(chance.uniform(0, whole * 1.1))
        else:
            wait_for_second_file(directory, process)
            # Writing takes some milliseconds, and the file with its new name is soon there.
            time.sleep(chance.uniform(0, 0.005))
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        after = config.read_bytes()
        if after == before:
            outcomes.append("while writing" if len(list(directory.iterdir())) > 1 else "before")
        else:
            # Not the old one: then it is the new one, with all that was in it.
            expected = {**others, peers["refused"]: entry("ci", str(now["password"]))}
            assert json.loads(after) == {"auths": expected}
            if not ended:
                outcomes.append("after")
        if outcomes and outcomes[-1] == "while writing" and outcomes.count("while writing") <= 5:
            now = passwords()
            assert collect(host.start("registry_login", now), now)["changed"]
            alone(config)
    now = passwords()
    assert collect(host.start("registry_login", now), now)["changed"]
    alone(config)
    return outcomes


def wait_for_second_file(directory: Path, process: object) -> None:
    while process.poll() is None:
        if len(list(directory.iterdir())) > 1:
            return
        # The module needs the processor, too.
        time.sleep(0.0005)


def test_a_full_file_system(root_box: Box, peers: Peers) -> None:
    before = json.dumps({"auths": {"other.example.com": entry("a", "b")}, "note": "x" * 9000}, indent="\t")
    root_box.write("/full/config.json", before)
    root_box.run("head --bytes=1M /dev/zero > /full/filler 2>/dev/null || true")
    try:
        for path in ("/full/config.json", "/full/new/config.json"):
            failing = run_login(root_box.host, peers, path, failed=True)
            says(failing, path, "no space", "space on its file system")
        assert root_box.read("/full/config.json") == before
        assert root_box.output("ls -A /full | sort | grep -v '^new$'") == "config.json\nfiller"
    finally:
        root_box.run("rm -rf /full/*")
    assert run_login(root_box.host, peers, "/full/config.json")["changed"]


def test_a_read_only_file_system(root_box: Box, peers: Peers) -> None:
    before = root_box.read("/read-only/config.json")
    says(run_login(root_box.host, peers, "/read-only/config.json", failed=True), "/read-only/config.json", "read-only")
    says(run_login(root_box.host, peers, "/read-only/new/config.json", failed=True), "/read-only/new", "read-only")
    assert root_box.read("/read-only/config.json") == before
    # What needs no writing needs no file system that can be written to.
    gone = run_login(root_box.host, peers, "/read-only/config.json", state="absent", username=None, password=None)
    assert not gone["changed"]


def test_somebody_elses_file(root_box: Box, user_box: Box, peers: Peers) -> None:
    path = f"{user_box.home}/.docker/config.json"
    user_box.run("mkdir -m 0700 .docker")
    root_box.write(path, "{}")
    says(run_login(user_box.host, peers, path, failed=True), path, "permission", "become_user")
    assert root_box.stat(path) == ("root", "600")
    roots = "/root/.docker/config.json"
    says(run_login(user_box.host, peers, roots, failed=True), roots, "permission", "become_user")


def test_root_writes_for_a_user(root_box: Box, user_box: Box, peers: Peers) -> None:
    path = f"{user_box.home}/.docker/config.json"
    assert run_login(root_box.host, peers, path)["changed"]
    assert user_box.stat(path) == (user_box.user, "600")
    assert user_box.stat(f"{user_box.home}/.docker") == (user_box.user, "700")
    assert not run_login(user_box.host, peers, path)["changed"]
    assert run_login(root_box.host, peers, path, "basic_again")["changed"]
    assert user_box.stat(path) == (user_box.user, "600")
    # And the user's own run goes on from there.
    assert run_login(user_box.host, peers, path, state="absent", username=None, password=None)["changed"]


def test_a_directory_in_its_place(root_box: Box, peers: Peers) -> None:
    root_box.run("mkdir -p .docker/config.json/kept")
    path = "/root/.docker/config.json"
    for state in ("present", "absent"):
        says(run_login(root_box.host, peers, path, state=state, failed=True), path, "directory")
    root_box.run("test -d .docker/config.json/kept")


def test_a_file_where_the_directory_should_be(root_box: Box, peers: Peers) -> None:
    root_box.run("echo kept > .docker")
    says(run_login(root_box.host, peers, "/root/.docker/config.json", failed=True), "/root/.docker/config.json")
    assert root_box.read("/root/.docker") == "kept\n"


@pytest.mark.parametrize("target", ["../elsewhere/real.json", "not-there-yet.json"])
def test_a_symbolic_link(root_box: Box, peers: Peers, target: str) -> None:
    root_box.run(f"mkdir -p .docker elsewhere; echo '{{}}' > elsewhere/real.json; ln -s {target} .docker/config.json")
    assert run_login(root_box.host, peers, "/root/.docker/config.json")["changed"]
    assert root_box.output("readlink .docker/config.json") == target
    assert peers["basic"] in json.loads(root_box.read(f"/root/.docker/{target}"))["auths"]
    assert root_box.stat(f"/root/.docker/{target}") == ("root", "600")
    assert not run_login(root_box.host, peers, "/root/.docker/config.json")["changed"]


def test_links_in_a_circle(root_box: Box, peers: Peers) -> None:
    root_box.run("mkdir -p .docker; ln -s config.json .docker/config.json")
    says(run_login(root_box.host, peers, "/root/.docker/config.json", failed=True), "/root/.docker/config.json")
    assert root_box.output("readlink .docker/config.json") == "config.json"


def test_a_planted_temporary_file(root_box: Box, user_box: Box, peers: Peers) -> None:
    """Who owns the directory can put links there; what root writes must not go where they lead."""
    path = f"{user_box.home}/.docker/config.json"
    root_box.run("echo kept > /root/precious")
    user_box.run("mkdir -p .docker")
    for name in (".config.json.wharf-new", "config.json.wharf-lock", ".config.json.wharf-lock"):
        user_box.run(f"ln -s /root/precious .docker/{name}")
    run_login(root_box.host, peers, path)
    assert root_box.read("/root/precious") == "kept\n"
    assert root_box.stat("/root/precious")[0] == "root"
