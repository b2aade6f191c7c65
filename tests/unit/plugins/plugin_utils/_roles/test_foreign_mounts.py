"""Mounts of containers that come from directories of another inventory."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.foreign_mounts import foreign_mounts

MINE = [{"path": "/srv/registry/", "target": "/var/lib/registry", "variable": "registry_data_directory"}]


def mounts(source, target="/var/lib/registry"):
    return [{"Mounts": [{"Source": source, "Destination": target}]}]


@pytest.mark.parametrize("source", ["/srv/registry", "/srv/registry/data"])
def test_a_directory_of_this_inventory_or_one_below_it(source):
    assert foreign_mounts(mounts(source), MINE) == []


@pytest.mark.parametrize("source", ["/srv/other", "/srv/registry-2", "/srv"])
def test_another_directory_is_foreign(source):
    assert foreign_mounts(mounts(source), MINE) == [
        {"source": source, "here": "/srv/registry/ (registry_data_directory)"}
    ]


def test_what_is_mounted_elsewhere_does_not_count():
    assert foreign_mounts(mounts("/etc/localtime", "/etc/localtime"), MINE) == []


@pytest.mark.parametrize("containers", [[], [None], [{}], [{"Mounts": None}]])
def test_no_container_and_no_mount(containers):
    assert foreign_mounts(containers, MINE) == []
