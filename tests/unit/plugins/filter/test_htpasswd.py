from __future__ import annotations

import bcrypt
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

COST = 4  # the cheapest that bcrypt has


@pytest.fixture
def htpasswd(plugin):
    return plugin("filter", "htpasswd").htpasswd


def entries(text):
    return dict(line.split(":", 1) for line in text.splitlines())


def test_each_user_can_log_in_with_their_own_password_only(htpasswd):
    hashes = entries(htpasswd([{"name": "ci", "password": "one"}, {"name": "runtime", "password": "two"}], cost=COST))
    assert list(hashes) == ["ci", "runtime"]
    assert bcrypt.checkpw(b"one", hashes["ci"].encode())
    assert not bcrypt.checkpw(b"two", hashes["ci"].encode())
    assert bcrypt.checkpw(b"two", hashes["runtime"].encode())


def test_only_what_changed_is_written_anew(htpasswd):
    before = htpasswd([{"name": "a", "password": "1"}, {"name": "b", "password": "2"}], cost=COST)
    after = htpasswd([{"name": "a", "password": "1"}, {"name": "b", "password": "3"}], current=before, cost=COST)
    assert entries(after)["a"] == entries(before)["a"]
    assert entries(after)["b"] != entries(before)["b"]
    assert bcrypt.checkpw(b"3", entries(after)["b"].encode())


def test_another_cost_makes_another_hash(htpasswd):
    user = [{"name": "a", "password": "1"}]
    before = htpasswd(user, cost=COST)
    after = htpasswd(user, current=before, cost=COST + 1)
    assert entries(after)["a"].startswith(f"$2b${COST + 1:02}$")


def test_users_who_are_not_listed_are_gone(htpasswd):
    before = htpasswd([{"name": "a", "password": "1"}, {"name": "b", "password": "2"}], cost=COST)
    assert list(entries(htpasswd([{"name": "a", "password": "1"}], current=before, cost=COST))) == ["a"]


@pytest.mark.parametrize(
    "current",
    ["a", "a:", "a:plain", "a:$apr1$x$y", "a:$2b$04$short", ":::\n\n", "a:$2b$04$" + "é" * 53],
)
def test_a_file_that_holds_something_else_is_replaced(htpasswd, current):
    hashes = entries(htpasswd([{"name": "a", "password": "1"}], current=current, cost=COST))
    assert bcrypt.checkpw(b"1", hashes["a"].encode())


@pytest.mark.parametrize(
    ("users", "says"),
    [
        ([{"name": "a:b", "password": "1"}], "'a:b'"),
        ([{"name": "a\nb", "password": "1"}], "not allowed"),
        ([{"name": "", "password": "1"}], "''"),
        ([{"password": "1"}], "''"),
        ([{"name": "a"}], "'a' has no password"),
        ([{"name": "a", "password": ""}], "the password of user 'a' is empty"),
        ([{"name": "a", "password": "1\n"}], "the password of user 'a' ends with a line feed, which no client sends"),
        ([{"name": "a", "password": "1\r\n"}], "ends with a line feed"),
        ([{"name": "a", "password": "1\r"}], "ends with a carriage return"),
        ([{"name": "a", "password": "1\n\n"}], "ends with a line feed"),
        ([{"name": "a", "password": "1\0002"}], "holds a NUL character"),
        ([{"name": "a", "password": "1\udce4"}], "holds what is not text"),
        ([{"name": "a", "password": "1"}, {"name": "a", "password": "2"}], "'a' is listed twice"),
        ([{"name": "a", "password": "x" * 73}], "72 bytes"),
        ([{"name": "a", "password": "é" * 37}], "72 bytes"),
    ],
)
def test_what_can_not_be_a_user_is_named_and_the_password_is_not(htpasswd, users, says):
    with pytest.raises(AnsibleFilterError) as error:
        htpasswd(users, cost=COST)
    assert says in str(error.value)
    assert "xxx" not in str(error.value)


@settings(max_examples=25, deadline=None)
@given(
    password=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=18).filter(
        lambda text: not text.endswith(("\n", "\r"))
    )
)
def test_any_password_is_kept_on_a_second_run(plugin, password):
    htpasswd = plugin("filter", "htpasswd").htpasswd
    first = htpasswd([{"name": "a", "password": password}], cost=COST)
    assert htpasswd([{"name": "a", "password": password}], current=first, cost=COST) == first


def test_what_new_passwords_replace_is_kept(plugin, htpasswd):
    htpasswd_former = plugin("filter", "htpasswd").htpasswd_former

    def user(name, password):
        return {"name": name, "password": password}

    current = htpasswd([user("a", "1"), user("b", "2"), user("gone", "3")], cost=COST)
    now = entries(current)
    former = htpasswd_former([user("a", "1"), user("b", "new"), user("c", "4")], current=current)
    assert entries(former) == {"b": now["b"]}
    # Run again, once the file has the new ones.
    after = htpasswd([user("a", "1"), user("b", "new"), user("c", "4")], current=current, cost=COST)
    assert htpasswd_former([user("a", "1"), user("b", "new")], current=after, former=former) == former
    # Back again: the two change places.
    back = htpasswd_former([user("b", "2")], current=after, former=former)
    assert entries(back) == {"b": entries(after)["b"]}
    # A third one would end the first, which hosts may have that have not moved yet.
    with pytest.raises(AnsibleFilterError, match="user 'b' is changed again") as raised:
        htpasswd_former([user("b", "newest")], current=after, former=former)
    assert "newest" not in str(raised.value)
    # Who is gone has none.
    assert htpasswd_former([user("a", "1")], current=after, former=former) == ""
