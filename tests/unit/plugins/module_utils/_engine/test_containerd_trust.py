"""containerd as an engine of its own, and what is done where it is not installed."""

from __future__ import annotations

import pytest
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
