"""HTTP on the wire: what this reader makes of an answer is what http.client makes of it, or an error."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import (
    Answer,
    TooLongError,
    request_bytes,
)
from hypothesis import example, given
from hypothesis import strategies as st

LIMIT = 100
METHODS = st.sampled_from(["GET", "HEAD", "PUT"])
TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x85\xa0"), max_size=12)
SEPARATE = frozenset(["content-length", "transfer-encoding", "connection", "content-type"])
NAMES = TOKENS.filter(lambda name: name.lower() not in SEPARATE)


class Wire:
    """A connection on which some bytes come, in pieces of these sizes, and then its end."""

    def __init__(self, content, sizes=()):
        self._content = io.BytesIO(content)
        self._sizes = itertools.chain(sizes, itertools.repeat(1 << 20))

    def receive(self, size):
        return self._content.read(min(size, next(self._sizes)))

    def makefile(self, _mode):
        return self._content


def ours(content, method="GET", sizes=(), limit=LIMIT):
    return Answer(Wire(content, sizes).receive, method, limit)


def theirs(content, method="GET"):
    answer = http.client.HTTPResponse(Wire(content), method=method)
    answer.begin()
    return answer, answer.read()


def spaced(value):
    """A value without what has no meaning: spaces around it, and how a long one is folded."""
    return " ".join(value.split())


@st.composite
def bodies(draw):
    """(headers, body) in one of the forms of HTTP."""
    body = draw(st.binary(max_size=40))
    form = draw(st.sampled_from(["length", "chunks", "end"]))
    if form == "length":
        return [("Content-Length", str(len(body)))], body
    if form == "end":
        return [], body
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    parts = [body[low:high] for low, high in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    extension = draw(st.sampled_from([b"", b";a=b", b" ; a"]))
    chunks = [b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts if part]
    end = draw(st.sampled_from([b"0\r\n\r\n", b"000\r\nA-Trailer: b\r\n\r\n"]))
    return [("transfer-encoding", draw(st.sampled_from(["chunked", "Chunked"])))], b"".join([*chunks, end])


@st.composite
def answers(draw):
    """A right answer, of any form."""
    headers, body = draw(bodies())
    headers += draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))
    headers += draw(st.sampled_from([[], [("Connection", "close")], [("connection", "keep-alive")]]))
    headers += draw(st.sampled_from([[], [("Content-Type", "Application/JSON; charset=utf-8")]]))
    status = draw(st.sampled_from([200, 201, 204, 206, 301, 304, 401, 404, 429, 500, 599]))
    version, reason = draw(st.sampled_from(["1.0", "1.1"])), draw(st.sampled_from(["", " ", " OK", " Not Found"]))
    end = draw(st.sampled_from(["\r\n", "\n"]))
    lines = [
        f"HTTP/{version} {status}{reason}",
        *(f"{name}: {value}" for name, value in draw(st.permutations(headers))),
    ]
    interim = draw(st.sampled_from(["", "HTTP/1.1 100 Continue\r\n\r\n"]))
    return interim.encode() + end.join([*lines, "", ""]).encode("latin-1") + body


@st.composite
def noise(draw):
    """A right answer, of which some bytes are others."""
    content = draw(answers())
    for _change in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        gone = draw(st.integers(0, 3))
        new = draw(
            st.sampled_from(
                [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"0", b"f", b"\0", b",", b";", b"-", b"chunked"]
            )
        )
        content = content[:place] + new + content[place + gone :]
    return content


def assert_same(content, method, sizes=()):
    mine = ours(content, method, sizes)
    # http.client reads chunks also where the protocol has no body.
    answer, body = theirs(content, "HEAD" if mine.status in (204, 304) else method)
    assert (mine.status, mine.body) == (answer.status, body)
    names = {name.lower() for name in answer.headers}
    for name in names:
        values = [spaced(value) for value in answer.headers.get_all(name)]
        assert [spaced(value) for value in mine.headers.get_all(name)] == values
        assert name.upper() in mine.headers
    assert spaced(mine.headers.get_content_type()) == spaced(answer.headers.get_content_type())
    assert mine.closes or not answer.will_close


@given(answers(), METHODS, st.lists(st.integers(1, 9), max_size=60))
def test_a_right_answer_is_read_as_http_client_reads_it(content, method, sizes):
    assert_same(content, method, sizes)


@given(noise(), METHODS, st.lists(st.integers(1, 9), max_size=60))
# A header that is folded, and one that is not there.
@example(b"HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nContent-Length: 0\r\n\r\n", "GET", [])
@example(b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nab", "GET", [])
def test_any_other_is_read_as_http_client_reads_it_or_refused(content, method, sizes):
    try:
        status = ours(content, method, sizes).status
    except (http.client.HTTPException, TooLongError):
        return
    # http.client ends with the first answer that is not 100, such as 103, which announces another one.
    if not content.startswith(b"HTTP/1.1 1") or status < 200:
        assert_same(content, method, sizes)


@given(st.one_of(answers(), noise()), METHODS, st.lists(st.integers(1, 9), max_size=60))
def test_what_is_streamed_is_what_is_read_whole(content, method, sizes):
    def read(stream):
        try:
            answer = Answer(Wire(content, sizes).receive, method, 1 << 20, stream)
            body = b"".join(answer.pieces()) if answer.body is None else answer.body
        except http.client.HTTPException as error:
            return type(error)
        return answer.status, body, answer.closes

    assert read(stream=True) == read(stream=False)


def test_a_part_of_a_long_body_is_all_that_is_held():
    """Of a body in one chunk of a gibibyte, as many bytes are there as came."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n"
    pieces = Answer(Wire(head + b"abc" * 100, [len(head) + 3, 7, 50]).receive, "GET", 0, stream=True).pieces()
    assert [len(next(pieces)) for _piece in range(3)] == [3, 7, 50]
    with pytest.raises(http.client.IncompleteRead):
        list(pieces)


@given(st.binary(max_size=60))
def test_anything_ends_in_an_answer_or_an_error(content):
    with contextlib.suppress(http.client.HTTPException, TooLongError):
        ours(content)


def test_an_answer_after_early_hints():
    content = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\nA: b\r\n\r\n"
    answer = ours(content)
    assert (answer.status, answer.headers.get("a"), answer.headers.get("link")) == (204, "b", None)


def test_bytes_after_the_answer_are_not_the_next_one():
    answer = ours(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n")
    assert answer.body == b"ab"
    assert answer.closes


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 101\r\n\r\n" + bytes(101),
        b"Content-Length: 999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n33\r\n" + bytes(51) + b"\r\n32\r\n" + bytes(50) + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
        b"\r\n" + bytes(101),
    ],
)
def test_more_than_the_limit(body):
    with pytest.raises(TooLongError):
        ours(b"HTTP/1.1 200 OK\r\n" + body)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"HTTP/1.1 200", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", http.client.IncompleteRead),
        (b"\x15\x03\x01\x00\x02\x02", http.client.BadStatusLine),
    ],
)
def test_what_was_cut_short_is_told_from_what_is_not_http(content, error):
    with pytest.raises(error):
        ours(content)


def test_a_request():
    headers = {"User-Agent": "wharf", "Authorization": "Basic Zm9v"}
    assert request_bytes("GET", "/v2/", "r.test:5000", headers, None) == (
        b"GET /v2/ HTTP/1.1\r\nHost: r.test:5000\r\nAccept-Encoding: identity\r\n"
        b"User-Agent: wharf\r\nAuthorization: Basic Zm9v\r\n\r\n"
    )
    assert request_bytes("POST", "/v2/", "r", {}, None).endswith(b"Content-Length: 0\r\n\r\n")
    assert request_bytes("PUT", "/v2/", "r", {}, b"\r\n").endswith(b"Content-Length: 2\r\n\r\n\r\n")


@pytest.mark.parametrize("target", ["/a b", "/a\r\nB: c", "/\x00", "/\x7f"])
def test_a_target_that_is_none(target):
    with pytest.raises(ValueError, match="spaces or control characters"):
        request_bytes("GET", target, "r", {}, None)


@pytest.mark.parametrize("value", ["geheim\r\nB: c", "geheim\n", "geheim\0"])
def test_a_header_that_breaks_out_is_refused_and_not_shown(value):
    with pytest.raises(ValueError, match="the header Authorization has a line break") as error:
        request_bytes("GET", "/", "r", {"Authorization": value}, None)
    assert "geheim" not in str(error.value)
