# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a request got no answer that can be used, in words that tell each case apart. Private to this collection."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import TooLongError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_proxy import proxy_for

# OpenSSL's numbers of what can be wrong with a certificate.
_EXPIRED = 10
_NOT_YET_VALID = 9
_UNKNOWN_CA = frozenset([2, 18, 19, 20, 21])
_OTHER_NAME = frozenset([62, 63, 64])

# How OpenSSL words that what came was no TLS at all.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
# What is wrong with a proxy, where there is one.
OF_THE_WAY = frozenset(["no_such_name", "refused", "timed_out", "no_route"])
_TLS_ALERT = b"\x15\x03"


class UnreachableError(RegistryError):
    """No answer came."""


class AnswerError(RegistryError):
    """An answer came that breaks the rules: cut short, too long, not HTTP, a redirect that leads nowhere."""


def by_proxy(scheme, netloc):
    """Who else may be at fault, for a message."""
    try:
        proxy = proxy_for(scheme, netloc)
    except (InputError, ValueError):
        # It is this address, or the proxy's, that is at fault.
        proxy = None
    return "" if proxy is None else f" (by the HTTP proxy {proxy.netloc.rpartition('@')[2]})"


def server_of(url):
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def speaks_https(netloc):
    return UnreachableError(
        f"{netloc} speaks HTTPS, and was asked over HTTP", "Set plain_http to false", "https_for_http"
    )


def _passing(error):
    error.passing = True
    return error


def explained(error, scheme, netloc, timeout, limit):
    """What went wrong between here and the server, in words that tell each case apart."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _bad_certificate(error, netloc)
    if isinstance(error, ssl.SSLError):
        return _bad_tls(error, netloc)
    if isinstance(error, http.client.HTTPException):
        return _bad_http(error, scheme, netloc)
    if isinstance(error, TooLongError):
        return AnswerError(f"{netloc} sent an answer of more than {limit} bytes", "Check that it is a registry")
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
            "Check whether a firewall drops the packets or the server is overloaded, or raise timeout",
            "timed_out",
        ),
        (
            isinstance(error, ConnectionRefusedError),
            f"{netloc} refused the connection",
            "Check whether the registry runs, and whether the port is right",
            "refused",
        ),
        (
            error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH),
            f"There is no route to {netloc}",
            "Check the network of this host",
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
            f"Check its log, and whether it speaks {other} on this port",
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
        return _passing(UnreachableError(f"{netloc} broke the TLS connection off", "Check its log"))
    return UnreachableError(f"{netloc} does not agree on TLS ({reason})", "It must offer TLS 1.2 or later")


def _bad_http(error, scheme, netloc):
    if isinstance(error, http.client.RemoteDisconnected):
        return _hung_up(scheme, netloc)
    if isinstance(error, http.client.IncompleteRead):
        return _passing(AnswerError(f"{netloc} cut its answer short", "Check its log, and proxies in between"))
    if scheme == "http" and isinstance(error, http.client.BadStatusLine):
        line = error.line if isinstance(error.line, bytes) else error.line.encode("latin-1", "replace")
        if _TLS_ALERT in line[:8]:
            return speaks_https(netloc)
    return AnswerError(
        f"{netloc} sent an answer that is not HTTP ({type(error).__name__})",
        "Check whether another service listens on this port",
    )
