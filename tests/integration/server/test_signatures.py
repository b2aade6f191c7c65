"""Clients that mount layers, sign images and attach to them, before a registry where no tag is to be replaced."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
from clients import Box
from engine import run_container, wait_for
from http_client import OCI, OCI_INDEX, digest_of, manifest
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from http_client import Client

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "access": "push"},
    {"name": "reader", "access": "pull"},
]
# Offline, with a key.
OFFLINE = "--yes --use-signing-config=false --tlog-upload=false --key cosign.key"
# An image, as a client makes one.
IMAGE = """
    head -c {size} /dev/urandom >file
    tar -cf layer.tar file
    crane append --new_layer layer.tar --new_tag {reference}
"""


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["*", "apps/*:*"])


@pytest.fixture(scope="module")
def signer(proxy: Front, images: dict[str, str]) -> Box:
    """crane and cosign, logged in, in a container of their own."""
    box = Box(
        run_container(images["signers"], "sleep", "infinity", options=(f"--volume={proxy.ca}:/ca.crt:ro",)), "root"
    )

    def login(user: str) -> None:
        box.run(
            f"crane auth login --username {user} --password-stdin localhost:{proxy.port}",
            stdin=proxy.passwords[user],
            env={"SSL_CERT_FILE": "/ca.crt"},
        )

    login("ci")
    box.run("COSIGN_PASSWORD= cosign generate-key-pair")
    return box


def typed(box: Box, script: str, check: bool = True) -> str:
    done = box.run(
        script, check=check, env={"SSL_CERT_FILE": "/ca.crt", "COSIGN_PASSWORD": "", "DOCKER_CONFIG": "/root/.docker"}
    )
    return done.stdout + done.stderr


def requests_of(proxy: Front, repository: str) -> list[tuple[str, int, int]]:
    """Method, status and bytes that came, of each request for a repository."""
    lines = [json.loads(line) for line in proxy.log().splitlines() if line.startswith("{")]
    return [(line["method"], line["status"], line["bytes_in"]) for line in lines if line["repository"] == repository]


def test_crane_mounts_what_it_copies(proxy: Front, registry: Client, signer: Box) -> None:
    size = 5 << 20
    place, room = f"localhost:{proxy.port}", secrets.token_hex(4)
    typed(signer, IMAGE.format(size=size, reference=f"{place}/from/{room}:1"))
    typed(signer, f"crane copy {place}/from/{room}:1 {place}/to/{room}:1")
    # The last one that crane sends.
    wait_for("a line of the log", lambda: "PUT" in {entry[0] for entry in requests_of(proxy, f"to/{room}")})
    asked = requests_of(proxy, f"to/{room}")
    # A mount is one POST that makes the layer, and nothing is sent after it.
    assert ("POST", 201) in {(method, status) for method, status, _bytes in asked}, asked
    assert not [entry for entry in asked if entry[0] == "PATCH"], asked
    assert sum(size for _method, _status, size in asked) < 100_000
    copied = registry.digest(f"to/{room}", "1")
    assert copied is not None
    assert copied == registry.digest(f"from/{room}", "1")


@pytest.mark.parametrize("bundle", ["false", *repeated("true")])
def test_an_image_gets_a_second_signature_where_every_tag_stays(
    proxy: Front, registry: Client, signer: Box, bundle: str
) -> None:
    name = f"apps/{secrets.token_hex(4)}"
    reference = f"localhost:{proxy.port}/{name}"
    typed(signer, IMAGE.format(size=1000, reference=f"{reference}:v1"))
    digest = registry.digest(name, "v1")
    for number in (1, 2):
        typed(signer, f"cosign sign {OFFLINE} --new-bundle-format={bundle} -a number={number} {reference}@{digest}")
    tag = digest.replace(":", "-") + (".sig" if bundle == "false" else "")
    stored = json.loads(registry.ask("GET", f"/v2/{name}/manifests/{tag}", Accept=f"{OCI}, {OCI_INDEX}").body)
    assert len(stored["layers" if bundle == "false" else "manifests"]) == 2, stored
    said = typed(signer, f"cosign verify --insecure-ignore-tlog=true --key cosign.pub {reference}@{digest}")
    assert "The signatures were verified against the specified public key" in said
    # The image itself stays.
    again = typed(signer, IMAGE.format(size=1000, reference=f"{reference}:v1"), check=False)
    assert "is immutable" in again
    assert registry.digest(name, "v1") == digest


@pytest.mark.parametrize(
    ("tag", "stays"),
    [
        ("sha256-{hex64}", False),
        ("sha256-{hex64}.sig", False),
        ("sha256-{hex64}.att", False),
        ("sha256-{hex64}.sbom", False),
        ("sha256-{hex64}.0123abcd.meta", False),
        ("sha512-{hex64}", False),
        ("sha384-{hex96}.sig", False),
        ("blake3-{hex64}", False),
        ("sha256-{hex64}x", True),
        ("sha256-{hex63}", True),
        ("sha256-{hex63}.sig", True),
        ("sha256-{hex64}.", True),
        ("SHA256-{hex64}", True),
        ("v1-{hex64}", True),
        ("v1.sha256-{hex64}", True),
        ("sha256_{hex64}", True),
        ("v1.sig", True),
    ],
)
def test_tags_of_referrers_alone_can_be_written_anew(proxy: Front, registry: Client, tag: str, stays: bool) -> None:
    name = "apps/referrers"
    registry.put_image(name, "base", b"a layer")
    tag = tag.format(hex64=secrets.token_hex(32), hex63=secrets.token_hex(32)[1:], hex96=secrets.token_hex(48))
    path = f"/v2/{name}/manifests/{tag}"
    contents = [manifest(b"a layer", annotations={"of": f"{tag} {number}"}) for number in range(3)]
    client = proxy.client("ci")
    answers = [client.ask("PUT", path, content, Content_Type=OCI).status for content in contents[:2]]
    assert answers == [201, 403 if stays else 201]
    assert registry.digest(name, tag) == digest_of(contents[0 if stays else 1])
    # A push is needed, and a delete to remove one.
    assert proxy.client("reader").ask("PUT", path, contents[2], Content_Type=OCI).code == "DENIED"
    for reference in (tag, registry.digest(name, tag)):
        assert client.ask("DELETE", f"/v2/{name}/manifests/{reference}").code == "DENIED"
