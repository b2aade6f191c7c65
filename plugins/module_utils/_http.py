# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP with kept-alive connections, time limits that hold, retries and redirects. Private to this collection.

An answer of any status is a Response; an exception means that there was no answer that could be used.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import email.utils
import errno
import functools
import glob
import http.client
import io
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._proxy import proxy_for

# Bytes of an answer that is held in memory. The distribution project takes manifests of up to 4 MiB.
BODY_LIMIT = 4 << 20

_CHUNK = 64 << 10
_LONGEST_TIMEOUT = 86400  # seconds
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset([301, 302, 303, 307, 308])
_BUSY = frozenset([429, 502, 503, 504])
_REPEATABLE = frozenset(["GET", "HEAD", "PUT", "DELETE"])

# Where Docker and Podman look for the CAs (*.crt) and the client certificates (*.cert with *.key) of one registry.
CERTIFICATE_DIRECTORIES = (
    "/etc/docker/certs.d",
    "/etc/containers/certs.d",
    "~/.config/docker/certs.d",
    "~/.config/containers/certs.d",
)

# OpenSSL's numbers of what can be wrong with a certificate.
_EXPIRED = 10
_NOT_YET_VALID = 9
_UNKNOWN_CA = frozenset([2, 18, 19, 20, 21])
_OTHER_NAME = frozenset([62, 63, 64])
_VERIFY_X509_PARTIAL_CHAIN = 0x80000  # in the ssl module since Python 3.10
_VERIFY_X509_STRICT = 0x20

# How OpenSSL words that what came was no TLS at all.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
# What is wrong with a proxy, where there is one.
_OF_THE_WAY = frozenset(["no_such_name", "refused", "timed_out", "no_route"])
_TLS_ALERT = b"\x15\x03"


class UnreachableError(RegistryError):
    """No answer came."""


class AnswerError(RegistryError):
    """An answer came that breaks the rules: cut short, too long, not HTTP, a redirect that leads nowhere."""


def check_timeout(seconds):
    """Raises InputError for a time limit that is none."""
    if not 1 <= seconds <= _LONGEST_TIMEOUT:
        raise InputError(f"timeout is {seconds}", f"Give seconds, from 1 to {_LONGEST_TIMEOUT}")


class Response:
    """The status, headers and body of an answer, and the URL that gave it."""

    def __init__(self, status, headers, body, url):
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url


class Trust:
    """Whom to trust, and what to show: the TLS settings of all connections to one registry.

    Without ca_path these are the system's CAs, and those that Docker and Podman trust for this registry.
    """

    def __init__(self, host, ca_path=None, client_cert=None, client_key=None, validate_certs=True):
        self._host = host
        self._ca_path = ca_path
        self._client_cert = client_cert
        self._client_key = client_key
        self._validate_certs = validate_certs
        self._context = None
        self._lock = threading.Lock()

    @property
    def context(self):
        """The ssl.SSLContext. Raises InputError that names the file at fault."""
        # Reading the CAs of a system takes as long as a dozen requests: once will do for all threads.
        with self._lock:
            if self._context is None:
                self._context = self._make()
            return self._context

    def _make(self):
        context = self._verifying() if self._validate_certs else ssl.create_default_context()
        if not self._validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for certificate, key in self._client_certificates():
            _read("client certificate", certificate, context.load_cert_chain, certificate, key, _no_passphrase)
        return context

    def _verifying(self):
        if self._ca_path:
            context = _read("ca_path", self._ca_path, lambda: ssl.create_default_context(cafile=self._ca_path))
        else:
            context = ssl.create_default_context()
            for path in self._of_registry("*.crt"):
                _read("CA", path, context.load_verify_locations, path)
        # The rules of Docker and Podman, whatever Python runs this: any certificate that is trusted ends the chain,
        # a name in the subject does not count, and a CA without the newest extensions is a CA.
        context.verify_flags = (context.verify_flags | _VERIFY_X509_PARTIAL_CHAIN) & ~_VERIFY_X509_STRICT
        context.hostname_checks_common_name = False
        return context

    def _client_certificates(self):
        if self._client_cert:
            return [(self._client_cert, self._client_key)]
        pairs = [(path, path[: -len("cert")] + "key") for path in self._of_registry("*.cert")]
        # Docker may keep keys that only root can read: such a pair is not for this account.
        return [pair for pair in pairs if all(os.access(path, os.R_OK) for path in pair)]

    def _of_registry(self, pattern):
        folders = [os.path.join(os.path.expanduser(folder), self._host) for folder in CERTIFICATE_DIRECTORIES]
        return [path for folder in folders for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))]


def _no_passphrase():
    """Keeps OpenSSL from asking for one on the terminal."""
    return ""


def _read(what, path, load, *arguments):
    try:
        return load(*arguments)
    except ssl.SSLError as error:
        raise InputError(
            f"{what} {path} can't be used: {error.reason or error}",
            "It must hold certificates in PEM, and its key must fit it and have no passphrase",
        ) from None
    except OSError as error:
        raise InputError(
            f"{what} {path} can't be read: {error.strerror or error}",
            "Correct the path, or the permissions of the file",
        ) from None


class _Deadline(io.RawIOBase):
    """Reads from a socket, and gives up when the whole answer takes too long, however steadily it drips."""

    def __init__(self, sock, file, deadline):
        super().__init__()
        self._socket = sock
        self._file = file
        self._deadline = deadline

    def readable(self):
        return True

    def readinto(self, buffer):
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)

    def close(self):
        # The socket itself is closed when the last file that was made of it is.
        self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An HTTPResponse that reads through _Deadline."""

    def __init__(self, sock, *arguments, deadline, **options):
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Deadline(sock, self.fp, deadline), _CHUNK)


class _Https(http.client.HTTPConnection):
    """HTTPS in two steps, TCP and TLS. Asks proxies for IPv6 addresses in brackets, as Python does only since 3.12."""

    default_port = 443

    def __init__(self, host, port, timeout, trust, server):
        super().__init__(host, port, timeout=timeout)
        self._trust = trust
        self._server = server

    def connect(self):
        self.reach()
        self.secure()

    def reach(self):
        super().connect()

    def secure(self):
        self.sock = self._trust.context.wrap_socket(self.sock, server_hostname=self._server)

    def _tunnel(self):
        host = self._tunnel_host
        self._tunnel_host = f"[{host}]" if ":" in host else host
        try:
            super()._tunnel()
        finally:
            self._tunnel_host = host


class _Connection:
    """One connection to one server, direct or by the proxy of the environment."""

    def __init__(self, scheme, netloc, trust, timeout):
        host, port = _split(netloc)
        self.used = False
        self._timeout = timeout
        self._prefix = ""
        self._proxy_headers = {}
        proxy = proxy_for(scheme, netloc)
        to_host, to_port = (host, port) if proxy is None else (proxy.hostname, proxy.port or 80)
        if scheme == "https":
            self._client = _Https(to_host, to_port or 443, timeout, trust, host)
            if proxy is not None:
                self._client.set_tunnel(host, port or 443, _proxy_authorization(proxy))
        else:
            # Always with a port: without one, the end of an IPv6 address is taken for it.
            self._client = http.client.HTTPConnection(to_host, to_port or 80, timeout=timeout)
            if proxy is not None:
                self._prefix = f"{scheme}://{netloc}"
                self._proxy_headers = _proxy_authorization(proxy)

    def close(self):
        self._client.close()

    @property
    def address(self):
        """Host and port that are connected to: the server's, or the proxy's."""
        return self._client.host, self._client.port

    def reach(self):
        """Connects, by the proxy where there is one, and does not speak TLS yet."""
        (self._client.reach if isinstance(self._client, _Https) else self._client.connect)()

    def secure(self):
        """Begins TLS on a connection that is there, as a request would by itself, and returns its version."""
        self._client.secure()
        return self._client.sock.version()

    def certificate(self):
        sock = self._client.sock
        return (isinstance(sock, ssl.SSLSocket) and sock.getpeercert(True)) or b""

    def exchange(self, method, target, headers, body, limit):
        """(status, headers, body) of the answer, within the time limit as a whole."""
        deadline = time.monotonic() + self._timeout
        self._client.response_class = functools.partial(_Answer, deadline=deadline)
        if self._client.sock is not None:
            self._client.sock.settimeout(self._timeout)
        self._client.request(method, self._prefix + target, body=body, headers={**headers, **self._proxy_headers})
        answer = self._client.getresponse()
        self.used = True
        content = _body(answer, limit)
        if answer.will_close:
            self.close()
        return answer.status, answer.headers, content


def _body(answer, limit):
    # No more than the limit is read, whatever the server announces or sends.
    announced = answer.length
    if announced is not None and announced > limit:
        raise _TooLongError
    parts, size = [], 0
    while True:
        part = answer.read(min(_CHUNK, limit + 1 - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _TooLongError
    if announced is not None and size < announced:
        raise http.client.IncompleteRead(b"", announced - size)
    return b"".join(parts)


class _TooLongError(Exception):
    """More came than the limit allows."""


def resolved(host, port, timeout):
    """The addresses of a name. The resolver has no time limit of its own that could be set."""
    results = []

    def ask():
        try:
            results.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            results.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if not results:
        raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {timeout} seconds")
    if isinstance(results[0], Exception):
        raise results[0]
    return list(dict.fromkeys(found[4][0] for found in results[0]))


def _split(netloc):
    parts = urllib.parse.urlsplit("//" + netloc)
    return parts.hostname, parts.port


def _by(scheme, netloc):
    """Who else may be at fault, for a message."""
    try:
        proxy = proxy_for(scheme, netloc)
    except (InputError, ValueError):
        # It is this address, or the proxy's, that is at fault.
        proxy = None
    return "" if proxy is None else f" (by the HTTP proxy {proxy.netloc.rpartition('@')[2]})"


def _proxy_authorization(proxy):
    if proxy.username is None:
        return {}
    pair = (urllib.parse.unquote(part) for part in (proxy.username, proxy.password or ""))
    return {"Proxy-Authorization": "Basic " + encoded_pair(*pair)}


def encoded_pair(username, password):
    """A user and a password as they stand in an Authorization header and in the auth field of config.json."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


class Client:
    """Sends requests, and keeps one connection to each server alive. Each thread needs a client of its own.

    timeout is in seconds, for one request from the connection to the last byte. A server that is busy is asked
    again, at most `attempts` times in all, and all waits together are no longer than the timeout.
    """

    def __init__(self, trust, timeout=30, attempts=3):
        self._trust = trust
        self._timeout = timeout
        self._attempts = attempts
        self._connections = {}

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def step(self, name, url):
        """Takes one step towards a server, for whoever wants to know which one fails, and returns what is said of it.

        The steps are name, connection and TLS, in this order. The requests that follow use the connection. Raises
        RegistryError.
        """
        scheme, netloc = urllib.parse.urlsplit(url)[:2]
        try:
            return getattr(self, f"_step_{name.lower()}")(scheme, netloc)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._forget(scheme, netloc)
            by = _by(scheme, netloc)
            explained = _explained(error, scheme, netloc + by, self._timeout, BODY_LIMIT)
            if by and explained.mistake in _OF_THE_WAY:
                explained.cure = f"Correct {scheme.upper()}_PROXY, or add the registry to NO_PROXY"
                explained.mistake = "proxy"
            raise explained from None

    def _step_name(self, scheme, netloc):
        host, port = self._connection(scheme, netloc).address
        found = resolved(host, port, self._timeout)
        return f"{host} is {', '.join(found)}" + _by(scheme, netloc)

    def _step_connection(self, scheme, netloc):
        connection = self._connection(scheme, netloc)
        connection.reach()
        return "{}:{} accepts connections".format(*connection.address) + _by(scheme, netloc)

    def _step_tls(self, scheme, netloc):
        return f"{netloc} speaks {self._connection(scheme, netloc).secure()}, and its certificate is trusted"

    def certificate(self, url):
        """The certificate that a server shows, as DER, once TLS was begun; empty where there is none to see."""
        scheme, netloc = urllib.parse.urlsplit(url)[:2]
        return self._connection(scheme, netloc).certificate()

    def request(self, method, url, headers=None, body=None, limit=BODY_LIMIT):
        """The Response, after redirects. Raises UnreachableError or AnswerError, and never shows a header or a body."""
        asked, headers = url, {"User-Agent": "wharf.registry", **(headers or {})}
        for _redirect in range(_MOST_REDIRECTS + 1):
            try:
                response = self._persist(method, url, headers, body, limit)
            except RegistryError as error:
                if url != asked:
                    error.message = f"{_server(asked)} redirects to {_server(url)}. {error.message}"
                raise
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            url, headers = _redirected(response, headers)
        raise AnswerError(
            f"{_server(url)} redirects more than {_MOST_REDIRECTS} times", "Look at the proxies before the registry"
        )

    def _persist(self, method, url, headers, body, limit):
        patience = self._timeout
        attempt = 1
        while True:
            try:
                response = self._once(method, url, headers, body, limit)
            except (UnreachableError, AnswerError) as error:
                # An answer that was cut short may be whole the next time; all else stays as it is.
                if not getattr(error, "passing", False) or method not in _REPEATABLE or attempt >= self._attempts:
                    raise
                pause = _backoff(attempt)
            else:
                busy = response.status in _BUSY or (response.status == 500 and method in _REPEATABLE)
                if not busy or attempt >= self._attempts:
                    return response
                asked = retry_after(response)
                pause = _backoff(attempt) if asked is None else asked
                if pause > patience:
                    return response
            time.sleep(pause)
            patience -= pause
            attempt += 1

    def _once(self, method, url, headers, body, limit):
        scheme, netloc, path, query, _fragment = urllib.parse.urlsplit(url)
        # What a redirect or a token server's address may hold before the @ is nobody's to use, nor to see.
        netloc = netloc.rpartition("@")[2]
        target = (path or "/") + ("?" + query if query else "")
        try:
            connection = self._connection(scheme, netloc)
            try:
                answer = connection.exchange(method, target, headers, body, limit)
            except (ConnectionError, http.client.RemoteDisconnected):
                # The server closed a connection that it had kept alive until now. That is no failure of this request.
                if not connection.used or method not in _REPEATABLE:
                    raise
                connection.close()
                connection.used = False
                answer = connection.exchange(method, target, headers, body, limit)
        except (OSError, http.client.HTTPException, _TooLongError, ValueError) as error:
            self._forget(scheme, netloc)
            raise _explained(error, scheme, netloc + _by(scheme, netloc), self._timeout, limit) from None
        except BaseException:
            self._forget(scheme, netloc)
            raise
        response = Response(*answer, url=url)
        if scheme == "http" and response.status == 400 and b"https" in response.body.lower():
            raise _speaks_https(netloc)
        return response

    def _connection(self, scheme, netloc):
        if (scheme, netloc) not in self._connections:
            self._connections[scheme, netloc] = _Connection(scheme, netloc, self._trust, self._timeout)
        return self._connections[scheme, netloc]

    def _forget(self, scheme, netloc):
        connection = self._connections.pop((scheme, netloc), None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _backoff(attempt):
    return 0.5 * 2 ** (attempt - 1)


def retry_after(response):
    """The seconds that the server asks to wait, or None. Both forms of the header are in use: seconds and a date."""
    value = (response.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, (date - datetime.datetime.now(datetime.timezone.utc)).total_seconds())


def _redirected(response, headers):
    """Where a redirect leads, and the headers to go there with."""
    before = urllib.parse.urlsplit(response.url)
    try:
        after = urllib.parse.urlsplit(urllib.parse.urljoin(response.url, response.headers.get("Location") or ""))
    except ValueError:
        after = urllib.parse.urlsplit("")
    if not response.headers.get("Location") or after.scheme not in ("http", "https") or not after.netloc:
        raise AnswerError(f"{_server(response.url)} redirects to nowhere", "Look at the proxies before the registry")
    if before.scheme == "https" and after.scheme != "https":
        raise AnswerError(
            f"{_server(response.url)} redirects from HTTPS to HTTP ({after.scheme}://{after.hostname})",
            "Passwords and images must not travel in clear: correct the proxy before the registry",
        )
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        # The password of one server is not for another.
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return urllib.parse.urlunsplit(after._replace(fragment="")), headers


def _server(url):
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _speaks_https(netloc):
    return UnreachableError(
        f"{netloc} speaks HTTPS, and was asked over HTTP", "Set plain_http to false", "https_for_http"
    )


def _passing(error):
    error.passing = True
    return error


def _explained(error, scheme, netloc, timeout, limit):
    """What went wrong between here and the server, in words that tell each case apart."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _bad_certificate(error, netloc)
    if isinstance(error, ssl.SSLError):
        return _bad_tls(error, netloc)
    if isinstance(error, http.client.HTTPException):
        return _bad_http(error, scheme, netloc)
    if isinstance(error, _TooLongError):
        return AnswerError(
            f"{netloc} sent an answer of more than {limit} bytes, which was given up", "Look whether it is a registry"
        )
    if isinstance(error, ValueError):
        return InputError(f"{netloc} can't be asked: {error}")
    return _no_connection(error, scheme, netloc, timeout)


def _no_connection(error, scheme, netloc, timeout):
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return _hung_up(scheme, netloc)
    text = str(error)
    for is_it, message, cure, mistake in (
        (
            isinstance(error, socket.gaierror),
            f"The name in {netloc} does not resolve ({error.strerror})",
            "Give it an address in DNS or in /etc/hosts of this host, or correct the name",
            "no_such_name",
        ),
        (
            isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT,
            f"{netloc} did not answer within {timeout} seconds",
            "Look whether a firewall drops the packets or the server is overloaded, or raise timeout",
            "timed_out",
        ),
        (
            isinstance(error, ConnectionRefusedError),
            f"{netloc} refused the connection",
            "Look whether the registry runs, and whether the port is right",
            "refused",
        ),
        (
            error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH),
            f"There is no route to {netloc}",
            "Look at the network of this host",
            "no_route",
        ),
        (
            "Tunnel connection failed" in text,
            f"The HTTP proxy refused to connect to {netloc} ({text})",
            "Correct HTTPS_PROXY, or add the registry to NO_PROXY",
            "proxy",
        ),
    ):
        if is_it:
            return UnreachableError(message, cure, mistake)
    return UnreachableError(f"{netloc} can't be reached: {error.strerror or text}")


def _hung_up(scheme, netloc):
    other = "HTTP" if scheme == "https" else "HTTPS"
    return _passing(
        UnreachableError(
            f"{netloc} closed the connection without an answer",
            f"Look at its log, and whether it speaks {other} on this port",
        )
    )


def _bad_certificate(error, netloc):
    what = f"The certificate of {netloc} "
    if error.verify_code == _EXPIRED:
        return UnreachableError(
            what + "has expired", "Renew it on the registry host, or set this host's clock", "expired"
        )
    if error.verify_code == _NOT_YET_VALID:
        return UnreachableError(
            what + "is not valid yet", "Set the clocks of this host and of the registry host", "not_yet_valid"
        )
    if error.verify_code in _OTHER_NAME:
        return UnreachableError(
            what + f"is for another name ({error.verify_message})",
            "Use the name that it was issued for, or issue it for this one too",
            "other_name",
        )
    if error.verify_code in _UNKNOWN_CA:
        return UnreachableError(
            what + f"comes from an unknown CA ({error.verify_message})",
            f"Give its CA by ca_path, or put it into /etc/docker/certs.d/{netloc.partition(' ')[0]}/ca.crt",
            "unknown_ca",
        )
    return UnreachableError(
        what + f"can't be trusted ({error.verify_message})", "Issue another one on the registry host"
    )


def _bad_tls(error, netloc):
    reason = error.reason or str(error)
    if reason in _NO_TLS:
        return UnreachableError(
            f"{netloc} speaks HTTP, and was asked over HTTPS",
            "Use the port where it speaks TLS; plain_http would send the password in clear",
            "http_for_https",
        )
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason or "UNKNOWN_CA" in reason:
        return UnreachableError(
            f"{netloc} refused the TLS connection ({reason})",
            "If it asks for a client certificate, give one by client_cert and client_key",
            "client_certificate",
        )
    if isinstance(error, ssl.SSLEOFError) or "UNEXPECTED_EOF" in reason:
        return _passing(UnreachableError(f"{netloc} broke the TLS connection off", "Look at its log"))
    return UnreachableError(f"{netloc} does not agree on TLS ({reason})", "It must offer TLS 1.2 or later")


def _bad_http(error, scheme, netloc):
    if isinstance(error, http.client.RemoteDisconnected):
        return _hung_up(scheme, netloc)
    if isinstance(error, http.client.IncompleteRead):
        return _passing(AnswerError(f"{netloc} cut its answer short", "Look at its log, and at proxies between"))
    if scheme == "http" and isinstance(error, http.client.BadStatusLine):
        line = error.line if isinstance(error.line, bytes) else error.line.encode("latin-1", "replace")
        if _TLS_ALERT in line[:8]:
            return _speaks_https(netloc)
    return AnswerError(
        f"{netloc} sent what is not HTTP ({type(error).__name__})", "Look whether another service listens on this port"
    )
