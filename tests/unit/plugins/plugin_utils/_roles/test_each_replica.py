"""One description of a replica for each of them."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.each_replica import each_replica


def test_each_has_its_number_at_every_depth():
    described = {"name": "r-@replica@", "mounts": [{"source": "/x/@replica@-@replica@", "read_only": True}], "uid": 0}
    assert each_replica(described, "2") == [
        {"name": "r-1", "mounts": [{"source": "/x/1-1", "read_only": True}], "uid": 0},
        {"name": "r-2", "mounts": [{"source": "/x/2-2", "read_only": True}], "uid": 0},
    ]


def test_one_of_them_is_the_first():
    assert [one["purges"] for one in each_replica({"purges": "@first@"}, 3)] == ["true", "false", "false"]


def test_the_description_stays_as_it_is():
    described = {"list": ["@replica@"], "none": None}
    each_replica(described, 1)
    assert described == {"list": ["@replica@"], "none": None}


def test_no_replica_is_an_empty_list():
    assert each_replica({"name": "r"}, 0) == []
