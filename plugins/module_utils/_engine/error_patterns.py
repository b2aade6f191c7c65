# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Error messages of engines for a failed push or pull, and the login for an engine. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError

# The answer of a proxy to CONNECT. In that of a registry, an error code or the status comes before the phrase.
_OF_PROXY = r"https://[^\"\s]+\": (?:forbidden|bad gateway|service unavailable|gateway time-?out|not found)\s*$"


def _status(code, phrase):
    """An HTTP status as Docker 20.10 to 28 and Podman 4 and 5 print it. A bare number may mean anything else."""
    named = r"\b(?:status(?: ?code)?:?|parsing HTTP|status from [A-Z]+ request to \S+:)"
    return rf"{named} {code}\b|\b(?:{code} )?{phrase}"


# (name of the mistake, as in the failure catalog; pattern of the engine's message; its meaning; cure). The first match
# counts.
_FAILURES = (
    (
        "not_accepted",
        r"Source image rejected|is rejected by policy|signature was required, but",
        "the policy of this host does not accept the image",
        "Sign it with the key of the policy of its scope, or correct that policy in {policy}",
    ),
    (
        "http_for_https",
        r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake",
        "the engine asks for HTTPS and the registry speaks HTTP",
        "Let the registry speak TLS, or list it in insecure-registries of the engine's daemon.json",
    ),
    (
        "https_for_http",
        (
            r"HTTP request (?:was sent )?to (?:an )?HTTPS (?:server|port)|this port speaks HTTPS"
            r"|malformed HTTP response \"\\x15\\x03"
        ),
        "the engine asks by HTTP and the registry speaks HTTPS",
        "Take {registry} out of the settings that have the engine use HTTP, such as insecure-registries",
    ),
    (
        "engine_unknown_ca",
        r"x509: certificate signed by unknown authority|x509: .*not trusted",
        "the engine does not know the CA of the registry's certificate",
        "Put the CA into {certs}/{registry}/ca.crt on the host of the engine, which does not read ca_path",
    ),
    (
        "expired",
        r"x509: certificate has expired or is not yet valid: current time \S+ is after",
        "the engine finds the registry's certificate expired",
        "Renew it on the registry host, or set the clock of the host of the engine",
    ),
    (
        "not_yet_valid",
        r"x509: certificate has expired or is not yet valid: current time \S+ is before",
        "the engine finds the registry's certificate not valid yet",
        "Set the clocks of the host of the engine and of the registry host",
    ),
    (
        "other_name",
        r"x509: (?:certificate is (?:not )?valid for|cannot validate certificate for)",
        "the registry's certificate is for another name",
        "Use the name that it was issued for, or issue it for this one too",
    ),
    (
        "",
        r"x509:|tls:",
        "the engine does not agree with the registry on TLS",
        "Check the certificate of the registry, and {certs}/{registry} on the host of the engine",
    ),
    (
        "too_many_requests",
        "toomanyrequests|" + _status("429", "too many requests"),
        "the registry accepts no more requests for now",
        "Try again later, from fewer hosts at once (serial, throttle), or raise its rate limit",
    ),
    (
        "no_space",
        r"no space left on device|disk quota exceeded",
        "there is no space left, on the registry's storage or on the host of the engine",
        "Make room: look at both",
    ),
    (
        "",
        (
            r"failed to register layer: (?:Error processing tar file|unexpected EOF|archive/tar:|gzip:)"
            r"|ApplyLayer (?:exit status \d+ )?stdout: .*(?:archive/tar|unexpected EOF)|archive/tar: invalid tar header"
        ),
        "a layer of the image is truncated, or is not an archive that the engine can unpack",
        "Build the image again and push it: the registry has the layer as it was pushed",
    ),
    (
        "too_large",
        _status("413", "request entity too large"),
        "the proxy in front of the registry rejects layers of this size",
        "Raise its limit, as client_max_body_size 0 does for nginx",
    ),
    (
        "",
        r"missing content",
        "the image is for several platforms, and not all of them are here",
        "Pull it for all of its platforms, or copy it within the registry with registry_tag",
    ),
    (
        "proxy",
        f"proxyconnect|{_status('407', 'proxy authentication required')}|{_OF_PROXY}",
        "the HTTP proxy of the engine does not let it through",
        "Add {registry} to NO_PROXY in the environment of the engine's service, or correct HTTPS_PROXY there",
    ),
    (
        "no_image",
        r"manifest unknown|name unknown|repository name not known|: not found\s*$",
        "the registry has no such image",
        "Push it before, or correct its name",
    ),
    (
        "not_logged_in",
        r"no basic auth credentials",
        "the registry requires a login for a {action}, and there is none",
        "Log this account in",
    ),
    (
        "wrong_password",
        r"\bunauthorized\b|authentication required|incorrect username or password|" + _status("401", "unauthorized"),
        "the registry rejected the credentials for a {action}",
        "Check the name and the password, or log this account in again",
    ),
    (
        "wrong_account",
        r"\bdenied\b|\bforbidden\b|insufficient[ _]scope|" + _status("403", "forbidden"),
        "the user may not {action} there",
        "Use a user with {action} access to this repository",
    ),
    (
        "other_platform",
        r"no matching manifest|no image found in (?:image index|manifest list)",
        "the image does not support the platform of this host",
        "Name an image that does, or push this one for that platform too",
    ),
    (
        "no_such_name",
        r"no such host|server misbehaving",
        "the engine cannot resolve the name of the registry",
        "Give it an address in DNS or in /etc/hosts on the host of the engine",
    ),
    (
        "refused",
        r"connection refused",
        "the engine cannot reach the registry",
        "Check that the registry runs and the port is right, and the proxy in the environment of the engine's service",
    ),
    (
        "timed_out",
        (
            r"i/o timeout|TLS handshake timeout|Client\.Timeout exceeded|deadline exceeded"
            r"|net/http: (?:request canceled|timeout)|(?:connection|operation) timed out"
        ),
        "the engine cannot reach the registry",
        "Check firewalls on the way from the host of the engine, and the proxy in the environment of its service",
    ),
    (
        "no_route",
        (
            r"no route to host|(?:network|host) is (?:unreachable|down)|connection reset by peer|broken pipe"
            # At the end of a request, and not of a file.
            r"|https?://[^\"\s]+\": (?:unexpected )?EOF|use of closed network connection"
        ),
        "the engine cannot reach the registry",
        "Check the network of the host of the engine, and the proxy in the environment of its service",
    ),
    (
        "registry_error",
        _status("50[0-9]", "(?:internal server error|bad gateway|service unavailable|gateway time-?out)")
        + "|blob upload (?:invalid|unknown)",
        "the registry cannot {serve} it now",
        "Check its log, and those of the proxies in front of it; replicas must share one http.secret",
    ),
)


def failure(text, registry, secret="", action="push", certificates="/etc/docker/certs.d"):
    """The EngineError for the message of an engine about a push or a pull.

    registry: its name. secret: is masked. certificates: the directory in which that engine looks for CAs.
    """
    shown = " ".join(re.sub(r"[^\x20-\x7e]+", " ", text).split())
    shown = (shown.replace(secret, "********") if secret else shown)[:300].rstrip(" .") or "nothing"
    about = {
        "{registry}": registry,
        "{action}": action,
        "{serve}": "store" if action == "push" else "give",
        "{certs}": certificates,
        "{policy}": "/etc/containers/policy.json",
    }
    searched = _without_names(text, registry)
    for mistake, pattern, meaning, cure in _FAILURES:
        if re.search(pattern, searched, re.IGNORECASE):
            message = f"{_filled(meaning, about)} (the engine said: {shown})"
            return EngineError(message, _filled(cure, about), mistake)
    return EngineError(f"the engine said: {shown}", "Check its log, and that of the registry")


def _without_names(text, registry):
    """The text without the names of repositories and tags, which may be "timeout" or "denied"."""
    text = re.sub(r"(https?://[^/\s\"]+/)[^\s\"]*[^\s\":.,]", r"\1", text)
    return re.sub(rf"({re.escape(registry)}/)[^\s\",]*[^\s\",:.]", r"\1", text)


def _filled(text, values):
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def auth_config(credential, registry):
    """The login in the format of the engine. An empty one keeps the Docker SDK from looking for another."""
    if credential is None:
        return {}
    if credential.identity_token:
        return {"identitytoken": credential.identity_token, "serveraddress": registry.config_key}
    return {
        "username": credential.username,
        "password": credential.password,
        "serveraddress": registry.config_key,
    }
