"""containerd as an engine of its own, and what is done where it is not installed."""

from __future__ import annotations

import tomllib

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_text import TomlText
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import apply_all
from ansible_collections.wharf.registry.plugins.module_utils._engine import containerd
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd import Containerd
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd_trust import ContainerdTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import DesiredState

REGISTRY = {"host": "r.example.com", "insecure": False} | dict.fromkeys(
    ("ca", "client_cert", "client_key", "username", "password")
)


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ((), False),
        (("containerd",), True),
        (("containerd", "dockerd"), False),
        (("containerd", "dockerd", "crictl"), True),
        (("containerd", "dockerd", "kubelet"), True),
        (("containerd", "nerdctl"), True),
        (("dockerd", "kubelet"), False),
    ],
)
def test_whose_containerd_it_is(monkeypatch, programs, expected):
    monkeypatch.setattr(containerd, "find", lambda name: f"/usr/bin/{name}" if name in programs else None)
    assert Containerd(1).is_engine is expected


def test_files_before_it_is_installed(monkeypatch, tmp_path):
    """hosts.toml is read when it comes. What its configuration will be is not known yet."""
    monkeypatch.setattr(containerd, "find", lambda _name: None)
    monkeypatch.setattr(containerd, "named", lambda _name: [])
    monkeypatch.setattr(containerd, "CONFIG", str(tmp_path / "config.toml"))
    engine = ContainerdTrust({"apply": "restart", "timeout": 1, "certs_dir": str(tmp_path / "certs.d")})
    changes = engine.plan(DesiredState([REGISTRY], [], present=True))
    needed = [change for change in changes if change.needed]
    assert not engine.needs_reload(needed)
    assert [change.path for change in apply_all(changes)] == [f"{tmp_path}/certs.d/r.example.com/hosts.toml"]
    assert engine.report(changed=True) == {"installed": False, "running": False, "version": "", "config_path": ""}
    changes = engine.plan(DesiredState([REGISTRY], [], present=False))
    apply_all(changes)
    assert not list(tmp_path.rglob("*.toml"))


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A containerd that takes every file, and gives its own defaults to what a file does not say."""

    def effective(self, raw):
        text = (raw or b"").decode()
        return TomlText((text if "version" in text else f"version = 2\n{text}").encode(), self.config_path)

    monkeypatch.setattr(containerd, "find", lambda name: f"/usr/bin/{name}" if name == "containerd" else None)
    monkeypatch.setattr(containerd, "named", lambda _name: [])
    monkeypatch.setattr(containerd, "CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(Containerd, "effective", effective)
    return tmp_path


def run(folder, state="present"):
    engine = ContainerdTrust({"apply": "never", "timeout": 1, "certs_dir": str(folder / "certs.d")})
    apply_all(engine.plan(DesiredState([REGISTRY], [], present=state == "present")))


def test_a_file_of_ours_goes_with_its_last_line(installed):
    run(installed)
    path = installed / "config.toml"
    assert tomllib.loads(path.read_text()) == {
        "version": 2,
        "plugins": {"io.containerd.grpc.v1.cri": {"registry": {"config_path": f"{installed}/certs.d"}}},
    }
    run(installed, "absent")
    assert not path.exists()


def test_what_others_add_to_a_file_of_ours_stays(installed):
    run(installed)
    path = installed / "config.toml"
    path.write_text(path.read_text() + "[timeouts]\nx = '1s'\n")
    run(installed, "absent")
    assert tomllib.loads(path.read_text()) == {"version": 2, "timeouts": {"x": "1s"}}


@pytest.mark.parametrize(
    "text", ["", "# c\n", "version = 2\n", 'version = 2\n[plugins]\n  [plugins.cri]\n    x = "y"\n']
)
def test_a_file_of_others_is_given_back(installed, text):
    path = installed / "config.toml"
    path.write_text(text)
    run(installed)
    run(installed, "absent")
    assert path.read_text() == text


def test_imports_are_those_beside_the_file():
    raw = b'version = 2\nimports = ["conf.d/*.toml", "/srv/x.toml"] # c\n'
    assert containerd._with_absolute_imports(raw, "/etc/containerd/config.toml") == (
        b'version = 2\nimports = ["/etc/containerd/conf.d/*.toml", "/srv/x.toml"] # c\n'
    )
