"""How many examples a property is tried with: all in `make long`, and a fifth of them where a commit waits."""

from __future__ import annotations

import os

from hypothesis import HealthCheck

# How long an example takes is a matter of what else the machine does.
PATIENT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
PER_CENT = int(os.environ.get("WHARF_EXAMPLES", "20"))


def examples(many: int) -> int:
    return max(many * PER_CENT // 100, 20)
