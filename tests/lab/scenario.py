"""Fixtures that all scenarios share. .config/molecule/config.yml has pytest load them."""

from __future__ import annotations

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def ephemeral() -> pathlib.Path:
    """Where the scenario keeps what the play leaves on the control node."""
    return pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
