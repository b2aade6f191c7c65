"""registry_login against Basic authentication: a real nginx with a password file before a real registry."""

from __future__ import annotations

import json
import secrets
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from steps import alone, auths, content, entry, four_runs, says

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients import Box
    from managed import Host
    from peers import Peers

OTHERS = """\
{
    "auths": {
        "other.example.com": {
            "auth": "b3RoZXI6c2VjcmV0"
        }
    },
    "HttpHeaders": {"X-Meta": "kept"},
    "detachKeys": "ctrl-e,e"
}
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_four_runs(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    done = four_runs(login, lambda: content(config))
    assert done["registry"] == peers["basic"]
    assert done["username"] == "ci"
    assert done["config_path"] == str(config)
    assert done["stored_in"] == "file"
    assert done["verified"] is True
    assert auths(config) == {peers["basic"]: entry("ci", peers.users["ci"])}
    assert (mode(config), mode(config.parent)) == (0o600, 0o700)
    alone(config)


def test_the_registry_was_asked(login: Callable[..., dict], peers: Peers) -> None:
    def accepted() -> int:
        return peers.requests("basic").count(("GET", "/v2/", 200, "ci"))

    before = accepted()
    for check in (True, False, False):
        login(check=check)
    # Also when the credentials are stored already: that says nothing about what they are worth today.
    assert accepted() == before + 3


def test_the_default_place(login: Callable[..., dict], host: Host, tmp_path: Path) -> None:
    home = Path(host.env["HOME"], ".docker", "config.json")
    assert login(config_path=None)["config_path"] == str(home)
    assert home.exists()
    named = tmp_path / "named"
    assert login(config_path=None, env={"DOCKER_CONFIG": str(named)})["config_path"] == str(named / "config.json")
    assert (named / "config.json").exists()


@pytest.mark.parametrize("spelling", ["https://{}", "https://{}/", "https://{}/v2/", "http://{}/v1/"])
def test_spellings(login: Callable[..., dict], peers: Peers, config: Path, spelling: str) -> None:
    assert login(registry=spelling.format(peers["basic"]))["registry"] == peers["basic"]
    assert list(auths(config)) == [peers["basic"]]
    assert not login()["changed"]


def test_old_spellings_become_one(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    config.parent.mkdir()
    old = {f"https://{peers['basic']}/v1/": entry("ci", "former"), "other.example.com": entry("a", "b")}
    config.write_text(json.dumps({"auths": old}))
    assert login()["changed"]
    expected = {peers["basic"]: entry("ci", peers.users["ci"]), "other.example.com": entry("a", "b")}
    assert auths(config) == expected


def test_all_else_is_kept(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    config.parent.mkdir(mode=0o755)
    config.write_text(OTHERS)
    config.chmod(0o644)
    login()
    after = json.loads(config.read_text())
    assert after["auths"].pop(peers["basic"]) == entry("ci", peers.users["ci"])
    assert after == json.loads(OTHERS)
    assert list(after) == list(json.loads(OTHERS))
    # Written as it was indented, and closed to others; the directory may be shared on purpose.
    assert '\n    "auths"' in config.read_text()
    assert (mode(config), mode(config.parent)) == (0o600, 0o755)
    login(state="absent", username=None, password=None)
    assert json.loads(config.read_text()) == json.loads(OTHERS)


def test_a_file_that_others_can_read_is_closed(login: Callable[..., dict], config: Path) -> None:
    login()
    config.chmod(0o644)
    before = config.read_bytes()
    four_runs(login, lambda: (content(config), mode(config)))
    assert (config.read_bytes(), mode(config)) == (before, 0o600)


def test_a_wrong_password(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    for check in (True, False):
        refused = login(password=secrets.token_urlsafe(), failed=True, check=check)
        says(refused, peers["basic"], "401", "password", "ci")
        assert not config.exists()
    login()
    before = config.read_bytes()
    login(password=secrets.token_urlsafe(), failed=True)
    login(username="nobody", failed=True)
    assert config.read_bytes() == before
    alone(config)


def test_a_password_that_was_revoked(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    login()
    stored = {"username": None, "password": None}
    verified = login(**stored)
    assert (verified["changed"], verified["verified"], verified["username"]) == (False, True, "ci")
    before, former = config.read_bytes(), peers.users["ci"]
    peers.set_password("ci", secrets.token_urlsafe(24))
    says(login(**stored, failed=True, secrets=(former,)), peers["basic"], "401")
    says(login(password=former, failed=True), peers["basic"], "401")
    says(login(password=secrets.token_urlsafe(), failed=True, secrets=(former,)), peers["basic"], "401")
    assert config.read_bytes() == before
    four_runs(login, lambda: content(config))
    assert auths(config) == {peers["basic"]: entry("ci", peers.users["ci"])}


def test_nothing_is_stored(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    for check in (True, False):
        missing = login(username=None, password=None, failed=True, check=check)
        says(missing, peers["basic"], "username", "password")
    assert not config.exists()


@pytest.mark.parametrize("given", ["username", "password"])
def test_together_or_not_at_all(login: Callable[..., dict], config: Path, given: str) -> None:
    left_out = {"username": None, "password": None}
    del left_out[given]
    message = login(**left_out, failed=True)["msg"]
    assert "username" in message and "password" in message
    assert not config.exists()


def test_without_asking(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    def run(**options: object) -> dict:
        return login(peer="refused", verify=False, **options)

    done = four_runs(run, lambda: content(config))
    assert (done["verified"], done["stored_in"]) == (False, "file")
    assert auths(config) == {peers["refused"]: entry("ci", peers.users["ci"])}


def test_logout(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    def logout(**options: object) -> dict:
        return login(state="absent", username=None, password=None, **options)

    assert not logout()["changed"]
    assert not config.exists() and not config.parent.exists()
    login()
    login(peer="basic_again")
    done = four_runs(logout, lambda: content(config))
    assert done["stored_in"] == ""
    assert list(auths(config)) == [peers["basic_again"]]


def test_logout_needs_no_registry(login: Callable[..., dict], config: Path) -> None:
    login(peer="refused", verify=False)
    assert login(peer="refused", state="absent", username=None, password=None)["changed"]
    assert auths(config) == {}


@pytest.mark.parametrize(
    "text",
    ["\f", "{", "[]", '{"auths": []}', '{"auths": {"x": 5}}', '{"auths": {}} {}', "\x00", '{"auths": {}, "auths": {}}'],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_file_that_is_something_else(login: Callable[..., dict], config: Path, text: str, state: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    broken = login(state=state, failed=True)
    says(broken, str(config))
    assert config.read_text() == text
    alone(config)


def test_plain_http(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    assert login(peer="plain", plain_http=True)["verified"]
    assert list(auths(config)) == [peers["plain"]]


def test_a_registry_that_asks_for_no_login(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    """What is not asked for can't be verified, and the user is told."""
    done = login(peer="registry", plain_http=True)
    assert (done["changed"], done["verified"]) == (True, False)
    assert peers["registry"] in str(done["warnings"])
    assert list(auths(config)) == [peers["registry"]]


def test_without_validation(login: Callable[..., dict]) -> None:
    for peer in ("expired", "other_name", "basic"):
        assert login(peer=peer, ca_path=None, validate_certs=False)["verified"]


def test_a_client_certificate(login: Callable[..., dict], peers: Peers) -> None:
    pair = {"client_cert": str(peers.client.certificate), "client_key": str(peers.client.key)}
    assert login(peer="mutual", **pair)["verified"]
    says(login(peer="mutual", failed=True), peers["mutual"], "client_cert")


def test_a_registry_that_is_busy_is_asked_again(login: Callable[..., dict], peers: Peers) -> None:
    """One request a second is let through, and a login needs two."""
    before = len(peers.requests("limited"))
    assert login(peer="limited")["verified"]
    statuses = [status for _method, _path, status, _user in peers.requests("limited")[before:]]
    assert 429 in statuses and statuses[-1] == 200


@pytest.mark.parametrize(
    "password", ["with spaces and : colons", "ümläut-ÿ-中文-🔑", '"quotes"\\n{{ braces }} $HOME', "x" * 72]
)
def test_odd_passwords(login: Callable[..., dict], peers: Peers, config: Path, password: str) -> None:
    peers.set_password("ci", password)
    assert login(password=password)["verified"]
    assert auths(config) == {peers["basic"]: entry("ci", password)}
    assert not login(password=password)["changed"]


@pytest.mark.parametrize("folder", ["/etc/docker/certs.d", "/etc/containers/certs.d"])
def test_a_ca_that_docker_or_podman_trusts(peers: Peers, root_box: Box, user_box: Box, folder: str) -> None:
    from runs import run_login

    place = f"{folder}/{peers['basic']}"
    unknown = run_login(user_box.host, peers, None, ca_path=None, failed=True)
    says(unknown, peers["basic"], "unknown CA", "ca_path", f"certs.d/{peers['basic']}/ca.crt")
    root_box.run(f"mkdir -p {place} && cp /ca.crt {place}/ca.crt && chmod -R a+rX {folder}")
    done = run_login(user_box.host, peers, None, ca_path=None)
    assert done["verified"] and done["config_path"] == f"{user_box.home}/.docker/config.json"


def test_no_secret_in_the_process_list(login: Callable[..., dict], peers: Peers, config: Path) -> None:
    found, seen, over = [], set(), threading.Event()
    password = peers.users["ci"].encode()

    def watch() -> None:
        while not over.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for what in ("cmdline", "environ"):
                    try:
                        text = (process / what).read_bytes()
                    except OSError:
                        continue
                    if b"launch.py" in text:
                        seen.add(process.name)
                    if password in text:
                        found.append(what)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        login()
        login()
    finally:
        over.set()
        watcher.join()
    assert seen, "the watcher saw no run"
    assert not found
