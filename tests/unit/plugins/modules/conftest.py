"""What the tests of the modules begin with."""

from __future__ import annotations

import pytest


@pytest.fixture
def path(tmp_path):
    """A credential file that is not there yet, nor is its directory."""
    return tmp_path / "docker" / "config.json"
