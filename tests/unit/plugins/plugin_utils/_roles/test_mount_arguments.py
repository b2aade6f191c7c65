"""Mounts of a container as arguments of docker run."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mount_arguments import mount_arguments


def test_each_mount_is_an_option_and_its_value():
    mounts = [
        {"source": "/srv/a", "target": "/a", "read_only": True},
        {"source": "/srv/b", "target": "/b", "read_only": False},
    ]
    assert mount_arguments(mounts) == [
        "--mount",
        "type=bind,src=/srv/a,dst=/a,readonly",
        "--mount",
        "type=bind,src=/srv/b,dst=/b",
    ]


def test_no_mount_is_no_argument():
    assert mount_arguments([]) == []
