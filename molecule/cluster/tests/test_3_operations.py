"""What operators do, while clients push and pull. No client fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from labtest import run_playbook

if TYPE_CHECKING:
    from conftest import Lab, Work


@pytest.mark.parametrize(
    "words",
    [
        "doctor",
        "upgrade",
        "rotate --extra-vars=rotate=certificate",
        "rotate --extra-vars=rotate=ca",
        "rotate --extra-vars=rotate=passwords",
        "maintain",
        "site",
    ],
)
def test_a_playbook_runs(words: str, lab: Lab, work: Work) -> None:
    playbook, *options = words.split()
    run_playbook(f"wharf.registry.{playbook}", *options)
    work.go_on()
    lab.settle()
    assert work.lost() == []
