"""The program as the role installs it, with the oldest Python of managed hosts that there is."""

from __future__ import annotations

import managed
import pytest
from metrics import families as families_of
from metrics import install, running


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return install(tmp_path_factory.mktemp("host") / "metrics")


@pytest.fixture(scope="session")
def python():
    return next(iter(managed.pythons().values()))


@pytest.fixture
def metrics(tmp_path, program, python):
    """The program, which follows a log with nothing in it."""
    (tmp_path / "requests.log").touch()
    with running(tmp_path, program, python=python) as started:
        yield started


@pytest.fixture(scope="session")
def families(program):
    return families_of(program)
