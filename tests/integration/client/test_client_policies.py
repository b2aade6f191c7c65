"""registry_client and signatures: what Podman accepts of a scope, proven by its pulls of images that cosign signed."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import TYPE_CHECKING, ClassVar

import pytest
from clients import Box
from engine import run_container
from engine_trust import client, put, warned
from marks import repeated
from steps import four_runs, says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Machine
    from peers import Peers

POLICY = "/etc/containers/policy.json"
RECORD = "/etc/containers/wharf-registry-policy.json"
OURS = "/etc/containers/registries.d/wharf-registry.yaml"
# One of an owner, in a layout of its own.
OWNERS = """{ "default": [{"type": "insecureAcceptAnything"}],
  "transports": {
     "docker-daemon": { "": [{"type":"insecureAcceptAnything"}] },
     "docker": { "elsewhere.example.com": [ {"type": "reject"} ] }
  }
}
"""


class Signer(Box):
    """crane and cosign, logged in."""

    ENV: ClassVar = {"SSL_CERT_FILE": "/ca.crt", "COSIGN_PASSWORD": "", "DOCKER_CONFIG": "/root/.docker"}

    def public(self, key: str) -> str:
        """The public key of a pair, which is made where there is none of that name."""
        self.run(f"test -e {key}.key || cosign generate-key-pair --output-key-prefix {key}", env=self.ENV)
        return self.output(f"cat {key}.pub")

    def image(self, reference: str, key: str = "") -> str:
        """Push an image, and sign it where a key is named."""
        self.run(
            f"head -c 1000 /dev/urandom >file; tar -cf layer.tar file; "
            f"crane append --new_layer layer.tar --new_tag {reference}",
            env=self.ENV,
        )
        if key:
            self.public(key)
            offline = "--yes --use-signing-config=false --tlog-upload=false --new-bundle-format=false"
            self.run(f"cosign sign {offline} --key {key}.key {reference}@$(crane digest {reference})", env=self.ENV)
        return reference


@pytest.fixture
def signer(peers: Peers, images: dict[str, str]) -> Signer:
    volume = f"--volume={peers.ca}:/ca.crt:ro"
    signer = Signer(run_container(images["signers"], "sleep", "infinity", options=(volume,)), "root")
    login = f"crane auth login --username ci --password-stdin {peers.outside}"
    signer.run(login, stdin=peers.users["ci"], env=signer.ENV)
    return signer


@dataclasses.dataclass
class Room:
    """A scope of the registry, whose images Podman of a host pulls."""

    podman: Machine
    scope: str
    signer: Signer

    def image(self, repository: str, key: str = "") -> str:
        return self.signer.image(f"{self.scope}/{repository}:1.0.0", key)

    def pulled(self, reference: str) -> str:
        """What Podman says of a pull, empty where it succeeds."""
        done = self.podman.run(f"podman pull --quiet {reference}", check=False)
        self.podman.run(f"podman rmi --ignore {reference}")
        return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


@pytest.fixture
def scope(podman: Machine, peers: Peers, room: str, signer: Signer) -> Iterator[Room]:
    put(podman, f"/etc/containers/certs.d/{peers.outside}/ca.crt", peers.ca.read_text())
    podman.run(f"podman login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    yield Room(podman, f"{peers.outside}/{room}", signer)
    podman.run(f"podman logout {peers.outside}", check=False)


def policy(room: Room, **options: object) -> dict:
    return {"scope": room.scope, "public_keys": [room.signer.public("one")], **options}


@pytest.mark.parametrize("owners", [*repeated(OWNERS), None], ids=["of an owner", "as installed"])
def test_an_unsigned_image_is_refused_and_a_signed_one_pulled(scope: Room, owners: str | None) -> None:
    if owners:
        put(scope.podman, POLICY, owners)
    signed, unsigned, foreign = scope.image("signed", "one"), scope.image("unsigned"), scope.image("foreign", "two")
    assert [scope.pulled(name) for name in (signed, unsigned, foreign)] == [""] * 3
    before = scope.podman.files()
    run = functools.partial(client, scope.podman, policies=[policy(scope)])
    four_runs(run, scope.podman.files)
    assert scope.pulled(signed) == ""
    assert "A signature was required, but no signature exists" in scope.pulled(unsigned)
    assert "Source image rejected" in scope.pulled(foreign)
    four_runs(functools.partial(run, state="absent"), scope.podman.files)
    assert scope.podman.files() == before
    assert scope.pulled(unsigned) == ""


def files(podman: Machine) -> str:
    return podman.output("find /etc/containers -type f -exec sha256sum {} + | sort")


def test_keys_are_exchanged_while_both_count(scope: Room) -> None:
    """The rotation of a key: the old one, both, the new one."""
    old, new = scope.image("old", "one"), scope.image("new", "two")
    keys = {name: scope.signer.public(name) for name in ("one", "two")}
    taken = []
    for given in (["one"], ["one", "two"], ["two"]):
        rule = policy(scope, public_keys=[keys[name] for name in given])
        four_runs(functools.partial(client, scope.podman, policies=[rule]), scope.podman.files)
        taken.append([scope.pulled(old) == "", scope.pulled(new) == ""])
    assert taken == [[True, False], [True, True], [False, True]]


def test_nothing_of_a_scope_and_anything_of_a_part_of_it(scope: Room) -> None:
    part = scope.image("part/app")
    other = scope.image("app", "one")
    rules = [
        {"scope": scope.scope, "accept": "nothing"},
        {"scope": f"{scope.scope}/part", "accept": "anything"},
    ]
    client(scope.podman, policies=rules)
    assert scope.pulled(part) == ""
    assert "Running image" in scope.pulled(other) or "rejected by policy" in scope.pulled(other)
    # One of both alone goes, and the other still counts.
    client(scope.podman, policies=rules[1:], state="absent")
    assert "rejected by policy" in scope.pulled(part)


def test_a_signature_that_names_another_repository(scope: Room) -> None:
    """As of an image that was promoted from a staging repository with its signature."""
    scope.image("staging", "one")
    source, target = f"{scope.scope}/staging", f"{scope.scope}/production"
    copy = f"crane copy {source}:1.0.0 {target}:1.0.0; d=$(crane digest {source}:1.0.0 | tr : -); "
    scope.signer.run(copy + f"crane copy {source}:$d.sig {target}:$d.sig", env=scope.signer.ENV)
    client(scope.podman, policies=[policy(scope)])
    assert "Source image rejected" in scope.pulled(f"{target}:1.0.0")
    client(scope.podman, policies=[policy(scope, scope=target, signed_repository=source)])
    assert scope.pulled(f"{target}:1.0.0") == ""


@pytest.mark.parametrize("entry", [*repeated("lookaside: file:///var/lib/sigstore"), "use-sigstore-attachments: false"])
def test_an_entry_of_its_owner_gets_one_line(scope: Room, entry: str) -> None:
    """A scope in two files of registries.d is an error to Podman."""
    signed = scope.image("signed", "one")
    owners = "/etc/containers/registries.d/owners.yaml"
    put(scope.podman, owners, f"docker:\n  {scope.scope}:\n    {entry}  # theirs\n")
    before = files(scope.podman)
    client(scope.podman, policies=[policy(scope)])
    assert scope.podman.run(f"test -e {OURS}", check=False).returncode == 1
    assert "theirs" in scope.podman.output(f"cat {owners}")
    assert scope.pulled(signed) == ""
    client(scope.podman, policies=[policy(scope)], state="absent")
    assert files(scope.podman) == before


def test_what_is_wrong_changes_nothing(scope: Room) -> None:
    other = json.dumps({"transports": {"docker": {scope.scope: [{"type": "reject"}]}}, "default": [{"type": "reject"}]})
    for path, text, words in (
        (POLICY, "{", "is not valid JSON"),
        (POLICY, other, f"has a rule for {scope.scope} already"),
        (POLICY, '{"default": [{"type": "reject"}], "transports": []}', '"transports" is not an object'),
        # Podman alone knows it.
        (POLICY, '{"default": [{"type": "accept"}]}', "Podman rejects its files"),
        ("/etc/containers/registries.d/a.yaml", f"docker:\n  {scope.scope}: &a\n    b: c\n", "registries.d/a.yaml"),
        ("/etc/containers/registries.d/b.yaml", "docker: [\n", "Podman rejects its files"),
    ):
        scope.podman.clean()
        put(scope.podman, path, text)
        before = files(scope.podman)
        says(client(scope.podman, policies=[policy(scope)], failed=True), words)
        assert files(scope.podman) == before


def test_an_account_has_policies_of_its_own(scope: Room) -> None:
    """It begins with those of the system, which do not count for it any more."""
    put(scope.podman, POLICY, OWNERS)
    account = scope.podman.account("deployer")
    look = functools.partial(account.output, f"find {account.home} -name '*.json' -exec cat {{}} +")
    before = look()
    four_runs(functools.partial(client, account, policies=[policy(scope)]), look)
    assert "elsewhere.example.com" in account.output("cat ~/.config/containers/policy.json")
    four_runs(functools.partial(client, account, policies=[policy(scope)], state="absent"), look)
    assert look() == before


def test_two_plays_with_a_policy_each_change_nothing_in_turn(podman: Machine) -> None:
    key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    one, two = ([{"scope": f"registry.example.com/{name}", "public_keys": [key]}] for name in ("one", "two"))
    client(podman, policies=one)
    client(podman, policies=two)
    for policies in (one, two, one + two, two + one):
        assert not client(podman, policies=policies)["changed"]
    client(podman, policies=one, state="absent")
    assert not client(podman, policies=two)["changed"]
    client(podman, policies=two, state="absent")
    assert podman.run("test -e /etc/containers/registries.d", check=False).returncode == 1


def test_a_link_to_nothing_in_registries_d(podman: Machine) -> None:
    """Podman itself refuses it, and says so."""
    podman.run("mkdir -p /etc/containers/registries.d; ln -s /nowhere /etc/containers/registries.d/z.yaml")
    before = podman.files()
    rule = {"scope": "registry.example.com/apps", "accept": "nothing"}
    says(client(podman, policies=[rule], failed=True), "Podman rejects its files", "previous files were restored")
    assert podman.files() == before


def test_docker_does_not_check_signatures(trixie: Machine) -> None:
    rule = {"scope": "registry.example.com/apps", "accept": "nothing"}
    result = client(trixie, policies=[rule])
    assert not result["changed"]
    assert "No engine of this host (docker) checks signatures" in warned(result)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"public_keys": []}, "has no public_keys"),
        ({"public_keys": ["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]}, "is no PEM text"),
        ({"accept": "nothing"}, "has public_keys, and accepts nothing"),
        ({"scope": "https://registry.example.com"}, "scope"),
        ({"scope": "registry.example.com/Apps"}, "is no scope"),
        ({"signed_repository": "registry.example.com"}, "does not name a repository"),
    ],
)
def test_bad_options(podman: Machine, options: dict, words: str) -> None:
    key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    rule = {"scope": "registry.example.com/apps", "public_keys": [key], **options}
    before = podman.files()
    for check in (True, False):
        says(client(podman, policies=[rule], check=check, failed=True), words)
    assert podman.files() == before


def onboard(scope: Room, peers: Peers, *policies: dict, failed: bool = False, **options: object) -> dict:
    args = {
        "registries": [{"host": peers.outside, "ca": peers.ca.read_text()}],
        "logins": [{"username": "ci", "password": peers.users["ci"]}],
        "policies": list(policies),
        **options,
    }
    return scope.podman.host.run_module("registry_onboard", args, failed=failed, secrets=(peers.users["ci"],))


def test_onboarding_proves_policies(scope: Room, peers: Peers) -> None:
    signed, unsigned = (name.partition("/")[2] for name in (scope.image("signed", "one"), scope.image("unsigned")))
    images = {"signed_image": signed, "unsigned_image": unsigned}
    scope.podman.clean()
    before, stored = files(scope.podman), scope.podman.output("podman images --quiet")
    done = onboard(scope, peers, policy(scope, **images))
    host = peers.outside
    assert done["policies"] == [{"scope": scope.scope, "refused": f"{host}/{unsigned}", "accepted": f"{host}/{signed}"}]
    assert scope.podman.output("podman images --quiet") == stored
    assert not onboard(scope, peers, policy(scope, **images))["changed"]
    assert "Not proven of" in warned(onboard(scope, peers, policy(scope)))
    onboard(scope, peers, policy(scope, **images), state="absent")
    assert files(scope.podman) == before


def test_onboarding_takes_back_what_does_not_hold(scope: Room, peers: Peers) -> None:
    signed, unsigned = (name.partition("/")[2] for name in (scope.image("signed", "one"), scope.image("unsigned")))
    scope.podman.run(f"podman logout {peers.outside}")
    before = files(scope.podman)
    for images, words in (
        ({"signed_image": unsigned}, "does not accept the image"),
        ({"unsigned_image": signed}, "must not accept"),
        ({"unsigned_image": f"{signed}-gone"}, "no such image"),
        ({"unsigned_image": "elsewhere/app:1"}, "not in the scope"),
    ):
        done = onboard(scope, peers, policy(scope, **images), failed=True)
        assert words in done["msg"], done["msg"]
        assert done["step"] == "policies"
        assert files(scope.podman) == before
        assert peers.outside not in scope.podman.output("cat ~/.docker/config.json 2>/dev/null || true")
    scope.podman.run(f"podman login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
