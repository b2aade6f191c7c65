"""The filter image_reference and the test pinned. The grammar of names itself is tested in test_reference.py."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

F = "sha256:" + "f" * 64


@pytest.fixture
def image_reference(plugin):
    return plugin("filter", "image_reference").FilterModule().filters()["image_reference"]


@pytest.fixture
def pinned(plugin):
    return plugin("test", "pinned").TestModule().tests()["pinned"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nginx", ["docker.io", "library/nginx", "latest", "", "docker.io/library/nginx:latest"]),
        ("team/web:1.0", ["docker.io", "team/web", "1.0", "", "docker.io/team/web:1.0"]),
        ("r.example.com:5000/a/b:1", ["r.example.com:5000", "a/b", "1", "", "r.example.com:5000/a/b:1"]),
        (f"r.example.com/a@{F}", ["r.example.com", "a", "", F, f"r.example.com/a@{F}"]),
        (f"[::1]:5000/a:1@{F}", ["[::1]:5000", "a", "1", F, f"[::1]:5000/a:1@{F}"]),
    ],
)
def test_the_parts_of_a_name(image_reference, text, parts):
    found = image_reference(text)
    assert found == dict(zip(["registry", "repository", "tag", "digest", "reference"], parts, strict=True))
    assert image_reference(found["reference"]) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", False),
        ("nginx:latest", False),
        ("r.example.com:5000/web", False),
        ("r.example.com:5000/web:1.4.2", True),
        (f"nginx:latest@{F}", True),
        (f"nginx@{F}", True),
    ],
)
def test_what_is_pinned(pinned, text, expected):
    assert pinned(text) is expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not name a repository"),
        ("r.example.com/Team/web", "lower case"),
        ("nginx:", "is no tag"),
        ("nginx@sha256:f", "is no digest"),
        (F, "identifier of a local image"),
        (F.partition(":")[2], "identifier of a local image"),
        (None, "not NoneType"),
        (5, "not int"),
        (["nginx"], "not list"),
    ],
)
def test_what_is_no_name_of_an_image(image_reference, pinned, text, says):
    for plugin in (image_reference, pinned):
        with pytest.raises(AnsibleFilterError) as error:
            plugin(text)
        assert says in str(error.value)
