"""registry_scan by real Trivy against a real registry, with a database that is made here."""

from __future__ import annotations

import datetime
import functools
import gzip
import json
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import vulnerable
from http_client import CONFIGS, DOCKER_LIST, LAYERS, OCI, OCI_INDEX
from managed import words
from marks import repeated
from runs import run_at_registry
from vulnerable import FIXED, MENDED, UNFIXED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from content import Content
    from managed import Host
    from peers import Peers

REPORT = "application/vnd.wharf.scan-report.v1+json"
LATER = "2099-12-31"
WAIVER = {"id": FIXED, "owner": "web team", "reason": "not reachable", "expires": LATER}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def scan(host: Host, peers: Peers, cache: Path, content: Content, room: str) -> Callable[..., dict]:
    """Runs registry_scan with a database that knows the vulnerabilities, and a cache of its own."""
    vulnerable.put_database(content, f"{room}/trivy-db")
    return functools.partial(
        run_at_registry,
        host,
        peers,
        "registry_scan",
        scanner={"cache_dir": str(cache)},
        database={"repository": f"{room}/trivy-db:2"},
    )


@pytest.fixture
def web(content: Content, room: str) -> str:
    """An image with vulnerabilities, as options name it."""
    vulnerable.put_image(content, f"{room}/web", "1.0")
    return f"{room}/web:1.0"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decisions(done: dict) -> dict[str, str]:
    return {one["id"]: one["decision"] for one in done["findings"]}


def reports_of(content: Content, name: str) -> list[dict]:
    """What the list that clients keep says of the reports of an image."""
    repository, tag = name.split(":")
    index = content.digest(repository, tag).replace(":", "-")
    status, _headers, body = content.ask("GET", f"/v2/{repository}/manifests/{index}", Accept=OCI_INDEX)
    entries = json.loads(body)["manifests"] if status == 200 else []
    return [one for one in entries if one.get("artifactType") == REPORT]


# --- findings ---------------------------------------------------------------------------------------------------------


def test_a_vulnerability_with_a_fix_refuses(
    scan: Callable[..., dict], content: Content, web: str, peers: Peers
) -> None:
    foretold = scan(image=web, check=True)
    assert foretold["changed"] and not reports_of(content, web)
    done = scan(image=web)
    assert done["changed"] and (done["verdict"], done["digest"]) == ("refused", content.digest(*web.split(":")))
    assert foretold["sentence"] == done["sentence"]
    assert done["sentence"] == (
        f"{web} is refused: CVE-2026-0001 (critical) in libssl3 3.0.11-1, fixed in 3.0.15-1, "
        "in layer 1 of 2 (ADD rootfs.tar /)."
    )
    assert decisions(done) == {FIXED: "blocks", UNFIXED: "allowed", "CVE-2026-0003": "allowed"}
    (stored,) = reports_of(content, web)
    assert stored["digest"] == done["report_digest"]
    # It is not made again, and no layer leaves the registry.
    before = len(peers.requests("basic"))
    for check in (True, False):
        again = scan(image=web, check=check)
        assert not again["changed"] and again["reports"][0]["reused"] and again["sentence"] == done["sentence"]
    blobs = [
        path
        for method, path, _status, _user in peers.requests("basic")[before:]
        if method == "GET" and "/blobs/" in path
    ]
    # The configuration of the image and the report, twice.
    assert len(blobs) == 4
    assert len(reports_of(content, web)) == 1


def test_what_is_mended_passes(scan: Callable[..., dict], content: Content, room: str) -> None:
    vulnerable.put_image(content, f"{room}/web", "1.1", MENDED)
    done = scan(image=f"{room}/web:1.1")
    assert done["verdict"] == "passed" and list(decisions(done)) == [UNFIXED]
    assert done["sentence"] == f"{room}/web:1.1 passes: 1 findings, none of which blocks."


@pytest.mark.parametrize(
    ("options", "verdict", "told"),
    [
        ({"policy": {"unfixed_severities": ["critical"]}, "waivers": [WAIVER]}, "refused", "not fixed yet"),
        ({"waivers": [WAIVER]}, "passed", "(1 waived)"),
        ({"waivers": [WAIVER | {"expires": "2026-01-31"}]}, "refused", "the waiver of web team expired on 2026-01-31"),
        ({"policy": {"severities": []}}, "passed", "none of which blocks"),
        ({"policy": {"deny": ["CVE-2026-0003"]}, "waivers": [WAIVER]}, "refused", "is denied by the policy"),
    ],
)
def test_policies(scan: Callable[..., dict], web: str, options: dict, verdict: str, told: str) -> None:
    done = scan(image=web, **options)
    assert done["verdict"] == verdict and told in done["sentence"], done["sentence"]


def test_what_production_has_is_not_new(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    vulnerable.put_image(content, f"{room}/apps", "stable")
    done = scan(image=web, baseline=f"{room}/apps:stable")
    assert done["verdict"] == "passed" and decisions(done)[FIXED] == "known"
    vulnerable.put_image(content, f"{room}/apps", "stable", MENDED)
    assert scan(image=web, baseline=f"{room}/apps:stable")["verdict"] == "refused"
    first = scan(image=web, baseline=f"{room}/none:stable")
    assert first["verdict"] == "refused" and "the baseline is not counted" in words(str(first["warnings"]))


def test_a_list_of_packages_on_request(scan: Callable[..., dict], content: Content, web: str, room: str) -> None:
    done = scan(image=web, sbom="cyclonedx")
    (report,) = done["reports"]
    status, _headers, body = content.ask("GET", f"/v2/{room}/web/manifests/{report['sbom_digest']}", Accept=OCI)
    assert status == 200 and json.loads(body)["artifactType"] == "application/vnd.cyclonedx+json"
    blob = json.loads(body)["layers"][0]["digest"]
    document = content.ask("GET", f"/v2/{room}/web/blobs/{blob}").json
    assert {"libssl3", "zlib1g"} <= {one["name"] for one in document["components"]}


# --- what can't be judged ---------------------------------------------------------------------------------------------


def test_an_index_with_one_platform_that_is_not_there(scan: Callable[..., dict], content: Content, room: str) -> None:
    def child(architecture: str, packages: dict) -> dict:
        image = vulnerable.put_image(content, f"{room}/web", None, packages, architecture=architecture)
        return {**image, "platform": {"os": "linux", "architecture": architecture}}

    good, bad = child("amd64", MENDED), child("arm64", MENDED | {"libssl3": vulnerable.DEBIAN["libssl3"]})
    attestation = {
        **content.artifact(f"{room}/web", None, CONFIGS[OCI], "application/vnd.in-toto+json"),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    for kind, listed in ((OCI_INDEX, [good, attestation, bad]), (DOCKER_LIST, [bad, good])):
        content.manifest(f"{room}/web", "2.0", {"schemaVersion": 2, "mediaType": kind, "manifests": listed}, kind)
        done = scan(image=f"{room}/web:2.0")
        assert done["verdict"] == "refused" and "CVE-2026-0001" in done["sentence"]
        assert [one["platforms"] for one in done["findings"] if one["decision"] == "blocks"] == [["linux/arm64"]]
        assert len(done["reports"]) == 2
        assert scan(image=f"{room}/web:2.0", platforms=["linux/amd64"])["verdict"] == "passed"
    missing = scan(image=f"{room}/web:2.0", platforms=["linux/amd64", "linux/s390x"])
    assert missing["problems"] == ["linux/s390x: the image has no such platform"] and missing["verdict"] == "refused"


def test_an_image_without_an_operating_system(scan: Callable[..., dict], content: Content, room: str) -> None:
    content.real_image(f"{room}/static", "1.0")
    done = scan(image=f"{room}/static:1.0")
    assert done["verdict"] == "refused" and "recognised no operating system and no packages" in done["sentence"]
    assert scan(image=f"{room}/static:1.0", policy={"allow_unrecognized": True})["verdict"] == "passed"


def test_a_database_that_is_too_old(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    vulnerable.put_database(content, f"{room}/trivy-db", age=datetime.timedelta(days=4))
    done = scan(image=web)
    assert done["verdict"] == "refused" and "the database of the scanner is of" in done["sentence"]
    assert "older than max_database_age allows" in done["sentence"]
    assert scan(image=web, policy={"max_database_age": "5d", "severities": []})["verdict"] == "passed"


def test_a_new_database_makes_a_new_report(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    known = {name: one for name, one in vulnerable.KNOWN.items() if name != FIXED}
    vulnerable.put_database(content, f"{room}/trivy-db", known=known)
    assert scan(image=web)["verdict"] == "passed"
    pinned = content.digest(f"{room}/trivy-db", "2")
    vulnerable.put_database(content, f"{room}/trivy-db")
    done = scan(image=web)
    assert done["verdict"] == "refused" and not done["reports"][0]["reused"]
    old = scan(image=web, database={"repository": f"{room}/trivy-db@{pinned}"})
    assert old["verdict"] == "passed"


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ({}, "has no vulnerability database. Give database.repository"),
        ({"repository": "none/trivy-db:2"}, "none/trivy-db:2 is not there"),
    ],
)
def test_no_database(scan: Callable[..., dict], web: str, database: dict, told: str) -> None:
    done = scan(image=web, database=database)
    assert done["verdict"] == "refused" and told in done["sentence"], done["sentence"]


def test_a_database_that_is_none(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    done = scan(image=web, database={"repository": web})
    assert "is no database of Trivy" in done["sentence"]
    scan(image=web)
    before = content.digest(f"{room}/trivy-db", "2")
    vulnerable.put_damaged_database(content, f"{room}/trivy-db")
    assert content.digest(f"{room}/trivy-db", "2") != before
    done = scan(image=web)
    assert done["verdict"] == "refused" and "has no trivy.db" in done["sentence"]
    # What was there stays.
    assert scan(image=web, database={"repository": f"{room}/trivy-db@{before}"})["reports"][0]["reused"]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "echo '2026-11-30T10:19:09Z FATAL Fatal error run error: it crashed' >&2; exit 1",
            "Trivy failed: run error: it crashed",
        ),
        ("exit 3", "Trivy failed: it ended with 3"),
        ("kill -9 $$", "Trivy was ended by signal 9. Check the memory"),
        ("echo 'write /tmp/x: no space left on device' >&2; exit 1", "The disk is full. Free space"),
        ("sleep 60", "Trivy did not end within"),
        ("echo '<html>'", "Trivy ended well and gave no report"),
        ('printf "\\033[31mFATAL\\033[0m red" >&2; exit 1', "Trivy failed: red"),
    ],
)
def test_a_scanner_that_fails(
    scan: Callable[..., dict], cache: Path, tmp_path: Path, web: str, *, text: str, told: str
) -> None:
    real = shutil.which("trivy")
    program = script(tmp_path / "trivy", f'[ "$1" = image ] || exec {real} "$@"\n{text}')
    options = {"cache_dir": str(cache), "program": program, "timeout": 1}
    done = scan(image=web, scanner=options)
    assert done["verdict"] == "refused" and told in done["sentence"], done["sentence"]
    assert not done["changed"] and not done["reports"]


def test_no_scanner(scan: Callable[..., dict], cache: Path, web: str) -> None:
    done = scan(image=web, scanner={"cache_dir": str(cache), "program": "no-trivy"})
    assert "There is no program no-trivy here. Install Trivy" in done["sentence"]


def test_a_disk_that_is_full(
    scan: Callable[..., dict], tmp_path: Path, cache: Path, content: Content, room: str
) -> None:
    """A temporary directory of 1 MiB, into which the layers do not fit."""
    vulnerable.put_image(content, f"{room}/big", "1.0", files={"large": os.urandom(4 << 20)})
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        done = scan(image=f"{room}/big:1.0", env={"TMPDIR": str(small)})
        assert done["verdict"] == "refused" and "No space left on device" in done["sentence"], done["sentence"]
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    assert scan(image=f"{room}/big:1.0")["problems"] == []


def test_no_such_image(scan: Callable[..., dict], room: str) -> None:
    assert "was not found" in scan(image=f"{room}/none:1.0", failed=True)["msg"]
    assert "names no repository" in scan(image="sha256:" + "1" * 64, failed=True)["msg"]


# --- reports of others ------------------------------------------------------------------------------------------------


@pytest.fixture
def by_trivy(scan: Callable[..., dict], cache: Path, web: str, content: Content, tmp_path: Path) -> Callable[..., Path]:
    """Reports of Trivy itself, made of the image in a layout, as another pipeline would make them."""
    scan(image=web, store=False)
    own = tmp_path / "own-cache"
    own.mkdir()
    (own / "db").symlink_to(next((cache / "databases").glob("db-*")))

    def make(form: str, image: str = web) -> Path:
        layout = vulnerable.write_layout(content, *image.split(":"), tmp_path / f"layout-{form}")
        path = tmp_path / f"report.{form}"
        command = ["trivy", "image", "--quiet", "--cache-dir", own, "--skip-db-update", "--offline-scan"]
        subprocess.run(
            [*command, "--scanners=vuln", f"--format={form}", f"--output={path}", f"--input={layout}"], check=True
        )
        return path

    return make


@pytest.mark.parametrize("form", ["json", "sarif", *repeated("cyclonedx")])
def test_reports_of_others(
    scan: Callable[..., dict], by_trivy: Callable[..., Path], content: Content, room: str, web: str, *, form: str
) -> None:
    path = by_trivy(form)
    name = f"registry.test/web@{content.digest(*web.split(':'))}"
    dated = {"updated": now()}
    named = json.loads(path.read_bytes())
    # In a layout, Trivy does not see the name.
    if form == "json":
        named["Metadata"]["RepoDigests"] = [name]
    if form == "cyclonedx":
        named["metadata"]["component"]["purl"] = name.replace("registry.test/", "pkg:oci/")
    if form == "sarif":
        # Trivy tells no time in it.
        named["runs"][0]["properties"] = {"repoDigests": [name]}
        named["runs"][0]["invocations"] = [{"executionSuccessful": True, "endTimeUtc": dated["updated"]}]
    path.write_text(json.dumps(named))
    done = scan(image=web, report=[str(path)], database=dated)
    assert done["verdict"] == "refused" and done["findings"][0]["id"] == FIXED, done["sentence"]
    assert done["findings"][0]["fixed"] == "3.0.15-1" and done["reports"][0]["report_digest"]
    for check in (True, False):
        assert not scan(image=web, report=[str(path)], database=dated, check=check)["changed"]
    undated = scan(image=web, report=[str(path)], database={})
    assert "the database of the scanner does not tell its date" in undated["sentence"]
    # It is of that image and of no other.
    vulnerable.put_image(content, f"{room}/other", "1.0")
    other = scan(image=f"{room}/other:1.0", report=[str(path)], database=dated)
    if content.digest(f"{room}/other", "1.0") != content.digest(*web.split(":")):
        assert other["verdict"] == "refused" and "no report is of sha256:" in other["sentence"]


# --- attacks ----------------------------------------------------------------------------------------------------------


def attach(content: Content, repository: str, subject: dict, report: bytes, **annotations: str) -> dict:
    """Put a report beside an image as anyone can who may push, and list it."""
    blob = {**content.blob(repository, report), "mediaType": "application/json"}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "artifactType": REPORT,
        "config": {**content.blob(repository, b"{}"), "mediaType": "application/vnd.oci.empty.v1+json"},
        "layers": [blob],
        "subject": subject,
        "annotations": annotations,
    }
    entry = content.manifest(repository, None, document, OCI)
    return {**entry, "artifactType": REPORT, "annotations": annotations}


def keep_list(content: Content, repository: str, digest: str, entries: list[dict]) -> None:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    content.manifest(repository, digest.replace(":", "-"), document, OCI_INDEX)


def document_at(content: Content, repository: str, reference: str) -> dict:
    return content.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=f"{OCI}, {OCI_INDEX}").json


def test_reports_that_praise_an_image(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    """One with the seal of another report, one that was moved from a good image, and a list that tells lies."""
    repository = f"{room}/web"
    bad = {"mediaType": OCI, "digest": content.digest(*web.split(":")), "size": 1}
    good = vulnerable.put_image(content, repository, "1.1", MENDED)
    praise = scan(image=f"{repository}:1.1")
    sealed = document_at(content, repository, praise["report_digest"])
    blob = sealed["layers"][0]["digest"]
    report = content.ask("GET", f"/v2/{repository}/blobs/{blob}").body
    future = {**sealed["annotations"], "org.opencontainers.image.created": "2026-12-31T00:00:00Z"}
    forged = [
        attach(content, repository, bad, report),
        attach(content, repository, bad, report, **sealed["annotations"]),
        attach(content, repository, bad, report, **future),
        # The list says that the report of the other image is of this one.
        {"mediaType": OCI, "digest": praise["report_digest"], "size": 1, "artifactType": REPORT, "annotations": future},
        {
            "mediaType": OCI_INDEX,
            "digest": good["digest"],
            "size": 1,
            "artifactType": REPORT,
            "annotations": {"a": "1"},
        },
    ]
    keep_list(content, repository, bad["digest"], forged)
    done = scan(image=web)
    assert done["verdict"] == "refused" and not done["reports"][0]["reused"] and FIXED in done["sentence"]
    assert scan(image=web)["reports"][0]["reused"]


def test_a_report_that_was_taken_away(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    scan(image=web)
    keep_list(content, f"{room}/web", content.digest(*web.split(":")), [])
    done = scan(image=web)
    assert done["verdict"] == "refused" and not done["reports"][0]["reused"]


def test_another_host_makes_its_own(scan: Callable[..., dict], web: str, tmp_path: Path) -> None:
    scan(image=web)
    done = scan(image=web, scanner={"cache_dir": str(tmp_path / "another")})
    assert not done["reports"][0]["reused"]


def test_hostile_texts(
    scan: Callable[..., dict], by_trivy: Callable[..., Path], web: str, tmp_path: Path, content: Content
) -> None:
    """Names in an image are its author's: nothing of them is run, and none moves a terminal."""
    path = by_trivy("json")
    hostile = (
        f"\x1b[2J\x1b]0;title\x07{{{{ lookup('pipe', 'touch {tmp_path}/owned') }}}}<script>alert(1)</script>\u202e"
    )
    report = json.loads(path.read_text().replace("libssl3", json.dumps(hostile)[1:-1]))
    report["Metadata"]["RepoDigests"] = [f"web@{content.digest(*web.split(':'))}"]
    path.write_text(json.dumps(report))
    done = scan(image=web, report=[str(path)], database={"updated": now()})
    assert done["verdict"] == "refused" and "<script>" in done["sentence"]
    assert not [one for one in json.dumps(done, ensure_ascii=False) if ord(one) < 32 or one == "\u202e"]
    assert not (tmp_path / "owned").exists()


def test_what_lies_where_it_runs_changes_nothing(
    scan: Callable[..., dict], web: str, tmp_path: Path, host: Host
) -> None:
    """A .trivyignore of the account, and settings of Trivy in the environment."""
    (tmp_path / "home" / ".trivyignore").write_text(f"{FIXED}\n")
    (tmp_path / "home" / "trivy.yaml").write_text("severity: [LOW]\n")
    done = scan(image=web, env={"TRIVY_SEVERITY": "LOW", "TRIVY_IGNOREFILE": str(tmp_path / "home" / ".trivyignore")})
    assert FIXED in done["sentence"]


def child(
    content: Content, repository: str, packages: dict | None, architecture: str = "amd64", **more: object
) -> dict:
    """A child of an index: an image with a vulnerability, or one without."""
    image = vulnerable.put_image(content, repository, None, packages, architecture=architecture, **more)
    return {**image, "platform": {"os": "linux", "architecture": architecture}}


def put_index(content: Content, repository: str, tag: str, listed: list[dict], raw: bytes | None = None) -> None:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    text = json.dumps(document).encode() if raw is None else raw
    answer = content.ask("PUT", f"/v2/{repository}/manifests/{tag}", text, Content_Type=OCI_INDEX)
    assert answer.status == 201, answer.body


def test_no_child_hides_from_the_scanner(scan: Callable[..., dict], content: Content, room: str) -> None:
    """An index in which clients find another image than the one that is easily seen."""
    repository = f"{room}/web"
    bad, good = child(content, repository, None), child(content, repository, MENDED)
    arm = child(content, repository, MENDED, "arm64")
    unknown = {"os": "unknown", "architecture": "unknown"}
    told = {"vnd.docker.reference.type": "attestation-manifest"}
    hidden = {
        "before one of the same platform": [bad, good],
        "after one of the same platform": [good, bad],
        "as an attestation": [good, {**bad, "platform": unknown}],
        "as an attestation that says so": [good, {**bad, "platform": unknown, "annotations": told}],
        "as no manifest": [arm, {**bad, "mediaType": "application/json"}],
        "as another kind of manifest": [arm, {**bad, "mediaType": DOCKER_LIST}],
        "without a platform": [good, {key: value for key, value in bad.items() if key != "platform"}],
        "by another name of the platform": [{**bad, "platform": {"os": "Linux", "architecture": "x86_64"}}, good],
        "by a name that only looks the same": [
            good,
            {**bad, "platform": {"os": "linux", "architecture": "amd64\u200b"}},
        ],
    }
    for number, (how, listed) in enumerate(hidden.items()):
        put_index(content, repository, f"{number}", listed)
        for options in ({}, {"platforms": ["linux/amd64"]}):
            done = scan(image=f"{repository}:{number}", **options)
            assert done["verdict"] == "refused", (how, options, done["sentence"])
    put_index(content, repository, "good", [good, arm])
    assert scan(image=f"{repository}:good")["verdict"] == "passed"


def test_what_two_readers_read_differently(scan: Callable[..., dict], content: Content, room: str) -> None:
    """Go takes Platform for platform, and of two the last one."""
    repository = f"{room}/web"
    bad, good = child(content, repository, None), child(content, repository, MENDED)
    text = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [good]})
    entry = json.dumps(bad)
    unknown = '"platform": {"os": "unknown", "architecture": "unknown"'
    for number, raw in enumerate(
        (
            text.replace('"manifests": [', f'"manifests": [{entry[:-1]}, {unknown}}}}}, '),
            text.replace(
                '"manifests": [', f'"manifests": [{entry.replace(chr(34) + "platform", chr(34) + "Platform")}, '
            ),
            text.replace("}]}", f'}}], "manife\u017fts": [{entry}]}}'),
            text.replace(f'"digest": "{good["digest"]}"', f'"digest": "{good["digest"]}", "Digest": "{bad["digest"]}"'),
        )
    ):
        answer = content.ask("PUT", f"/v2/{repository}/manifests/{number}", raw.encode(), Content_Type=OCI_INDEX)
        if answer.status != 201:
            continue
        done = scan(image=f"{repository}:{number}")
        assert done["verdict"] == "refused", (raw, done["sentence"])


def test_layers_that_claim_to_be_others(scan: Callable[..., dict], content: Content, room: str) -> None:
    """What Trivy knows of the layers of one image is not taken for those of another."""
    repository = f"{room}/web"
    vulnerable.put_image(content, repository, "bad")
    honest = document_at(content, repository, "bad")
    mended = vulnerable.put_image(content, repository, "mended", MENDED)
    layers = document_at(content, repository, mended["digest"])["layers"]
    # The configuration of the bad image, with the layers of the good one.
    content.manifest(repository, "poison", {**honest, "layers": layers}, OCI)
    scan(image=f"{repository}:poison")
    done = scan(image=f"{repository}:bad")
    assert done["verdict"] == "refused" and FIXED in done["sentence"]
    for wrong in ([layers[0]], [*layers, layers[1]], [layers[0], layers[0]]):
        content.manifest(repository, "wrong", {**honest, "layers": wrong}, OCI)
        assert "does not name each of its layers once" in scan(image=f"{repository}:wrong")["sentence"]


def test_a_system_that_is_not_compared(scan: Callable[..., dict], content: Content, room: str) -> None:
    """Trivy names a system for which it has no data, or without packages, and finds nothing in it."""
    for tag, files in {
        "of no data": {"etc/os-release": b'ID=slackware\nVERSION_ID="15"\n'},
        "without packages": {"var/lib/dpkg/status": b""},
        "of another year": {"etc/os-release": b'ID=debian\nVERSION_ID="99"\n', "etc/debian_version": b"99.1\n"},
    }.items():
        name = tag.replace(" ", "-")
        vulnerable.put_image(content, f"{room}/web", name, files=files)
        done = scan(image=f"{room}/web:{name}")
        if not done["findings"]:
            assert done["verdict"] == "refused" and "recognised no" in done["sentence"], (tag, done["sentence"])


def test_a_list_of_packages_is_no_report(scan: Callable[..., dict], content: Content, room: str, web: str) -> None:
    """It has a seal of this host, and says nothing of vulnerabilities."""
    repository = f"{room}/web"
    done = scan(image=web, sbom="cyclonedx")
    sbom = document_at(content, repository, done["reports"][0]["sbom_digest"])
    sbom["artifactType"] = REPORT
    entry = content.manifest(repository, None, sbom, OCI)
    keep_list(
        content, repository, done["digest"], [{**entry, "artifactType": REPORT, "annotations": sbom["annotations"]}]
    )
    again = scan(image=web)
    assert again["verdict"] == "refused" and not again["reports"][0]["reused"]


def test_a_report_that_was_brought_is_not_used_again(
    scan: Callable[..., dict], by_trivy: Callable[..., Path], content: Content, web: str, tmp_path: Path
) -> None:
    """It praises the image, and was taken once."""
    report = json.loads(by_trivy("json").read_bytes())
    report["Metadata"]["RepoDigests"] = [f"web@{content.digest(*web.split(':'))}"]
    report["Results"][0]["Vulnerabilities"] = []
    (tmp_path / "praise.json").write_text(json.dumps(report))
    assert scan(image=web, report=[str(tmp_path / "praise.json")], database={"updated": now()})["verdict"] == "passed"
    done = scan(image=web)
    assert done["verdict"] == "refused" and not done["reports"][0]["reused"]


@pytest.mark.parametrize("mode", [*repeated(0o777), 0o770])
def test_a_cache_that_others_can_write(scan: Callable[..., dict], cache: Path, web: str, mode: int) -> None:
    cache.mkdir()
    cache.chmod(mode)
    assert "can be written by other accounts" in scan(image=web, failed=True)["msg"]
    cache.chmod(0o700)
    scan(image=web)
    (cache / "seal.key").chmod(0o644)
    assert "is no key that this account alone can read" in scan(image=web, failed=True)["msg"]


def test_runs_that_were_killed_leave_nothing_for_long(scan: Callable[..., dict], cache: Path, web: str) -> None:
    scan(image=web)
    assert sorted(one.name for one in cache.iterdir()) == ["databases", "seal.key"]
    for name in (".wharf-killed", "databases/db-sha256-old"):
        (cache / name).mkdir()
        os.utime(cache / name, (0, 0))
    shutil.rmtree(next((cache / "databases").glob("db-sha256-?[!l]*")))
    scan(image=web)
    assert not (cache / ".wharf-killed").exists() and not (cache / "databases" / "db-sha256-old").exists()


# --- a container ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trivy_image() -> Iterator[str]:
    """An image that holds the program alone, which is linked statically."""
    name = f"wharf-trivy-{os.getpid()}:1"
    program = os.path.realpath(shutil.which("trivy"))
    place, file = os.path.split(program)
    with subprocess.Popen(["tar", "-C", place, "-c", file], stdout=subprocess.PIPE) as archive:
        entry = f'ENTRYPOINT ["/{file}"]'
        subprocess.run(
            ["docker", "import", "--change", entry, "-", name], stdin=archive.stdout, check=True, capture_output=True
        )
    yield name
    subprocess.run(["docker", "image", "rm", name], check=True, capture_output=True)


def test_a_container(scan: Callable[..., dict], cache: Path, web: str, trivy_image: str) -> None:
    """It has no network and no login, and finds what the program finds."""
    done = scan(image=web, scanner={"cache_dir": str(cache), "image": trivy_image}, sbom="cyclonedx")
    assert decisions(done) == {FIXED: "blocks", UNFIXED: "allowed", "CVE-2026-0003": "allowed"}
    assert done["reports"][0]["sbom_digest"] and done["reports"][0]["scanner"].startswith("trivy 0.")
    # The report is the same, whatever has made it.
    assert scan(image=web)["reports"][0]["reused"]
    left = ["docker", "ps", "--all", "--quiet", "--filter", "name=wharf-scan-"]
    assert not subprocess.run(left, capture_output=True, check=True, text=True).stdout


def test_a_container_that_can_not_be_run(scan: Callable[..., dict], cache: Path, web: str) -> None:
    done = scan(image=web, scanner={"cache_dir": str(cache), "image": "wharf-none:1"})
    assert done["verdict"] == "refused" and "docker does not run the image wharf-none:1: " in done["sentence"]
    assert "No such image" in done["sentence"] and "pull it by its digest" in done["sentence"]


# --- a server ---------------------------------------------------------------------------------------------------------


def test_a_server(
    scan: Callable[..., dict], cache: Path, content: Content, room: str, web: str, *, tmp_path: Path
) -> None:
    """Its database is the one that counts, and its date. Layers that claim to be others do not get there."""
    layers = [{**content.blob(f"{room}/web", gzip.compress(text)), "mediaType": LAYERS[OCI]} for text in (b"a", b"b")]
    content.manifest(f"{room}/web", "poison", {**document_at(content, f"{room}/web", "1.0"), "layers": layers}, OCI)
    for age, verdict in ((datetime.timedelta(hours=1), "refused"), (datetime.timedelta(days=9), "refused")):
        place = tmp_path / f"server-{age.days}"
        (place / "db").mkdir(parents=True)
        for name, data in vulnerable.database_files(age, vulnerable.KNOWN).items():
            (place / "db" / name).write_bytes(data)
        port = free_port()
        command = ["trivy", "server", "--cache-dir", place, "--skip-db-update", "--listen", f"127.0.0.1:{port}"]
        with subprocess.Popen([*command, "--token", "of-the-server"], stderr=subprocess.DEVNULL) as server:
            try:
                wait_for_port(port)
                options = {"cache_dir": str(cache), "server": f"http://127.0.0.1:{port}", "token": "of-the-server"}
                done = scan(image=web, scanner=options, database={}, secrets=("of-the-server",))
                poison = scan(image=f"{room}/web:poison", scanner=options, database={})
            finally:
                server.terminate()
        assert done["verdict"] == verdict
        assert ("older than max_database_age" in done["sentence"]) == (age.days > 3), done["sentence"]
        assert "and the configuration of the image says sha256:" in poison["sentence"], poison["sentence"]
    gone = scan(image=web, scanner=options, database={})
    assert "does not answer" in gone["sentence"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port: int) -> None:
    for _attempt in range(100):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")


# --- many -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.long)])
def test_many_images_with_one_database(
    scan: Callable[..., dict], content: Content, room: str, peers: Peers, count: int
) -> None:
    for number in range(count):
        packages = vulnerable.DEBIAN if number == 3 else MENDED
        vulnerable.put_image(content, f"{room}/app", str(number), packages, files={"name": str(number).encode()})
    before = len(peers.requests("basic"))
    done = scan(images=[f"{room}/app:{number}" for number in range(count)])
    assert [one["verdict"] for one in done["results"]].count("refused") == 1
    assert done["verdict"] == "refused" and done["sentence"].startswith(f"{room}/app:3 is refused")
    paths = [path for method, path, _status, _user in peers.requests("basic")[before:] if method == "GET"]
    assert len([path for path in paths if f"{room}/trivy-db/blobs/" in path]) == 1
    # The layer that they share was read once, or twice of the one image that has another.
    assert len([path for path in paths if f"{room}/app/blobs/" in path]) <= 2 * count + 2
