"""The tags that a retention removes, a line each."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.retention_lines import retention_lines


def test_a_line_for_each_tag():
    repositories = [
        {"name": "a", "deleted": [{"tag": "1", "reason": "older than 30 days"}, {"tag": "2", "reason": "no rule"}]},
        {"name": "b", "deleted": []},
        {"name": "team/c", "deleted": [{"tag": "x", "reason": "no rule"}]},
    ]
    assert retention_lines(repositories) == ["a:1 - older than 30 days", "a:2 - no rule", "team/c:x - no rule"]


def test_nothing_to_remove_is_said():
    assert retention_lines([{"name": "a", "deleted": []}]) == ["No tag: the rules keep all of them."]
    assert retention_lines([]) == ["No tag: the rules keep all of them."]
