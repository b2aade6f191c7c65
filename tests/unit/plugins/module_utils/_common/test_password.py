"""Which passwords are taken: tests/integration asks the clients what they send of the same ones."""

from __future__ import annotations

import ast

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.password import (
    check_hashed_password,
    check_password,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, check_credential
from paths import ROOT

LINES = (ROOT / "tests" / "verdicts" / "passwords.txt").read_text(encoding="utf-8").splitlines()
ROWS = [[part.strip() for part in line.split(" | ")] for line in LINES if not line.startswith("#")]


def password(text):
    return "x" * int(text.removeprefix("long ")) if text.startswith("long ") else ast.literal_eval(text)


def test_the_table_is_there():
    assert len(ROWS) > 30 and {row[1] for row in ROWS} == {row[2] for row in ROWS} == {"taken", "refused"}


@pytest.mark.parametrize(("text", "login", "user"), [row[:3] for row in ROWS])
def test_as_the_table_says(text, login, user):
    for check, verdict in ((check_password, login), (check_hashed_password, user)):
        if verdict == "taken":
            check(password(text))
            continue
        with pytest.raises(InputError) as error:
            check(password(text), "this password")
        assert str(error.value).startswith("this password ") and error.value.cure
        assert "geheim" not in str(error.value) and "heim" not in str(error.value)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_some_client_sends_is_taken_and_what_none_sends_is_not(row):
    """But for NUL, at which servers stop, and bytes that are no text, which no variable can hold."""
    sent, apart = "same" in row[3:], "\\x00" in row[0] or "\\udc" in row[0]
    assert (row[1] == "taken") is (sent and not apart)


@pytest.mark.parametrize("username", ["ci", "_json_key", "robot$team+ci", "AWS", "ü", "a b", "0000-0000"])
def test_names_of_users(username):
    check_credential(Credential(username, "geheim"))


@pytest.mark.parametrize(
    ("username", "says"),
    [
        ("", "must not be empty"),
        ("a:b", "nor hold a colon"),
        (" ci", "white space around it, which clients do not send"),
        ("ci\n", "white space around it"),
        ("ci\t", "white space around it"),
        ("c\ni", "a control character"),
        ("c\0i", "a control character"),
        ("c\x7fi", "a control character"),
        ("c\udce4i", "what is not text"),
    ],
)
def test_names_that_no_user_has(username, says):
    with pytest.raises(InputError, match=says):
        check_credential(Credential(username, "geheim"))
