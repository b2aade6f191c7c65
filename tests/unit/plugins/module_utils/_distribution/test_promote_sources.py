"""What names the image that a tag is to point to."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import (
    parse_source,
)

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "repository", "reference"),
    [
        ("rc", "a/b", "rc"),
        (DIGEST, "a/b", DIGEST),
        ("c/d:rc", "c/d", "rc"),
        (f"c/d@{DIGEST}", "c/d", DIGEST),
        (f"c/d:rc@{DIGEST}", "c/d", DIGEST),
        ("web:1.0", "web", "1.0"),
        ("r.example.com:5000/c/d:rc", "c/d", "rc"),
        (f"r.example.com:5000/c@{DIGEST}", "c", DIGEST),
    ],
)
def test_sources(text, repository, reference):
    source = parse_source(text, RegistryName("r.example.com:5000"), "a/b")
    assert (source.repository, source.reference) == (repository, reference)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c/d",
        "c/d:",
        "C/d:1",
        "sha256:abc",
        "c@sha256:abc",
        "other.example.com:5000/c:1",
        "a b",
        ":1",
        "@" + DIGEST,
        "é",
    ],
)
def test_what_is_no_source(text):
    with pytest.raises(InputError):
        parse_source(text, RegistryName("r.example.com:5000"), "a/b")
