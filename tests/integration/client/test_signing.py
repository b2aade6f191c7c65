"""registry_sign, registry_verify, and what registry_tag requires, by real cosign 2.5 and 3.1 at a real registry."""

from __future__ import annotations

import datetime
import functools
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import engine
import pytest
import vulnerable
from http_client import OCI, OCI_INDEX
from managed import words
from marks import repeated
from runs import run_at_registry
from vulnerable import MENDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from content import Content
    from managed import Host
    from peers import Peers

PASSWORD = "of-the-key-and-of-no-worth"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
VERSIONS = ("2", "3")
SUMMARY = "https://slsa.dev/verification_summary/v1"


@pytest.fixture(scope="session")
def cosigns(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The program in both versions, out of the images of the lab."""
    found = {}
    for version, image in (("2", "clients"), ("3", "signers")):
        path = tmp_path_factory.mktemp(f"cosign-{version}") / "cosign"
        container = engine.command("docker", "create", images[image]).stdout.strip()
        engine.command("docker", "cp", f"{container}:/usr/bin/cosign", str(path))
        engine.command("docker", "rm", container)
        found[version] = str(path)
    return found


@pytest.fixture(scope="session")
def keys(cosigns: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the pairs a.key, a.pub, b.key and b.pub."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        command = [cosigns["3"], "generate-key-pair", f"--output-key-prefix={name}"]
        subprocess.run(command, cwd=directory, env=os.environ | {"COSIGN_PASSWORD": PASSWORD}, check=True)
    return directory


@pytest.fixture(params=[*repeated(*VERSIONS[:-1]), VERSIONS[-1]])
def cosign(request: pytest.FixtureRequest, cosigns: dict[str, str]) -> str:
    return cosigns[request.param]


@pytest.fixture
def web(content: Content, room: str) -> str:
    content.image(f"{room}/web", "1.0")
    return f"{room}/web:1.0"


@pytest.fixture
def at(host: Host, peers: Peers) -> Callable[..., dict]:
    return functools.partial(run_at_registry, host, peers)


@pytest.fixture
def sign(at: Callable[..., dict], keys: Path, cosigns: dict[str, str]) -> Callable[..., dict]:
    key = {"key": str(keys / "a.key"), "key_password": PASSWORD, "program": cosigns["3"]}
    return lambda **options: at("registry_sign", secrets=(PASSWORD,), **(key | options))


@pytest.fixture
def verify(at: Callable[..., dict], keys: Path, cosigns: dict[str, str]) -> Callable[..., dict]:
    known = {"keys": [str(keys / "a.pub")], "program": cosigns["3"]}
    return lambda **options: at("registry_verify", **(known | options))


def manifest(content: Content, repository: str, reference: str) -> dict:
    return content.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=f"{OCI}, {OCI_INDEX}").json


def stem(content: Content, name: str) -> str:
    return content.digest(*name.split(":")).replace(":", "-")


# --- signing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forms", [*repeated(["tag"], ["bundle"]), ["tag", "bundle"]])
def test_signatures_hold_for_everyone(
    sign: Callable[..., dict], verify: Callable[..., dict], cosign: str, web: str, forms: list[str]
) -> None:
    """As foretold, once, and for both versions."""
    for check, changed in ((True, True), (False, True), (True, False), (False, False)):
        done = sign(image=web, forms=forms, program=cosign, check=check)
        assert done["changed"] is changed and done["written"] == (forms if changed else [])
    assert [one["form"] for one in done["signatures"]] == forms
    found = verify(image=web)
    assert found["verified_by"] == [done["key"]] and not found["changed"]


@pytest.mark.parametrize("form", ["tag", "bundle"])
def test_cosign_itself_verifies_them(
    sign: Callable[..., dict], cosigns: dict[str, str], keys: Path, peers: Peers, *, tmp_path: Path, web: str, form: str
) -> None:
    sign(image=web, forms=[form])
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {peers["basic"]: {"username": "ci", "password": peers.users["ci"]}}})
    )
    environment = os.environ | {"DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(peers.ca), "HOME": str(tmp_path)}
    for version in VERSIONS if form == "tag" else ("3",):
        command = [cosigns[version], "verify", "--insecure-ignore-tlog=true", f"--key={keys / 'a.pub'}"]
        subprocess.run([*command, f"{peers['basic']}/{web}"], env=environment, check=True)


def test_a_second_key_signs_beside_the_first(
    sign: Callable[..., dict], verify: Callable[..., dict], keys: Path, content: Content, room: str, *, web: str
) -> None:
    first = sign(image=web, forms=["tag", "bundle"])
    second = sign(image=web, forms=["tag", "bundle"], key=str(keys / "b.key"))
    assert first["key"] != second["key"] and second["written"] == ["tag", "bundle"]
    assert len(manifest(content, f"{room}/web", stem(content, web) + ".sig")["layers"]) == 2
    assert verify(image=web)["verified_by"] == [first["key"]]
    both = [(keys / "a.pub").read_text(), str(keys / "b.pub")]
    assert verify(image=web, keys=both)["verified_by"] == [first["key"], second["key"]]


def test_attestations(sign: Callable[..., dict], verify: Callable[..., dict], web: str, tmp_path: Path) -> None:
    (tmp_path / "vuln.json").write_text('{"scanner": {"result": [1]}}')
    said = {"type": SUMMARY, "predicate": {"verificationResult": "PASSED"}}
    for attestation in (said, {"type": "vuln", "path": str(tmp_path / "vuln.json")}):
        for check, changed in ((True, True), (False, True), (True, False), (False, False)):
            assert sign(image=web, attestation=attestation, check=check)["changed"] is changed
    assert verify(image=web, attestation="vuln")["verified_by"]
    # Another predicate of the type is another attestation, and none of them is a signature.
    assert sign(image=web, attestation=said | {"predicate": {"verificationResult": "FAILED"}})["changed"]
    assert len(verify(image=web, attestation=SUMMARY)["signatures"]) == 2
    assert "has no signature" in verify(image=web, failed=True)["msg"]
    assert (
        "has no attestation of the type https://spdx.dev/Document"
        in verify(image=web, attestation="spdxjson", failed=True)["msg"]
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"key_password": "wrong"}, "can't be opened"),
        ({"key": "/no/such.key"}, "which is no file here"),
        ({"image": "none:1.0"}, "none:1.0 was not found"),
        ({"program": "no-cosign"}, "There is no program no-cosign here. Install the package cosign"),
        ({"forms": []}, "forms is empty"),
        ({"attestation": {"type": "of-mine", "predicate": {}}}, "'of-mine' is no type of an attestation"),
    ],
)
def test_what_can_not_be_signed(sign: Callable[..., dict], web: str, options: dict, told: str) -> None:
    assert told in words(sign(**({"image": web} | options), failed=True)["msg"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["no key"], "keys[1] is 'no key', which can't be read"),
        ([], "keys is empty"),
        (["-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----"], "keys[1] is no public key in PEM"),
    ],
)
def test_keys_that_are_none(verify: Callable[..., dict], web: str, given: list[str], told: str) -> None:
    assert told in words(verify(image=web, keys=given, failed=True)["msg"])


def test_the_password_of_the_key_is_in_no_command(
    sign: Callable[..., dict], cosigns: dict[str, str], web: str, tmp_path: Path
) -> None:
    """cosign gets files alone, no login, and the password where only root and its own account can read it."""
    program = tmp_path / "cosign"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/commands\nexec {cosigns["3"]} "$@"\n')
    program.chmod(0o755)
    sign(image=web, forms=["tag", "bundle"], program=str(program))
    said = (tmp_path / "commands").read_text()
    assert "sign-blob" in said and "attest-blob" in said and PASSWORD not in said


# --- attacks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(sign: Callable[..., dict], content: Content, room: str) -> str:
    """An image that is signed, in all forms."""
    content.image(f"{room}/web", "0.9")
    sign(image=f"{room}/web:0.9", forms=["tag", "bundle"])
    return f"{room}/web:0.9"


def test_a_signature_of_another_image(
    verify: Callable[..., dict], content: Content, room: str, web: str, other: str
) -> None:
    repository = f"{room}/web"
    signature = manifest(content, repository, stem(content, other) + ".sig")
    content.manifest(repository, stem(content, web) + ".sig", signature, OCI)
    (listed,) = manifest(content, repository, stem(content, other))["manifests"]
    bundle = manifest(content, repository, listed["digest"])
    subject = {"mediaType": OCI, "digest": content.digest(*web.split(":")), "size": 1}
    moved = content.manifest(repository, None, bundle | {"subject": subject}, OCI)
    entries = [{**moved, "artifactType": BUNDLE}, listed]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    content.manifest(repository, stem(content, web), document, OCI_INDEX)
    assert "has a signature, and none is of this image and by one of the 1 trusted keys" in words(
        verify(image=web, failed=True)["msg"]
    )


def test_another_key_and_another_document(
    sign: Callable[..., dict], verify: Callable[..., dict], cosigns: dict[str, str], keys: Path, content: Content,
    *, room: str, web: str, tmp_path: Path,
) -> None:  # fmt: skip
    sign(image=web, forms=["tag", "bundle"], key=str(keys / "b.key"))
    assert "none is of this image" in words(verify(image=web, failed=True)["msg"])
    # The trusted key has signed a document that names the image, and is no signature of an image.
    content.image(f"{room}/web", "2.0")
    digest = content.digest(f"{room}/web", "2.0")
    payload = json.dumps({"critical": {"type": "a list of what is bad", "image": {"docker-manifest-digest": digest}}})
    (tmp_path / "payload").write_text(payload)
    subprocess.run(
        [cosigns["3"], "sign-blob", "--yes", "--tlog-upload=false", "--use-signing-config=false",
         "--new-bundle-format=false", f"--key={keys / 'a.key'}", f"--output-signature={tmp_path / 'sig'}",
         tmp_path / "payload"],
        env=os.environ | {"COSIGN_PASSWORD": PASSWORD}, check=True,
    )  # fmt: skip
    layer = {
        **content.blob(f"{room}/web", payload.encode()),
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "annotations": {"dev.cosignproject.cosign/signature": (tmp_path / "sig").read_text()},
    }
    config = {**content.blob(f"{room}/web", b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"}
    document = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer]}
    content.manifest(f"{room}/web", digest.replace(":", "-") + ".sig", document, OCI)
    assert "none is of this image" in words(verify(image=f"{room}/web:2.0", failed=True)["msg"])


def test_lists_of_rubbish(verify: Callable[..., dict], content: Content, room: str, web: str, peers: Peers) -> None:
    """Hundreds of signatures and of entries that lead nowhere cost no more than some."""
    repository = f"{room}/web"
    config = {**content.blob(repository, b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"}
    layers = [
        {
            **content.blob(repository, b"{}"),
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "annotations": {"dev.cosignproject.cosign/signature": f"{number}"},
        }
        for number in range(500)
    ]
    content.manifest(
        repository,
        stem(content, web) + ".sig",
        {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": layers},
        OCI,
    )
    damaged = {"mediaType": OCI, "digest": content.digest(*web.split(":")), "size": 1, "artifactType": BUNDLE}
    entries = [{**damaged, "annotations": {"number": f"{number}"}} for number in range(500)]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    content.manifest(repository, stem(content, web), document, OCI_INDEX)
    before = len(peers.requests("basic"))
    assert "none is of this image" in words(verify(image=web, failed=True)["msg"])
    assert len(peers.requests("basic")) - before < 350


# --- promotions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def promote(
    at: Callable[..., dict], keys: Path, cosigns: dict[str, str], content: Content, room: str, *, tmp_path: Path
) -> Callable[..., dict]:
    """Runs registry_tag, which requires a signature and the policy, from ROOM/staging to ROOM/apps."""
    vulnerable.put_database(content, f"{room}/trivy-db")
    gate = {"database": {"repository": f"{room}/trivy-db:2"}, "scanner": {"cache_dir": str(tmp_path / "cache")}}

    def run(tag: str, *, require: dict | None = None, scanner: dict | None = None, **options: object) -> dict:
        options.setdefault("source", f"{room}/staging:{tag}")
        judged = gate | {"scanner": gate["scanner"] | (scanner or {})}
        wanted = {"pinned": True, "signed_by": [str(keys / "a.pub")], "cosign": cosigns["3"], "gate": judged}
        return at("registry_tag", repository=f"{room}/apps", tag=tag, require=wanted | (require or {}), **options)

    return run


@pytest.fixture
def staged(content: Content, room: str, sign: Callable[..., dict]) -> str:
    """Two images that the build has signed: 1.0 has a vulnerability, and 1.1 has not."""
    for tag, packages in (("1.0", None), ("1.1", MENDED)):
        vulnerable.put_image(content, f"{room}/staging", tag, packages)
        sign(image=f"{room}/staging:{tag}")
    return f"{room}/staging"


def test_what_holds_is_promoted(
    promote: Callable[..., dict], content: Content, room: str, staged: str, peers: Peers
) -> None:
    digest = content.digest(staged, "1.1")
    for check, changed in ((True, True), (False, True), (True, False), (False, False)):
        done = promote("1.1", check=check)
        assert done["changed"] is changed and done["digest"] == digest
        assert done["gate"]["verdict"] == "passed" and len(done["verified_by"]) == 1
        assert (content.digest(f"{room}/apps", "1.1") == digest) is not (check and changed)
    # With a report that is there, no layer leaves the registry, and it takes a moment.
    before, began = len(peers.requests("basic")), datetime.datetime.now(datetime.UTC)
    again = promote("1.2", source=f"{staged}:1.1")
    took = datetime.datetime.now(datetime.UTC) - began
    assert again["gate"]["reports"][0]["reused"] and took < datetime.timedelta(seconds=20)
    asked = [path for method, path, _status, _user in peers.requests("basic")[before:] if method == "GET"]
    layers = {layer["digest"] for layer in manifest(content, staged, "1.1")["layers"]}
    assert not [path for path in asked if path.rpartition("/")[2] in layers]


def test_what_does_not_hold_leaves_nothing(
    promote: Callable[..., dict], content: Content, room: str, staged: str
) -> None:
    vulnerable.put_image(content, staged, "0.1", MENDED, files={"other": b"1"})
    for tag, options, told in (
        ("1.0", {}, "is refused: CVE-2026-0001 (critical) in libssl3 3.0.11-1, fixed in 3.0.15-1"),
        ("0.1", {}, "has no signature"),
        ("latest", {"source": f"{staged}:1.1"}, "The tag latest says nothing of what it is"),
        ("1.1", {"require": {"attestations": ["vuln"]}}, "has no attestation of the type"),
        ("1.1", {"scanner": {"program": "no-trivy"}}, "There is no program no-trivy here"),
        ("1.1", {"require": {"gate": {"policy": {"severities": ["severe"]}}}}, "policy.severities has 'severe'"),
        ("1.1", {"require": {"signed_by": []}}, "require.signed_by is empty"),
        (
            "1.1",
            {"require": {"signed_by": None, "gate": None}},
            "require asks for nothing. Give signed_by, gate or both",
        ),
    ):
        for check in (True, False):
            refused = promote(tag, **options, check=check, failed=True)
            assert told in words(refused["msg"]), refused["msg"]
    assert content.tags(f"{room}/apps") == []
    assert promote("1.0", failed=True)["gate"]["findings"][0]["id"] == "CVE-2026-0001"


def test_a_tag_that_moves_between_verdict_and_write(
    promote: Callable[..., dict], content: Content, room: str, staged: str, peers: Peers, *, tmp_path: Path
) -> None:
    """The scanner takes so long that the build pushes another image under the tag meanwhile."""
    good = content.digest(staged, "1.1")
    bad = tmp_path / "bad.json"
    bad.write_bytes(content.ask("GET", f"/v2/{staged}/manifests/1.0", Accept=OCI).body)
    (tmp_path / "curlrc").write_text(f'user = "ci:{peers.users["ci"]}"\n')
    url = f"https://{peers['basic']}/v2/{staged}/manifests/1.1"
    login = f"--config {tmp_path}/curlrc --cacert {peers.ca}"
    push = f"curl -sS {login} -X PUT -H 'Content-Type: {OCI}' --data-binary @{bad}"
    program = tmp_path / "trivy"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = version ] || {push} {url} >{tmp_path}/said 2>&1\nexec {shutil.which("trivy")} "$@"\n'
    )
    program.chmod(0o755)
    done = promote("1.1", scanner={"program": str(program)})
    assert content.digest(staged, "1.1") == content.digest(staged, "1.0") != good, (tmp_path / "said").read_text()
    assert done["digest"] == good == content.digest(f"{room}/apps", "1.1")


def test_require_goes_with_present(promote: Callable[..., dict]) -> None:
    refused = promote("1.1", state="absent", failed=True)
    assert "require goes with state: present" in refused["msg"]


def test_nothing_else_comes_along(
    promote: Callable[..., dict], sign: Callable[..., dict], content: Content, room: str, staged: str
) -> None:
    """Images under tags that look like those of signatures, and in the list of what belongs to the image."""
    digest = content.digest(staged, "1.1")
    name = digest.replace(":", "-")
    bad = content.ask("GET", f"/v2/{staged}/manifests/1.0", Accept=OCI).json
    for suffix in (".x", ".latest", ".att"):
        content.manifest(staged, name + suffix, bad, OCI)
    done = promote("1.1")
    assert [tag for tag in content.tags(f"{room}/apps") if not tag.startswith("sha256-")] == ["1.1"]
    assert f"{name}.sig" in done["copied_referrers"]
    for suffix in (".x", ".latest", ".att"):
        assert f"{name}{suffix}" not in content.tags(f"{room}/apps")
    # A list with an image is left where it is, whole.
    entry = content.manifest(staged, None, {**bad, "subject": {"mediaType": OCI, "digest": digest, "size": 1}}, OCI)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    content.manifest(staged, name, document, OCI_INDEX)
    done = promote("1.2", source=f"{staged}@{digest}")
    assert content.digest(f"{room}/apps", entry["digest"]) is None
    assert "an image that could be run" in words(str(done["warnings"]))


def test_a_release_is_promoted_again_with_a_newer_report(
    promote: Callable[..., dict], sign: Callable[..., dict], content: Content, room: str, staged: str
) -> None:
    """Both sides have got something of their own meanwhile: a signature of the gate, and a report."""
    promote("1.1")
    sign(image=f"{room}/apps:1.1", forms=["bundle"])
    vulnerable.put_database(content, f"{room}/trivy-db", age=datetime.timedelta(minutes=1))
    for check, changed in ((True, True), (False, True), (True, False), (False, False)):
        assert promote("1.1", check=check)["changed"] is changed
    listed = manifest(content, f"{room}/apps", content.digest(f"{room}/apps", "1.1").replace(":", "-"))["manifests"]
    kinds = [one.get("artifactType") for one in listed]
    assert kinds.count(BUNDLE) == 1 and kinds.count("application/vnd.wharf.scan-report.v1+json") == 2
