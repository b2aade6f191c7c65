"""The report of a rollout: batches as Ansible makes them, what came of a host, and when the rollout is over."""

from __future__ import annotations

import types

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.lists(st.one_of(st.integers(1, 12), st.integers(1, 100).map("{}%".format)), min_size=1, max_size=4)


@pytest.fixture(scope="session")
def loaded(plugin):
    return plugin("plugin_utils/_playbooks", "rollout_report")


def hosts(number):
    return [f"h{n}" for n in range(1, number + 1)]


def onboarded(**changes):
    return {
        "changed": False,
        "trust": {
            "changed_files": [],
            "reloaded": False,
            "engine": {"docker": {"installed": True, "running": True, "version": "26.1.5+dfsg1"}},
        },
        "logins": [{"changed": False, "config_path": "/root/.docker/config.json"}],
        "check": {"engine": "docker", "digest": "sha256:1", "verified": True},
        "complete": True,
        "rolled_back": False,
        "unrestored_files": [],
        "seconds": 0.44,
        **changes,
    }


def failed(**changes):
    return {**onboarded(check={}), "failed": True, "msg": "It is not\n to be. Do it.", "changed": False, **changes}


def trust(*files, **changes):
    return {**onboarded()["trust"], "changed_files": list(files), **changes}


def failing(result):
    return result, result["msg"]


@given(number=st.integers(0, 40), sizes=SIZES)
def test_batches_are_those_of_serial(loaded, number, sizes):
    executor = types.SimpleNamespace(
        _inventory=types.SimpleNamespace(get_hosts=lambda _pattern, **_options: hosts(number)),
    )
    play = types.SimpleNamespace(hosts="all", order=None, serial=sizes)
    assert loaded.split(hosts(number), sizes) == PlaybookExecutor._get_serialized_batches(executor, play)


def test_one_size(loaded):
    assert loaded.split(hosts(3), 2) == [["h1", "h2"], ["h3"]]
    assert loaded.split(hosts(3), "50%") == [["h1"], ["h2"], ["h3"]]
    for wrong in ("half", "12.5%", [None]):
        with pytest.raises(ValueError, match="give numbers of hosts"):
            loaded.split(hosts(3), wrong)


@pytest.mark.parametrize(
    ("of_host", "outcome", "says", "changes"),
    [
        (({}, None), "skipped", "", []),
        (({"skipped": True}, None), "skipped", "", []),
        ((onboarded(), None), "ok", "", []),
        (
            (
                onboarded(
                    changed=True,
                    trust=trust("/etc/docker/daemon.json", reloaded=True),
                    logins=[{"changed": True, "config_path": "/srv/ci/.docker/config.json"}],
                ),
                None,
            ),
            "changed",
            "",
            ["/etc/docker/daemon.json", "/srv/ci/.docker/config.json", "engine-reloaded"],
        ),
        (failing(failed(trust={})), "rolled_back", "It is not to be. Do it.", []),
        (failing(failed(trust=trust("/a"), rolled_back=True)), "rolled_back", "It is not to be. Do it.", []),
        (
            failing(failed(trust=trust("/a"), rolled_back=True, unrestored_files=["/a"])),
            "failed",
            "It is not to be. Do it.",
            [],
        ),
        (
            ({"unreachable": True}, "h1 can't be reached."),
            "unreachable",
            "h1 can't be reached.",
            [],
        ),
        # The arguments of the role were refused, so that no module ran.
        (({}, "No."), "failed", "No.", []),
    ],
)
def test_what_came_of_a_host(loaded, of_host, outcome, says, changes):
    row = loaded.describe("h1", 1, *of_host)
    assert (row["outcome"], row["said"], row["changes"]) == (outcome, says, changes)


def test_an_engine_that_was_brought(loaded):
    """What was written before it came counts, and so does the time that it took."""
    done = onboarded(trust=trust("/etc/docker/certs.d/r/ca.crt"), engine_installed=True, seconds=30.26)
    row = loaded.describe("h1", 1, done)
    assert (row["outcome"], row["engine"], row["seconds"]) == ("changed", "docker 26.1.5", 30.26)
    assert row["changes"] == ["/etc/docker/certs.d/r/ca.crt", "engine-installed"]


def test_the_engine(loaded):
    podman = trust(engine={"podman": {"installed": True, "version": "5.4.2"}})
    assert loaded.describe("h1", 1, onboarded(trust=podman, check={}))["engine"] == "podman 5.4.2"
    two = trust(
        engine={"docker": {"installed": True, "running": False, "version": ""}, "podman": podman["engine"]["podman"]}
    )
    assert loaded.describe("h1", 1, onboarded(trust=two, check={}))["engine"] == "podman 5.4.2"
    assert loaded.describe("h1", 1, onboarded(trust=two))["engine"] == "docker"


@pytest.mark.parametrize(
    ("failures", "limit", "stopped"),
    [(0, 0, False), (1, 0, True), (1, 24, True), (1, 25, False), (2, 25, True), (4, 100, False), ("1", "25", False)],
)
def test_when_it_is_over(loaded, failures, limit, stopped):
    """Of a canary, a batch of four, and one that has not begun."""
    fleet = {host: (onboarded(), None) for host in hosts(5)} | {"h6": ({}, None)}
    for host in hosts(5)[1 : 1 + int(failures)]:
        fleet[host] = failing(failed())
    result = loaded.rollout_report(fleet, [1, 4, "100%"], limit)
    assert result["stopped"] is stopped
    assert [row["batch"] for row in result["rows"]] == [1, 2, 2, 2, 2, 3]
    assert list(result["failed"]) == hosts(5)[1 : 1 + int(failures)]


def test_each_engine_has_a_line(loaded):
    engines = {
        "podman": {"installed": True, "version": "5.4.2"},
        "containerd": {"installed": True, "running": True, "version": "1.7.24~ds1"},
        "k3s": {"installed": True, "running": False, "version": "v1.31.2+k3s1"},
    }
    told = onboarded(trust=trust(engine=engines), check={"engine": "containerd"})
    assert loaded.rollout_report({"node": (told, None)}, [1])["lines"] == [
        "HOST  BATCH  ENGINE             OUTCOME  SECONDS  CHANGED",
        "node  1      containerd 1.7.24  ok       0.4      -",
        "             podman 5.4.2",
    ]


def test_the_table(loaded):
    fleet = {
        "a.example.com": (onboarded(), None),
        "b": (onboarded(trust=trust("/x", "/y", reloaded=True), changed=True, seconds=12.0), None),
        "c": ({}, None),
    }
    result = loaded.rollout_report(fleet, [1, "100%"])
    assert result["lines"] == [
        "HOST           BATCH  ENGINE         OUTCOME  SECONDS  CHANGED",
        "a.example.com  1      docker 26.1.5  ok       0.4      -",
        "b              2      docker 26.1.5  changed  12.0     /x,/y,engine-reloaded",
        "c              2      -              skipped  -        -",
    ]
    assert loaded.rollout_report({}, [1]) == {
        "rows": [],
        "lines": ["HOST  BATCH  ENGINE  OUTCOME  SECONDS  CHANGED"],
        "failed": {},
        "stopped": False,
    }
