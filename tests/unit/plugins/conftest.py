"""What tests of several packages begin with."""

from __future__ import annotations

import memory_s3
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._storage import probe_access


@pytest.fixture
def storage(server, monkeypatch):
    """An object storage in memory: right until a test tells it otherwise, and quick, however busy this machine is."""
    monkeypatch.setattr(probe_access, "SLOW", 10_000)
    return memory_s3.MemoryS3(server)
