"""What the tests of the backup begin with: a storage, and a host that has one."""

from __future__ import annotations

import pytest
from backup_host import Host, Store
from wharf_backup import storage


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0)
    return Store(tmp_path / "live")


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0)
    return Host(tmp_path, monkeypatch)
