from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.filter.access_rules import access_rules
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.page_policies import page_policies

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "access": "push"},
    {"name": "other", "access": "push"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull", "push", "delete"]}]},
    {
        "name": "mixed",
        "rules": [
            {"repositories": ["a/*"], "actions": ["pull", "push"]},
            {"repositories": ["*/x"], "actions": ["delete"]},
        ],
    },
]


def of(user: str, users: list[dict] = USERS, anonymous: tuple = ()) -> dict:
    access = access_rules(users, anonymous)
    return page_policies(access)[access["policies"][user]]


def fits(expressions: list[str], name: str) -> bool:
    return any(re.fullmatch(one, name) for one in expressions)


def test_each_sees_what_it_may_pull() -> None:
    assert fits(of("ci")["pull"], "any/thing")
    assert fits(of("team")["pull"], "team/app") and not fits(of("team")["pull"], "other/app")
    assert fits(of("team", anonymous=("public/*",))["pull"], "public/tool")
    assert [of(user)["catalog"] for user in ("admin", "ci", "team")] == [True, False, False]


def test_tags_go_where_one_may_push_and_delete() -> None:
    assert fits(of("admin")["delete"], "a/b") and not of("ci")["delete"]
    found = of("mixed")["delete"]
    assert [fits(found, one) for one in ("a/x", "a/y", "b/x")] == [True, False, False]


def test_an_index_is_named_by_what_its_policy_says() -> None:
    before = {user: of(user)["index"] for user in ("admin", "ci", "team")}
    assert len(set(before.values())) == 3
    assert of("other")["index"] == before["ci"]
    # Another order gives other numbers.
    assert {user: of(user, USERS[::-1])["index"] for user in before} == before
    assert of("team", anonymous=("public/*",))["index"] != before["team"]
