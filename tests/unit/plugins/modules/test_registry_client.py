"""registry_client in this process, in directories of its own and without the engine of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wharf.registry.plugins.module_utils._engine import (
    dockerd,
    dockerd_instance,
    engine_log,
    systemd_units,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_trust import RegistryTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_processes import Process
from directories import snapshot
from inprocess import run_module
from paths import ROOT as CHECKOUT
from pems import CA, CLIENT, EC, EXPIRED, LEAF, OTHER, ROOT, pem

HOST = "r.example.com:5000"
KEY = pem(EC)
WARNINGS = []
# The engines that run, as far as the modules see.
DEAF = []


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the files lie; nothing of this machine's own engines is seen."""
    monkeypatch.setattr(dockerd_instance, "named", lambda _name: [Process(pid) for pid in DEAF])
    monkeypatch.setattr(systemd_units, "UNITS", ())
    monkeypatch.setattr(dockerd_instance, "_USER_UNITS", ())
    monkeypatch.setattr(dockerd_instance, "_DEFAULTS", str(tmp_path / "default"))
    monkeypatch.setattr(dockerd_instance, "SOCKET", str(tmp_path / "no.sock"))
    for module in (dockerd, dockerd_instance, engine_log):
        monkeypatch.setattr(module, "find", lambda _name: None)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    # Where a module's warnings go depends on what of Ansible was imported before.
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, warning, **_options: WARNINGS.append(warning))
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


def client(place, *registries, check=False, **options):
    options = {
        "registries": list(registries),
        "engines": ["docker"],
        "certs_dir": str(place / "certs.d"),
        "daemon_config_path": str(place / "daemon.json"),
        **options,
    }
    WARNINGS.clear()
    result = run_module("registry_client", options, check=check)
    result["warnings"] = " ".join(WARNINGS)
    said = json.dumps(result)
    assert "Traceback" not in said
    for line in (KEY + pem(OTHER)).splitlines():
        assert "-----" in line or line not in said
    for secret in ("geheim", "PRIVATE KEY"):
        assert secret not in said
    return result


def params(place, *registries):
    """The options of the module as the layer below it takes them."""
    empty = {"ca": None, "client_cert": None, "client_key": None, "insecure": False}
    return {
        "registries": [{**empty, **one} for one in registries],
        "mirrors": [],
        "upstream_mirrors": {},
        "policies": [],
        "state": "present",
        "engines": ["docker"],
        "certs_dir": str(place / "certs.d"),
        "daemon_config_path": str(place / "daemon.json"),
        "apply": "reload",
        "timeout": 1,
    }


def registry(**options):
    return {"host": HOST, **options}


FULL = registry(ca=CA, client_cert=CLIENT, client_key=KEY, insecure=True)


def test_four_runs_each(place):
    (place / "daemon.json").write_text(
        '{"registry-mirrors": ["https://a"], "proxies": {"http-proxy": "http://u:geheim@p"}}'
    )
    before = snapshot(place)
    for state in ("present", "absent"):
        found = [client(place, FULL, check=check, state=state, mirrors=["https://m"]) for check in (True, False) * 2]
        assert [result["changed"] for result in found] == [True, True, False, False], state
        assert found[0]["changed_files"] == found[1]["changed_files"]
        assert found[0]["diff"] == found[1]["diff"]
        assert found[2]["diff"] == {"before": "", "after": ""}
        if state == "present":
            folder = place / "certs.d" / HOST
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}
            assert modes == {"ca.crt": "0o644", "client.cert": "0o644", "client.key": "0o600"}
            assert (folder / "ca.crt").read_text() == CA
            assert json.loads((place / "daemon.json").read_text()) == {
                "registry-mirrors": ["https://a", "https://m"],
                "proxies": {"http-proxy": "http://u:geheim@p"},
                "insecure-registries": [HOST],
            }
    after = snapshot(place)
    assert after.pop("certs.d")[0] is None
    assert after.pop("daemon.json")[0].replace(b', "insecure-registries": []', b"") == before["daemon.json"][0]
    assert not after


@pytest.mark.parametrize("text", [None, '{"debug": true,\r\n "insecure-registries": [ "old:1"]}'])
def test_what_was_done_is_taken_back(place, text):
    if text is not None:
        (place / "daemon.json").write_bytes(text.encode())
        (place / "daemon.json").chmod(0o600)
    before = snapshot(place)
    trust = RegistryTrust(params(place, FULL), check_mode=False)
    assert trust.run()["changed"] and snapshot(place) != before
    trust.take_back()
    assert (snapshot(place), trust.unrestored) == (before, [])
    # Nothing is left to take back.
    trust.take_back()
    assert snapshot(place) == before


def test_what_others_changed_since_is_not_taken_back(place):
    trust = RegistryTrust(params(place, FULL), check_mode=False)
    trust.run()
    (place / "daemon.json").write_text('{"theirs": 1}')
    trust.take_back()
    assert list(snapshot(place)) == ["daemon.json"]
    assert (place / "daemon.json").read_text() == '{"theirs": 1}'


def test_what_can_not_be_taken_back_is_told(place):
    trust = RegistryTrust(params(place, FULL), check_mode=False)
    trust.run()
    ca = place / "certs.d" / HOST / "ca.crt"
    ca.unlink()
    ca.mkdir()
    trust.take_back()
    assert trust.unrestored == [str(ca)]
    assert sorted(path.name for path in ca.parent.iterdir()) == ["ca.crt"]
    assert not (place / "daemon.json").exists()


def test_absent_after_present_leaves_empty_lists(place):
    client(place, FULL, mirrors=["https://m"])
    assert client(place, registry(), mirrors=["https://m"], state="absent")["changed"]
    assert json.loads((place / "daemon.json").read_text()) == {"insecure-registries": [], "registry-mirrors": []}
    assert list((place / "certs.d").iterdir()) == []
    assert not client(place, registry(), mirrors=["https://m"], state="absent")["changed"]


def test_absent_where_there_never_was_anything(place):
    before = snapshot(place.parent)
    for check in (True, False):
        result = client(place, registry(), mirrors=["https://m"], state="absent", check=check)
        assert (result["changed"], result["changed_files"], result["reloaded"]) == (False, [], False)
    assert snapshot(place.parent) == before


def test_what_others_keep_beside_it_stays(place):
    client(place, FULL)
    (place / "certs.d" / HOST / "theirs.crt").write_text(CA)
    assert client(place, registry(), state="absent")["changed"]
    assert [path.name for path in (place / "certs.d" / HOST).iterdir()] == ["theirs.crt"]


def test_what_is_not_said_stays_and_what_is_empty_goes(place):
    client(place, FULL)
    assert client(place, registry(insecure=True))["changed"] is False
    gone = client(place, registry(insecure=True, client_cert="", client_key=""))
    assert [Path(path).name for path in gone["changed_files"]] == ["client.cert", "client.key"]
    assert client(place, registry(insecure=True, ca=""))["changed"]
    assert not (place / "certs.d" / HOST).exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ca": EXPIRED}, "expired"),
        ({"ca": LEAF}, "no CA"),
        ({"ca": CA + KEY}, "private key"),
        ({"ca": CA.replace("\n", " ")}, "one line"),
        ({"client_cert": CLIENT}, "Give both"),
        ({"client_key": KEY}, "Give both"),
        ({"client_cert": CLIENT, "client_key": ""}, "Give both"),
        ({"client_cert": CLIENT, "client_key": pem(OTHER)}, "not the key of"),
        ({"client_cert": CLIENT, "client_key": pem(EC, b"geheim")}, "passphrase"),
        ({"host": "a b"}, "no host name"),
        ({"host": "r/../../etc"}, ""),
    ],
)
def test_what_can_not_be_meant_changes_nothing(place, options, says):
    before = snapshot(place)
    for check in (True, False):
        result = client(place, {"host": HOST, **options}, {"host": "other.example.com", "ca": CA}, check=check)
        if says:
            assert result["failed"] and says in result["msg"]
        if not check and "msg" in result:
            assert snapshot(place) == before
    assert not list(place.parent.rglob("etc/etc"))


def test_one_registry_twice(place):
    assert "more than once" in client(place, registry(), {"host": f"https://{HOST}/v2/"})["msg"]


@pytest.mark.parametrize("text", ["{", "[]", '{"insecure-registries": 5}', '{"debug": "geheim"}', '{"a": 1, "a": 2}'])
def test_a_file_that_is_no_daemon_json(place, text):
    (place / "daemon.json").write_text(text)
    before = snapshot(place)
    for state in ("present", "absent"):
        if "debug" not in text or state == "present":
            result = client(place, registry(ca=CA, insecure=True), state=state)
            assert result["failed"] and str(place / "daemon.json") in result["msg"]
    assert snapshot(place) == before


def test_a_link_to_what_others_read_is_neither_written_nor_removed(place):
    folder = place / "certs.d" / HOST
    folder.mkdir(parents=True)
    (place / "bundle.pem").write_text(ROOT)
    (folder / "ca.crt").symlink_to(place / "bundle.pem")
    before = snapshot(place)
    for state in ("present", "absent"):
        result = client(place, registry(ca=CA), state=state)
        assert result["failed"] and "symbolic link" in result["msg"]
    assert client(place, registry(ca=ROOT))["changed"] is False
    assert snapshot(place) == before


def test_a_daemon_json_that_is_a_link_stays_one(place):
    (place / "real.json").write_text("{}")
    (place / "daemon.json").symlink_to("real.json")
    assert client(place, registry(insecure=True))["changed"]
    assert (place / "daemon.json").is_symlink()
    assert json.loads((place / "real.json").read_text()) == {"insecure-registries": [HOST]}


def test_what_can_not_be_made_leaves_no_part(place):
    before = snapshot(place)
    result = client(place, registry(ca=CA, insecure=True), daemon_config_path="/proc/nowhere/daemon.json")
    assert result["failed"] and "/proc/nowhere/daemon.json" in result["msg"]
    assert snapshot(place) == before


# --- an engine that does not believe ----------------------------------------------------------------------------------


@contextlib.contextmanager
def deaf(place, *more):
    """Yields how often it was told to reload, as a function."""
    told = place.parent / "told"
    words = [f"--host=unix://{place.parent}/deaf.sock", f"--config-file={place}/daemon.json", *more]
    with told.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, CHECKOUT / "tests" / "support" / "deaf_engine.py", *words], stdout=output
        )
    try:
        while not told.read_bytes():
            assert process.poll() is None
        DEAF.append(process.pid)
        yield lambda: told.read_bytes().count(b".")
    finally:
        DEAF.clear()
        process.kill()
        process.wait()
        (place.parent / "deaf.sock").unlink(missing_ok=True)


@pytest.mark.parametrize("text", [None, '{"debug": true,\r\n "insecure-registries": [ "old:1"]}'])
def test_an_engine_that_reloads_and_does_not_believe(place, text):
    if text is not None:
        (place / "daemon.json").write_bytes(text.encode())
        (place / "daemon.json").chmod(0o600)
    before = snapshot(place)
    with deaf(place) as told:
        result = client(place, FULL, timeout=1)
        assert told() >= 2
    assert result["failed"]
    for words in (
        "did not apply its configuration after a reload",
        "The previous files were restored",
        "set apply to restart",
    ):
        assert words in result["msg"]
    assert snapshot(place) == before


def test_what_somebody_wrote_while_it_was_told_is_theirs(place):
    with deaf(place, "--write-on-reload"):
        result = client(place, registry(ca=CA, insecure=True), timeout=1)
    assert result["failed"]
    assert (place / "daemon.json").read_text() == '{"somebody": "else"}'
    assert not (place / "certs.d").exists()


def test_an_engine_that_is_told_nothing(place):
    with deaf(place) as told:
        for options in ({"apply": "never"}, {"apply": "never", "check": True}):
            result = client(place, registry(insecure=True), **options)
            assert (result["reloaded"], result["restart_needed"]) == (False, True)
            assert "has not applied its configuration file" in result["warnings"]
        assert not result["changed"]
        # A CA needs no word to it.
        assert client(place, {"host": "other.example.com", "ca": CA})["restart_needed"] is False
        assert told() == 0


def test_a_file_that_the_engine_does_not_read(place):
    with deaf(place) as told:
        result = client(place, registry(insecure=True), daemon_config_path=str(place / "other.json"))
        assert "reads" in result["msg"] and "Correct daemon_config_path" in result["msg"]
        assert told() == 0
    assert snapshot(place) == {}


def test_an_engine_that_something_unknown_has_started_is_not_restarted(place):
    """This process has: to start the service of this host instead would be a second engine."""
    with deaf(place):
        result = client(place, registry(insecure=True), apply="restart", timeout=1)
    assert f"by {Process(os.getpid()).name} (process {os.getpid()})" in result["msg"]
    assert "Restart it with the program that started it" in result["msg"]
    assert snapshot(place) == {}


def test_a_file_of_an_image_that_is_being_made(place):
    """No engine reads it, and the one that runs here is neither asked nor told, whatever it was started with."""
    image = place / "image" / "etc" / "docker"
    image.mkdir(parents=True)
    options = {"daemon_config_path": str(image / "daemon.json"), "certs_dir": None, "apply": "never"}
    with deaf(place, "--insecure-registry=flag:1") as told:
        found = [client(place, FULL, check=check, **options) for check in (True, False) * 2]
        assert told() == 0
    assert [result["changed"] for result in found] == [True, True, False, False]
    for result in found:
        assert (result["reloaded"], result["restart_needed"], result["warnings"]) == (False, False, "")
        assert result["engine"]["docker"]["running"] is False
    assert json.loads((image / "daemon.json").read_text()) == {"insecure-registries": [HOST]}
    assert (image / "certs.d" / HOST / "ca.crt").read_text() == CA
    assert not (place / "certs.d").exists()
    # The engine's own file is another matter.
    with deaf(place):
        assert client(place, FULL, apply="never")["restart_needed"]


@pytest.mark.parametrize("flag", ["--insecure-registry=x", "--insecure-registry", "--registry-mirror=https://x"])
def test_flags_of_the_running_process(place, flag):
    with deaf(place, *([flag, "x"] if "=" not in flag else [flag])):
        result = client(place, registry(insecure=True), mirrors=["https://m"])
    assert result["failed"] and flag.partition("=")[0] in result["msg"]
    assert snapshot(place) == {}


def test_a_registry_that_a_flag_makes_insecure(place):
    with deaf(place, "--insecure-registry=old:1"):
        result = client(place, {"host": "old:1"})
    assert not result["changed"]
    assert "stays insecure" in result["warnings"]
