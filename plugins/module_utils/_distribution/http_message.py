# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 on the wire: a request as bytes, and an answer that is read from a connection. Private to this collection.

http.client parses the headers of an answer as an e-mail, which is more than a third of the time of a long listing. This
reader accepts less than http.client: an answer that clients may understand differently is an HTTPException.
"""

from __future__ import annotations

import http.client
import re

# Bytes that are read at once, and those that the head of an answer may have.
_PIECE = 64 << 10
_LONGEST_HEAD = 64 << 10
_MOST_HEADERS = 100
# A line of a chunked body: a size and its extensions, or a trailer.
_LONGEST_LINE = 16 << 10

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?\r?\Z")
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)\r?\n")
# Obsolete line folding of header values.
_FOLD = re.compile(r"\r?\n[ \t]+")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\Z")
_UNFIT_TARGET = re.compile(r"[\x00-\x20\x7f]")
_UNFIT_VALUE = re.compile(r"[\x00\r\n]")
# Answers with a body that may be too large to hold: the whole of something, or a part.
_STREAMED = frozenset([200, 206])
# Requests that have a body, if only an empty one.
_WITH_BODY = frozenset(["PATCH", "POST", "PUT"])


class TooLongError(Exception):
    """More came than the limit allows."""


class Upload:
    """A body that is sent in pieces as they come, size bytes in all. It can be sent once."""

    def __init__(self, size, pieces):
        self.size = size
        self.pieces = pieces


class Headers:
    """The headers of an answer. Names are the same in any case, and one may have several values."""

    def __init__(self, text):
        """Parses lines that each end with a line feed. Raises http.client.HTTPException for one that is no header."""
        self._values = {}
        if "\n " in text or "\n\t" in text:
            text = _FOLD.sub(" ", text)
        end = 0
        while end < len(text):
            found = _HEADER.match(text, end)
            if found is None:
                raise http.client.HTTPException("a line that is no header")
            self._values.setdefault(found[1].lower(), []).append(found[2].rstrip(" \t"))
            end = found.end()

    def __contains__(self, name):
        return name.lower() in self._values

    def get(self, name, default=None):
        """The first value."""
        return self._values.get(name.lower(), [default])[0]

    def get_all(self, name):
        """All values, or None."""
        return self._values.get(name.lower())

    def get_content_type(self):
        """The media type in lower case, without parameters; text/plain where none is named."""
        named = self.get("Content-Type", "").partition(";")[0].strip().lower()
        return named if named.count("/") == 1 else "text/plain"


def request_bytes(method, target, host, headers, body):
    """A request, without its body where that is an Upload.

    Raises ValueError, which tells no value of a header, where one would break out of its line.
    """
    if _UNFIT_TARGET.search(target):
        raise ValueError("its address has spaces or control characters")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    streamed = isinstance(body, Upload)
    if body is not None or method in _WITH_BODY:
        lines.append(f"Content-Length: {body.size if streamed else len(body or b'')}")
    for name, value in headers.items():
        if _UNFIT_VALUE.search(value):
            raise ValueError(f"the header {name} has a line break")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if streamed else body or b"")


class Answer:
    """An answer: status, headers, body, and whether the connection ends with it."""

    def __init__(self, receive, method, limit, stream=False):
        """Reads it. receive(size) returns some bytes, at most size of them, and none once the server has closed.

        With stream, the body of a success is left to pieces(), and is None. Raises http.client.HTTPException,
        TooLongError where the body has more bytes than the limit, and whatever receive raises.
        """
        self._receive = receive
        self._limit = limit
        self._buffer = b""
        self._read_head()
        while self.status < 200:
            # After 101 comes no HTTP, and nothing here asks for that.
            if self.status == 101:
                raise http.client.HTTPException("another protocol")
            self._read_head()
        if stream and method != "HEAD" and self.status in _STREAMED:
            self.body = None
            return
        self.body = self._read_body(method)
        self._end()

    def pieces(self):
        """Yields the body that was not read, once. Raises as reading does."""
        chunked, length = self._framing()
        if chunked:
            for size in self._chunk_sizes():
                yield from self._pieces_of(size)
        elif length is None:
            piece = self._buffer or self._receive(_PIECE)
            self._buffer = b""
            while piece:
                yield piece
                piece = self._receive(_PIECE)
        else:
            yield from self._pieces_of(length)
        self._end()

    def _end(self):
        # Bytes that no request has asked for are no part of the next answer.
        self.closes = self.closes or bool(self._buffer)

    # --- the head -----------------------------------------------------------------------------------------------------

    def _read_head(self):
        end = _END_OF_HEAD.search(self._buffer)
        while end is None and len(self._buffer) <= _LONGEST_HEAD:
            self._check_begin()
            piece = self._receive(_PIECE)
            if not piece:
                raise self._broken_off()
            before = max(0, len(self._buffer) - 2)
            self._buffer += piece
            end = _END_OF_HEAD.search(self._buffer, before)
        if end is None or end.start() > _LONGEST_HEAD:
            raise http.client.LineTooLong("headers")
        status_line, _newline, lines = self._buffer[: end.start() + 1].decode("latin-1").partition("\n")
        self._buffer = self._buffer[end.end() :]
        found = _STATUS_LINE.match(status_line)
        if found is None:
            raise http.client.BadStatusLine(status_line)
        if lines.count("\n") > _MOST_HEADERS:
            raise http.client.HTTPException(f"more than {_MOST_HEADERS} headers")
        self.status = int(found[2])
        self.headers = Headers(lines)
        self.closes = self._will_close(is_old=found[1] == "0")

    def _check_begin(self):
        # What is not HTTP may never send the end of a line.
        if self._buffer and not b"HTTP/".startswith(self._buffer[:5]):
            raise http.client.BadStatusLine(self._buffer[:100])

    def _broken_off(self):
        if not self._buffer:
            return http.client.RemoteDisconnected("no answer")
        return http.client.IncompleteRead(b"")

    def _will_close(self, *, is_old):
        said = ",".join(self.headers.get_all("Connection") or []).lower()
        return "close" in said or (is_old and "keep-alive" not in said)

    # --- the body -----------------------------------------------------------------------------------------------------

    def _framing(self):
        """(whether it comes in chunks, its bytes or None). Decides whether the connection ends with it."""
        chunked, length = self._headers_of_body()
        if chunked == (length is not None):
            # With both headers, an intermediary may have ignored one of them; with none, the body ends with it.
            self.closes = True
        return chunked, length

    def _headers_of_body(self):
        return self._is_chunked(), self._length()

    def _read_body(self, method):
        if method == "HEAD" or self.status in (204, 304):
            # What the headers say of a body must be possible all the same.
            self._headers_of_body()
            return b""
        chunked, length = self._framing()
        if chunked:
            return b"".join(self._chunks())
        return self._to_the_end() if length is None else self._exactly(length, self._limit)

    def _is_chunked(self):
        codings = self.headers.get_all("Transfer-Encoding")
        if codings is not None and [coding.lower() for coding in codings] != ["chunked"]:
            raise http.client.HTTPException("an unknown transfer coding")
        return codings is not None

    def _length(self):
        lengths = set(self.headers.get_all("Content-Length") or [])
        if not lengths:
            return None
        length, *others = lengths
        if others or not re.match(r"[0-9]{1,18}\Z", length):
            raise http.client.HTTPException("an impossible Content-Length")
        return int(length)

    def _exactly(self, length, limit):
        # No more than the limit is read, whatever the server announces.
        if length > limit:
            raise TooLongError
        if len(self._buffer) >= length:
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            return body
        parts, left = [self._buffer], length - len(self._buffer)
        self._buffer = b""
        while left:
            piece = self._receive(min(_PIECE, left))
            if not piece:
                raise http.client.IncompleteRead(b"", left)
            parts.append(piece)
            left -= len(piece)
        return b"".join(parts)

    def _to_the_end(self):
        parts, size = [self._buffer], len(self._buffer)
        self._buffer = b""
        while size <= self._limit:
            piece = self._receive(_PIECE)
            if not piece:
                return b"".join(parts)
            parts.append(piece)
            size += len(piece)
        raise TooLongError

    def _pieces_of(self, length):
        """Yields so many bytes as they come."""
        while length:
            if self._buffer:
                piece, self._buffer = self._buffer[:length], self._buffer[length:]
            else:
                piece = self._receive(min(_PIECE, length))
            if not piece:
                raise http.client.IncompleteRead(b"", length)
            length -= len(piece)
            yield piece

    def _chunks(self):
        left = self._limit
        for size in self._chunk_sizes():
            yield self._exactly(size, left)
            left -= size

    def _chunk_sizes(self):
        """Yields the size of each chunk. The caller reads as many bytes before it asks for the next one."""
        while True:
            found = _SIZE.match(self._read_line())
            if found is None:
                raise http.client.HTTPException("an impossible size of a chunk")
            size = int(found[1], 16)
            if size == 0:
                break
            yield size
            if self._exactly(2, 2) != b"\r\n":
                raise http.client.HTTPException("a chunk that is longer than its size")
        for _trailer in range(_MOST_HEADERS):
            if not self._read_line():
                return
        raise http.client.HTTPException(f"more than {_MOST_HEADERS} trailers")

    def _read_line(self):
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_LINE:
                raise http.client.LineTooLong("chunk")
            piece = self._receive(_PIECE)
            if not piece:
                raise http.client.IncompleteRead(b"")
            self._buffer += piece
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        return line[:-1] if line.endswith(b"\r") else line
