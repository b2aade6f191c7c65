"""The common mistakes: each has a title and a cure."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._diagnosis import failure_catalog
from ansible_collections.wharf.registry.plugins.module_utils._engine import error_patterns


def test_a_title_and_a_cure_fit_a_table():
    for name, (title, cure) in failure_catalog.MISTAKES.items():
        assert re.fullmatch(r"[a-z_]+", name)
        assert 0 < len(title) < 70
        assert failure_catalog.title(name) == title
        assert "{" not in failure_catalog.cure_in_fleet(name, "web1", "r.example.com")
        assert not cure.endswith(".")
    assert (failure_catalog.title(""), failure_catalog.cure_in_fleet("", "h", "r")) == ("", "")


def test_what_engines_say_has_a_name_that_is_known():
    names = {name for name, *_rest in error_patterns._FAILURES}
    assert names - {""} <= set(failure_catalog.MISTAKES)
