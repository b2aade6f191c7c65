# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signatures of requests to S3: AWS Signature Version 4, in headers and in URLs. Private to this collection."""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.parse

# In place of the digest of a body that is sent as it comes.
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()

_ALGORITHM = "AWS4-HMAC-SHA256"


def quoted(text, safe="/"):
    """A part of an address as the signature needs it: all but letters, digits and -_.~ as percent and upper case."""
    return urllib.parse.quote(text, safe=safe)


def canonical_query(pairs):
    """The query of an address, sorted as the signature needs it. What is sent must be the same."""
    encoded = sorted((quoted(name, ""), quoted(str(value), "")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


class Signer:
    """Signs as one user for one region. The secret leaves it as signatures only."""

    def __init__(self, access_key, secret_key, region):
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        # The key of a day: it is derived in four steps.
        self._day, self._key = "", b""

    def headers(self, method, url, headers=None, payload=EMPTY, moment=None):
        """The headers of a request with those that sign it. url has the host as the request names it.

        payload is the SHA-256 of the body in hexadecimal, or UNSIGNED. moment is in seconds since 1970.
        """
        parts = urllib.parse.urlsplit(url)
        date = _date(moment)
        signed = {**(headers or {}), "x-amz-content-sha256": payload, "x-amz-date": date}
        canonical, names = _canonical_headers({**signed, "host": parts.netloc})
        text = f"{method}\n{parts.path}\n{parts.query}\n{canonical}\n{names}\n{payload}"
        credential = f"{self._access_key}/{self._scope(date)}"
        signature = self._signature(date, text)
        authorization = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return {**signed, "Authorization": authorization}

    def signed_url(self, url, seconds, moment=None):
        """A URL that may be read for so many seconds by all who know it."""
        parts = urllib.parse.urlsplit(url)
        date = _date(moment)
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query = canonical_query(
            [
                *pairs,
                ("X-Amz-Algorithm", _ALGORITHM),
                ("X-Amz-Credential", f"{self._access_key}/{self._scope(date)}"),
                ("X-Amz-Date", date),
                ("X-Amz-Expires", seconds),
                ("X-Amz-SignedHeaders", "host"),
            ]
        )
        canonical, names = _canonical_headers({"host": parts.netloc})
        text = f"GET\n{parts.path}\n{query}\n{canonical}\n{names}\n{UNSIGNED}"
        signed = f"{query}&X-Amz-Signature={self._signature(date, text)}"
        return urllib.parse.urlunsplit(parts._replace(query=signed))

    def _scope(self, date):
        return f"{date[:8]}/{self._region}/s3/aws4_request"

    def _signature(self, date, canonical):
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join([_ALGORITHM, date, self._scope(date), digest])
        return hmac.new(self._key_of(date[:8]), text.encode(), hashlib.sha256).hexdigest()

    def _key_of(self, day):
        if day != self._day:
            key = ("AWS4" + self._secret_key).encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._day, self._key = day, key
        return self._key


def _canonical_headers(headers):
    """(the headers as they are signed, their names)."""
    values = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    lines = [f"{name}:{values[name]}\n" for name in sorted(values)]
    return "".join(lines), ";".join(sorted(values))


def _date(moment):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if moment is None else moment))
