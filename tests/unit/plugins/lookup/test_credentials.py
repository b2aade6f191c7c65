from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from ansible.errors import AnsibleLookupError

WANTED = {"admin": "admin", "ci": "push", "runtime": "pull"}


@pytest.fixture
def credentials(plugin):
    return plugin("lookup", "credentials").credentials


def test_makes_a_private_file_and_keeps_it(credentials, tmp_path):
    path = tmp_path / "made" / "credentials.yml"
    users = credentials(str(path), WANTED)
    assert [(user["name"], user["access"]) for user in users] == list(WANTED.items())
    assert len({user["password"] for user in users}) == 3
    assert all(len(user["password"]) == 32 for user in users)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    before = path.read_bytes()
    assert credentials(str(path), WANTED) == users
    assert path.read_bytes() == before
    assert yaml.safe_load(before)["users"]["ci"] == {"password": users[1]["password"], "access": "push"}
    assert list(path.parent.iterdir()) == [path]


def test_adds_a_user_and_keeps_the_others(credentials, tmp_path):
    path = tmp_path / "credentials.yml"
    path.write_text("note: mine\nusers:\n  ci: {password: chosen, access: pull}\n", encoding="utf-8")
    users = credentials(str(path), {"ci": "push", "new": "pull"})
    assert users[0] == {"name": "ci", "password": "chosen", "access": "push"}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["note"] == "mine"
    assert content["users"]["new"]["access"] == "pull"


@pytest.mark.parametrize(
    "text",
    ["{", "users: [a]", "[]", "users: {ci: geheim}", "users: {ci: {password: 5}}", "users: {ci: {}}", "\x00geheim", ""],
)
def test_a_file_that_is_something_else_is_left_alone(credentials, tmp_path, text):
    path = tmp_path / "credentials.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnsibleLookupError) as error:
        credentials(str(path), WANTED)
    assert str(path) in str(error.value)
    assert "geheim" not in str(error.value)
    assert path.read_text(encoding="utf-8") == text


def test_a_directory_in_its_place_is_said(credentials, tmp_path):
    with pytest.raises(AnsibleLookupError, match="directory"):
        credentials(str(tmp_path), WANTED)


def test_many_processes_agree(root, tmp_path):
    path = tmp_path / "credentials.yml"
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('c', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(module.credentials(sys.argv[2], {'shared': 'pull', sys.argv[3]: 'push'})[0]['password'])\n"
    )
    plugin_path = str(root / "plugins" / "lookup" / "credentials.py")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, plugin_path, str(path), f"user{n}"], stdout=subprocess.PIPE, text=True
        )
        for n in range(6)
    ]
    shared = {process.communicate()[0].strip() for process in running}
    assert len(shared) == 1 and len(shared.pop()) == 32
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))["users"]) == {"shared"} | {f"user{n}" for n in range(6)}
