"""What the tests of the transport begin with."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient


@pytest.fixture
def client():
    """A transport that waits for a second, and no longer."""
    with HttpClient(TLSConfig("127.0.0.1"), timeout=1) as client:
        yield client
