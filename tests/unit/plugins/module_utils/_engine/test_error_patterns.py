"""What engines say of the common mistakes: each is recognised by the words in which a real client or engine said it.

The words were recorded in the lab (tests/lab) against the collection's registry and others that were set up for it:
Docker Engine 20.10.24 (Debian 12) and 26.1.5 (Debian 13), Podman 5.4.2 (Debian 13).
"""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import failure

V2 = 'Get "https://registry.fleet.test:5000/v2/"'
PODMAN = f"initializing source docker://r/a:1: pinging container registry r: {V2}"
RECORDED = [
    # Of registries that speak HTTP, of the one of Distribution and of a server written in Python.
    ("26.1", f"{V2}: http: server gave HTTP response to HTTPS client", "http_for_https"),
    ("20.10", f"{V2}: tls: first record does not look like a TLS handshake", "http_for_https"),
    ("podman", f"{PODMAN}: http: server gave HTTP response to HTTPS client", "http_for_https"),
    (
        "26.1",
        f"{V2}: tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "engine_unknown_ca",
    ),
    ("20.10", f"{V2}: x509: certificate signed by unknown authority", "engine_unknown_ca"),
    (
        "26.1",
        (
            f"{V2}: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time "
            "2026-11-26T11:07:28Z is after 2026-11-25T11:07:26Z"
        ),
        "expired",
    ),
    (
        "20.10",
        (
            f"{V2}: x509: certificate has expired or is not yet valid: current time 2026-11-26T11:07:30Z is before "
            "2026-11-28T11:07:26Z"
        ),
        "not_yet_valid",
    ),
    ("20.10", f"{V2}: x509: certificate is valid for another.test, not registry.fleet.test", "other_name"),
    ("26.1", f"{V2}: dial tcp 172.18.0.7:5006: connect: connection refused", "refused"),
    ("20.10", f"{V2}: dial tcp: lookup nowhere.fleet.test on 127.0.0.11:53: no such host", "no_such_name"),
    # A firewall that drops what comes, a server that says nothing, and a route that leads nowhere.
    (
        "26.1",
        (
            f"{V2}: net/http: request canceled while waiting for connection (Client.Timeout exceeded while "
            "awaiting headers)"
        ),
        "timed_out",
    ),
    ("podman", f"{PODMAN}: net/http: TLS handshake timeout", "timed_out"),
    ("26.1", f"{V2}: dial tcp 198.51.100.1:5000: connect: no route to host", "no_route"),
    # No proxy listens at the address; and proxies that answer CONNECT by 403, 503 and 407.
    ("26.1", f"{V2}: proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused", "proxy"),
    ("26.1", 'Get "https://registry.fleet.test/v2/": Forbidden', "proxy"),
    ("20.10", 'Get "https://registry.fleet.test/v2/": Service Unavailable', "proxy"),
    (
        "podman",
        'pinging container registry r: Get "https://registry.fleet.test/v2/": Proxy Authentication Required',
        "proxy",
    ),
    # Without a login, with a wrong password, and as a user who may only pull.
    ("26.1", 'Head "https://registry.fleet.test/v2/apps/web/manifests/9": no basic auth credentials', "not_logged_in"),
    (
        "podman",
        (
            "reading manifest 9 in registry.fleet.test/apps/web: unauthorized: authentication required: log in to this "
            "registry, or check the name and the password"
        ),
        "wrong_password",
    ),
    ("20.10", "denied: this user may not do that here: ask for an account with more access", "wrong_account"),
    (
        "podman",
        (
            "writing blob: initiating layer upload to /v2/library/web/blobs/uploads/ in registry.fleet.test: denied: "
            "this user may not do that here: ask for an account with more access"
        ),
        "wrong_account",
    ),
    (
        "26.1",
        "manifest for registry.fleet.test/apps/web:none not found: manifest unknown: manifest unknown",
        "no_image",
    ),
    ("podman", "reading manifest none in registry.fleet.test/apps/web: manifest unknown", "no_image"),
    ("26.1", "write /var/lib/docker/tmp/GetImageBlob1397297387: no space left on device", "no_space"),
    # The storage of the registry is full.
    ("26.1", "received unexpected HTTP status: 500 Internal Server Error", "registry_error"),
    (
        "podman",
        (
            "writing blob: initiating layer upload to /v2/big/blobs/uploads/ in registry.fleet.test:5010: received "
            "unexpected HTTP status: 500 Internal Server Error"
        ),
        "registry_error",
    ),
]


@pytest.mark.parametrize(("engine", "words", "mistake"), RECORDED)
def test_what_engines_said(engine, words, mistake):
    assert engine
    error = failure(words, "registry.fleet.test:5000")
    assert error.mistake == mistake, error
    assert error.cure
    assert "{" not in str(error)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("denied: requested access to the resource is denied", ["may not pull there", "pull access"]),
        ("unauthorized: authentication required", ["credentials for a pull"]),
        ("received unexpected HTTP status: 502 Bad Gateway", ["cannot give it now"]),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", ["platform of this host"]),
        ("choosing image instance: no image found in manifest list for architecture arm64", ["platform of this host"]),
        ("proxyconnect tcp: dial tcp 192.0.2.1:3128: i/o timeout", ["HTTP proxy", "NO_PROXY"]),
        ("write /var/lib/docker/tmp/x: no space left on device", ["no space left"]),
        (
            "pinging container registry r.example.com: x509: certificate signed by unknown authority",
            ["does not know the CA", "/etc/containers/certs.d/r.example.com/ca.crt"],
        ),
    ],
)
def test_what_engines_say_of_a_pull(words, says):
    message = str(failure(words, "r.example.com", action="pull", certificates="/etc/containers/certs.d"))
    assert all(part in message for part in says), message


BLOB = "sha256:3e117c669cbcb1c2cf8a7a6ed6a4b70b1af09e11d3ed1321539e8b2f74d3eba4"
# Recorded of Docker Engine 20.10.24 and Podman 5.4.2, which pulled images with layers that are texts, and with tars and
# gzips that are cut off.
NO_ARCHIVE = [
    "failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header",
    "failed to register layer: Error processing tar file(exit status 1): unexpected EOF",
    *(
        f'writing blob: adding layer with blob "{BLOB}"/""/"{BLOB}": ApplyLayer stdout:  stderr: {what} exit status 1'
        for what in ("archive/tar: invalid tar header", "unexpected EOF")
    ),
]


@pytest.mark.parametrize("words", NO_ARCHIVE)
def test_a_layer_that_is_no_archive_is_no_fault_of_the_network(words):
    error = failure(words, "r", action="pull")
    assert "not an archive that the engine can unpack" in str(error) and error.mistake == ""
    assert "network" not in str(error) and "firewall" not in str(error)


@pytest.mark.parametrize(
    "words",
    [
        # Podman 5.4.2 of a gzip that is cut off, and of a connection that is: it does not say which.
        'writing blob: storing blob to file "/var/tmp/container_images_storage1680006439/1": unexpected EOF',
        "layers from manifest don't match image configuration",
        "image has 413 layers, of which 500 are shown",
        "invalid value 401 of the option timeout",
        "unexpected end of JSON input",
        "parsing EOF marker of /etc/motd",
        "the sandbox is unreachable by design",
    ],
)
def test_what_is_not_known_is_shown_as_it_is(words):
    error = failure(words, "r", action="pull")
    assert error.message == f"the engine said: {words}" and error.mistake == ""


@pytest.mark.parametrize(
    "name", ["timeout:1", "denied:429", "unauthorized/forbidden:403", "eof:EOF", "no-route/unreachable:500"]
)
@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        ("manifest for registry.fleet.test:5000/{name} not found: manifest unknown", "no_image"),
        ('Head "https://registry.fleet.test:5000/v2/{name}": no basic auth credentials', "not_logged_in"),
        (
            'Get "https://registry.fleet.test:5000/v2/{name}": dial tcp 192.0.2.1:5000: connect: connection refused',
            "refused",
        ),
        ("initializing source docker://registry.fleet.test:5000/{name}: something new", ""),
        ("registry.fleet.test:5000/{name}: not found", "no_image"),
    ],
)
def test_the_name_of_an_image_is_no_cause(words, mistake, name):
    assert failure(words.format(name=name), "registry.fleet.test:5000", action="pull").mistake == mistake


def test_a_plain_500_of_the_registry_is_no_proxy():
    """Nor is what a registry forbids: its words have a code or the status before them."""
    for words in (
        "received unexpected HTTP status: 403 Forbidden",
        "received unexpected HTTP status: 503 Service Unavailable",
        "error parsing HTTP 403 response body: Forbidden",
    ):
        assert failure(words, "r").mistake != "proxy"
