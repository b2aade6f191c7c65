"""The lines of upgrade.yml: what each container runs, and what it ran before."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.upgrade_report import upgrade_report

OLD, NEW = "sha256:" + 64 * "a", "sha256:" + 64 * "b"


def looked(image=OLD, name="wharf.local/registry:1", item="wharf-registry-1"):
    """A result of docker_container_info, as it is registered in a loop."""
    return {"item": item, "exists": True, "container": {"Image": image, "Config": {"Image": name}}}


GONE = {"item": "wharf-registry-1", "exists": False, "container": None}


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (looked(), looked(), "wharf-registry-1: wharf.local/registry:1, as before"),
        (
            looked(),
            looked(NEW, "wharf.local/registry:2"),
            "wharf-registry-1: wharf.local/registry:1 (aaaaaaaaaaaa) -> wharf.local/registry:2 (bbbbbbbbbbbb)",
        ),
        # The same name, which stands for another image now.
        (
            looked(),
            looked(NEW),
            "wharf-registry-1: wharf.local/registry:1 (aaaaaaaaaaaa) -> wharf.local/registry:1 (bbbbbbbbbbbb)",
        ),
        # The same image under another name.
        (
            looked(),
            looked(name="mirror.example.com/registry:1"),
            "wharf-registry-1: mirror.example.com/registry:1, as before",
        ),
    ],
)
def test_a_container(before, after, line):
    assert upgrade_report([before], [after]) == [line]


def test_a_container_that_is_not_there_has_no_line():
    """As in check mode, or where there was none before."""
    assert upgrade_report([GONE, looked(item="wharf-proxy")], [looked(), GONE]) == []


def test_the_lines_are_in_the_order_of_the_containers():
    both = [looked(), looked(item="wharf-proxy")]
    assert [line.partition(":")[0] for line in upgrade_report(both, both)] == ["wharf-registry-1", "wharf-proxy"]
