"""The filter access_rules: globs as fnmatch has them, few policies, and mistakes that are named."""

from __future__ import annotations

import fnmatch
import itertools
import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.wharf.registry.plugins.filter.access_rules import access_rules, expression
from hypothesis import given
from hypothesis import strategies as st

# With the letters and digits of an encoded slash.
NAMES = st.text("abf29._/-", min_size=1, max_size=8)
CLASSES = st.tuples(st.booleans(), st.text("abf29._/", min_size=1, max_size=3), st.sampled_from(["", "-"]))
GLOBS = st.lists(
    st.one_of(
        st.sampled_from(["*", "?", "**"]),
        NAMES,
        CLASSES.map(lambda made: f"[{'!' if made[0] else ''}{made[1]}{made[2]}]"),
        st.sampled_from(["[a-z]", "[!a-b]", "[0-9]", "[.-0]", "[!.-0]"]),
    ),
    min_size=1,
    max_size=5,
).map("".join)


@given(NAMES, GLOBS)
def test_globs_mean_what_fnmatch_says(name, glob):
    meant = fnmatch.fnmatchcase(name, glob)
    assert bool(re.fullmatch(expression(glob), name)) == meant
    # However its slashes are written.
    pieces = name.split("/")
    for slashes in itertools.product(["/", "%2F", "%2f"], repeat=min(len(pieces) - 1, 3)):
        ways = [*slashes, *["/"] * (len(pieces) - 1 - len(slashes)), ""]
        written = "".join(piece + slash for piece, slash in zip(pieces, ways, strict=True))
        assert bool(re.fullmatch(expression(glob, encoded=True), written)) == meant, written


@pytest.mark.parametrize(("glob", "repository"), [("te???m", "te/m"), ("a*fb", "a/b"), ("a[!x]fb", "a/b")])
def test_no_part_of_an_encoded_slash_is_a_character(glob, repository):
    assert not re.fullmatch(expression(glob, encoded=True), repository.replace("/", "%2F"))
    assert not re.fullmatch(expression(glob, encoded=True), repository.replace("/", "%2f"))


def user(name="ci", **changes):
    return {"name": name, "password": "p", **changes}


def test_users_that_may_the_same_share_a_policy():
    team = [{"repositories": ["team/*", "base/*"], "actions": ["pull"]}]
    turned = [{"repositories": ["base/*"], "actions": ["pull"]}, {"repositories": ["team/*"], "actions": ["pull"]}]
    found = access_rules(
        [user("a", access="push"), user("b", access="push"), user("c", rules=team), user("d", rules=turned), user("e")]
    )
    policies = found["policies"]
    assert policies["a"] == policies["b"] != policies["c"] == policies["d"]
    assert "e" not in policies


def test_who_may_list_all_repositories():
    users = [
        user("admin", access="admin"),
        user("quiet", access="admin", catalog=False),
        user("ci", access="push"),
        user("lister", catalog=True),
    ]
    found = access_rules(users)
    assert sorted(found["catalog"]) == sorted([found["policies"]["admin"], found["policies"]["lister"]])


def test_no_expression_is_longer_than_nginx_takes():
    names = [f"team-alpha/service-frontend-{number:03}" for number in range(300)]
    many = [user(f"u{number}", access="pull", catalog=number % 2 == 0) for number in range(3)]
    some = [user(f"r{number}", rules=[{"repositories": ["base/*"], "actions": ["pull"]}]) for number in range(3)]
    rules = [{"repositories": names, "actions": ["pull"]}]
    found = access_rules([*many, *some, user("ci", rules=rules)], names)["rules"]
    for rule in found:
        assert max(len(rule["repositories"]), len(rule["encoded"])) < 2000
    number = str(access_rules([user("ci", rules=rules)])["policies"]["ci"])
    mine = [rule["repositories"] for rule in access_rules([user("ci", rules=rules)])["rules"]]
    assert number == "1"
    assert all(any(re.fullmatch(one, name) for one in mine) for name in names)


def test_networks_are_shared_and_written_in_one_way():
    found = access_rules(
        [
            user("a", access="pull", allowed_networks=["192.0.2.0/24", "2001:DB8::/32"]),
            user("b", access="pull", allowed_networks=["2001:db8::/32", "192.0.2.0/24"]),
            user("c", access="pull"),
        ]
    )
    assert found["networks"] == [["192.0.2.0/24", "2001:db8::/32"]]
    assert found["homes"] == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    ("pattern", "meant", "other"),
    [
        ("v*", ["apps/web:v1", "web:v"], ["web:1", "v/web:1"]),
        ("apps/*:[0-9].[0-9]", ["apps/web:1.0", "apps/a/b:2.1"], ["web:1.0", "apps/web:10.0", "apps/web:1x0"]),
    ],
)
def test_immutable_tags(pattern, meant, other):
    expressions = access_rules([user()], (), [pattern])["immutable"]
    assert [name for name in meant + other if re.fullmatch(expressions[0], name)] == meant


@pytest.mark.parametrize(
    ("users", "said"),
    [
        ([user(access="root")], "the user ci has access 'root'; use pull, push, admin"),
        ([user(rules=[{"repositories": ["a"]}])], "the user ci has a rule that is not"),
        ([user(rules=[{"repositories": ["a"], "actions": ["pull"], "tags": ["x"]}])], "the user ci has a rule"),
        ([user(rules=[{"repositories": ["a"], "actions": ["write"]}])], "use a list of pull, push, delete"),
        ([user(rules=[{"repositories": ["a"], "actions": "pull"}])], "use a list of pull, push, delete"),
        ([user(rules=[{"repositories": "a", "actions": ["pull"]}])], "write a list such as [team/*]"),
        ([user(rules=[{"repositories": ["Team/*"], "actions": ["pull"]}])], "'Team/*'"),
        ([user(rules=[{"repositories": ['a"; deny all'], "actions": ["pull"]}])], "use names of repositories"),
        ([user(rules=[{"repositories": ["[z-a]"], "actions": ["pull"]}])], "goes backwards"),
        ([user(access="pull", allowed_networks=["192.0.2.1/24"])], "the user ci has an invalid network"),
        ([user("ci", access="pull"), user("CI", access="pull")], "ci and CI differ in case only"),
    ],
)
def test_mistakes_are_named(users, said):
    with pytest.raises(AnsibleFilterError) as raised:
        access_rules(users)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("tag", "refers"),
    [
        (f"sha256-{'0f' * 32}", True),
        (f"sha256-{'0f' * 32}.sig", True),
        (f"sha256-{'0f' * 32}.sig.1_x-y", True),
        (f"sha384-{'0f' * 48}.att", True),
        (f"sha512-{'0f' * 32}", True),
        (f"sha512-{'0f' * 64}", False),
        (f"sha256-{'0F' * 32}", False),
        (f"sha256-{'0f' * 31}.sig", False),
        (f"sha256-{'0f' * 32}-sig", False),
        (f"v1-{'0f' * 32}", False),
    ],
)
def test_tags_of_referrers(tag, refers):
    assert bool(re.fullmatch(access_rules([user()])["referring"], tag)) == refers


@pytest.mark.parametrize("pattern", ["sha256-*", "apps/*:sha512-?*", "sha384-[0-9]*.sig", "blake3-*"])
def test_tags_of_referrers_are_never_immutable(pattern):
    with pytest.raises(AnsibleFilterError, match=r"reverse_proxy_immutable_tags.*signatures.*remove it"):
        access_rules([user()], (), [pattern])


@pytest.mark.parametrize("pattern", ["", "v*;", "Apps/*:v*", "a:b:", "v[9-0]"])
def test_immutable_tags_that_are_none(pattern):
    with pytest.raises(AnsibleFilterError, match="reverse_proxy_immutable_tags"):
        access_rules([user()], (), [pattern])
