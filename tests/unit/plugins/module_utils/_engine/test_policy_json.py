"""The policy.json of an owner: rules come and go, and every other character stays."""

from __future__ import annotations

import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine.policy_json import DEFAULT, PolicyJson
from hypothesis import given
from hypothesis import strategies as st

PATH = "/etc/containers/policy.json"
REJECT = [{"type": "reject"}]
SIGNED = [{"type": "sigstoreSigned", "keyDatas": ["YQ==", "Yg=="], "signedIdentity": {"type": "matchRepository"}}]
SCOPES = ["a.example.com", "a.example.com/apps", "b.example.com:5000"]
STEPS = st.tuples(st.sampled_from(SCOPES), st.sampled_from([REJECT, SIGNED]))
SPACES = st.text(alphabet=" \t\n\r", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def written(draw: st.DrawFn, value: object) -> str:
    """A value as JSON, with any white space where there may be some."""

    def space() -> str:
        return draw(SPACES)

    if isinstance(value, dict):
        members = [
            f"{space()}{json.dumps(key, ensure_ascii=False)}{space()}:{space()}{draw(written(item))}{space()}"
            for key, item in value.items()
        ]
        return "{" + (",".join(members) or space()) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{space()}{draw(written(item))}{space()}" for item in value) or space()) + "]"
    return json.dumps(value)


@st.composite
def policies(draw: st.DrawFn) -> str:
    """The text of an owner's policy.json."""
    rules = st.dictionaries(st.sampled_from(["x.example.com", "", "y.example.com/a"]), VALUES, max_size=3)
    transports = draw(st.dictionaries(st.sampled_from(["docker", "dir", "oci"]), rules, max_size=3))
    document = draw(st.dictionaries(st.sampled_from(["default", "other"]), VALUES, max_size=2))
    keys = [*document, "transports"] if draw(st.booleans()) else list(document)
    found = {key: transports if key == "transports" else document[key] for key in draw(st.permutations(keys))}
    return draw(SPACES) + draw(written(found)) + draw(SPACES)


def again(policy: PolicyJson) -> PolicyJson:
    """As the next run reads it."""
    return PolicyJson(policy.raw, policy.record, PATH)


@given(
    policies(), st.lists(st.tuples(st.sampled_from(SCOPES), st.sampled_from([REJECT, SIGNED])), max_size=6), st.data()
)
def test_rules_that_go_again_leave_no_trace(text: str, steps: list, data: st.DataObject) -> None:
    policy = PolicyJson(text.encode(), None, PATH)
    wanted = {}
    for scope, rule in steps:
        policy = again(policy.with_rule(scope, rule))
        wanted[scope] = rule
        found = json.loads(policy.raw)
        assert {one: found["transports"]["docker"][one] for one in wanted} == wanted
        # The rest is the owner's.
        for one in wanted:
            del found["transports"]["docker"][one]
        mine = json.loads(text)
        mine.setdefault("transports", {}).setdefault("docker", {})
        assert found == mine
        assert again(policy.with_rule(scope, rule)).raw == policy.raw
    for scope in data.draw(st.permutations(SCOPES)):
        policy = again(policy.without_rule(scope))
    assert policy.raw == text.encode()
    assert policy.record is None


@given(st.permutations(SCOPES))
def test_a_file_that_was_made_goes_with_the_last_rule(order: list[str]) -> None:
    policy = PolicyJson(None, None, PATH)
    assert policy.raw is None
    for scope in SCOPES:
        policy = again(policy.with_rule(scope, SIGNED))
    assert json.loads(policy.raw)["default"] == [{"type": "insecureAcceptAnything"}]
    for scope in order:
        assert policy.raw is not None
        policy = again(policy.without_rule(scope))
    assert (policy.raw, policy.record) == (None, None)


def test_a_file_that_was_made_stays_with_what_others_have_added() -> None:
    policy = PolicyJson(None, None, PATH).with_rule(SCOPES[0], SIGNED)
    theirs = policy.raw.replace(b'"insecureAcceptAnything"', b'"reject"')
    policy = PolicyJson(theirs, policy.record, PATH).without_rule(SCOPES[0])
    assert policy.raw == DEFAULT.replace("insecureAcceptAnything", "reject").encode()


def test_a_rule_of_an_owner_is_no_rule_of_ours() -> None:
    text = json.dumps({"default": REJECT, "transports": {"docker": {SCOPES[0]: SIGNED}}})
    policy = PolicyJson(text.encode(), None, PATH)
    # One that says the same stays when ours go.
    assert policy.with_rule(SCOPES[0], SIGNED).without_rule(SCOPES[0]).raw == text.encode()
    with pytest.raises(InputError, match=f"has a rule for {SCOPES[0]} already"):
        policy.with_rule(SCOPES[0], REJECT)


def test_a_rule_that_another_has_removed_is_made_again() -> None:
    policy = PolicyJson(DEFAULT.encode(), None, PATH).with_rule(SCOPES[0], SIGNED)
    policy = PolicyJson(DEFAULT.encode(), policy.record, PATH)
    assert policy.without_rule(SCOPES[0]).raw == DEFAULT.encode()
    made = policy.with_rule(SCOPES[0], REJECT)
    assert json.loads(made.raw)["transports"]["docker"] == {SCOPES[0]: REJECT}
    assert again(made.without_rule(SCOPES[0])).raw == DEFAULT.encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("", "is empty"),
        ("[]", "does not hold a JSON object"),
        ('{"transports": 1}', '"transports" is not an object'),
        ('{"transports": {"docker": []}}', '"docker" is not an object'),
        ('{"default": [], "default": []}', "a key occurs twice"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PolicyJson(text.encode(), None, PATH)


def test_a_layout_is_kept() -> None:
    text = '{\r\n\t"default": [],\r\n\t"transports": {\r\n\t\t"docker": {\r\n\t\t\t"x": []\r\n\t\t}\r\n\t}\r\n}'
    assert PolicyJson(text.encode(), None, PATH).with_rule("a.b", REJECT).text == text.replace(
        '"x": []', '"x": [],\r\n\t\t\t"a.b": [\r\n\t\t\t\t{\r\n\t\t\t\t\t"type": "reject"\r\n\t\t\t\t}\r\n\t\t\t]'
    )
