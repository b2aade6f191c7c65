"""Marks of tests that several suites share."""

from __future__ import annotations

import pytest


def repeated(*values: object) -> list[object]:
    """Further values of a parameter: `make test-long` tries them, and others stand for them in `make test`."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]
