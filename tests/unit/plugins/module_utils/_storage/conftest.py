"""What the tests of storages begin with: a storage in memory, and the way to it."""

from __future__ import annotations

import memory_s3
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_access import S3Access


@pytest.fixture
def access(server, storage):
    """Makes the S3Access to it; what a test gives is in place of what is right."""

    def make(**options):
        return S3Access(memory_s3.options(server, **options))

    return make


@pytest.fixture
def client(access):
    """A client that asks once."""
    with access().client(attempts=1) as client:
        yield client
