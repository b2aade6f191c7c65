from __future__ import annotations

import email.message
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import (
    Authenticator,
    Credential,
    check_credential,
    parse_challenges,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import Response
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        ([], {}),
        (['Basic realm="registry"'], {"basic": {"realm": "registry"}}),
        (["BASIC"], {"basic": {}}),
        (
            ['Bearer realm="https://auth.example.com/token",service="r.example.com",scope="repository:a/b:pull,push"'],
            {
                "bearer": {
                    "realm": "https://auth.example.com/token",
                    "service": "r.example.com",
                    "scope": "repository:a/b:pull,push",
                }
            },
        ),
        (
            ["Bearer realm=x, Service = y , error=invalid_token"],
            {"bearer": {"realm": "x", "service": "y", "error": "invalid_token"}},
        ),
        (['Negotiate, Basic realm="a \\"b\\", c"'], {"negotiate": {}, "basic": {"realm": 'a "b", c'}}),
        (['Bearer realm="x"', 'Basic realm="y"'], {"bearer": {"realm": "x"}, "basic": {"realm": "y"}}),
        (
            ['Bearer realm="x",service="s", Basic realm="y"'],
            {"bearer": {"realm": "x", "service": "s"}, "basic": {"realm": "y"}},
        ),
        (['"', "=", ",,,"], {}),
    ],
)
def test_challenges(headers, challenges):
    assert parse_challenges(headers) == challenges


@given(st.lists(st.text(max_size=60), max_size=3))
def test_any_header_is_read_without_a_failure(headers):
    assert isinstance(parse_challenges(headers), dict)


@pytest.mark.parametrize(
    "header",
    [
        "Basic a=b" + " " * 60000 + '"',
        "Basic" + " " * 60000 + '"',
        "Basic a=b" + " ," * 30000 + '"',
        "Basic " + "a" * 60000 + '"',
        'Basic a="' + "\\" * 60000,
    ],
)
def test_a_header_that_is_made_to_take_long_does_not(header):
    began = time.process_time()
    assert "basic" in parse_challenges([header])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("life", ["1" + "0" * 400, "NaN", "Infinity", "-Infinity", "1e999", "-5", "0"])
def test_a_token_that_lives_absurdly_long_is_taken_for_a_short_one(life):
    answer = Response(200, email.message.Message(), f'{{"token": "abc", "expires_in": {life}}}'.encode(), "http://h/")
    assert Authenticator(None, "r.example.com")._parse(answer, "http://h/") == ("abc", 60)


def test_basic_is_utf_8():
    assert Credential("ü", "pß").basic == "Basic w7w6cMOf"


@pytest.mark.parametrize(
    ("username", "password"),
    [("", "x"), ("a:b", "x"), ("a", ""), ("a\n", "x"), ("a", "geheim\n"), ("a", "geheim\0"), ("a", "geheim\ud800")],
)
def test_what_no_client_could_send(username, password):
    with pytest.raises(InputError) as error:
        check_credential(Credential(username, password))
    assert "geheim" not in str(error.value)
