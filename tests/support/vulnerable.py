"""Images with known vulnerabilities, and a database of Trivy that knows them, so that real findings need no network."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

from bolt import database
from http_client import CONFIGS, LAYERS, OCI

if TYPE_CHECKING:
    from pathlib import Path

    from content import Content

FIXED, UNFIXED, MINOR = "CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003"
# vulnerability: source package of Debian 12, version that mends it, severity (1 to 4).
KNOWN = {FIXED: ("openssl", "3.0.15-1", 4), UNFIXED: ("openssl", "", 4), MINOR: ("zlib", "1:1.3-1", 1)}
DEBIAN = {"libssl3": ("openssl", "3.0.11-1"), "zlib1g": ("zlib", "1:1.2-1")}
MENDED = {"libssl3": ("openssl", "3.0.15-1"), "zlib1g": ("zlib", "1:1.3-1")}
STEPS = ("ADD rootfs.tar /", "COPY app /app")


def packed(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def of_debian(packages: dict[str, tuple[str, str]]) -> dict[str, bytes]:
    """The files by which a scanner knows Debian 12 and its packages."""
    status = [
        f"Package: {name}\nStatus: install ok installed\nSource: {source}\nVersion: {version}\nArchitecture: amd64\n"
        for name, (source, version) in packages.items()
    ]
    return {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
        "etc/debian_version": b"12.9\n",
        "var/lib/dpkg/status": "\n".join(status).encode(),
    }


def put_image(
    content: Content,
    repository: str,
    tag: str | None,
    packages: dict[str, tuple[str, str]] | None = None,
    *,
    architecture: str = "amd64",
    files: dict[str, bytes] | None = None,
    **more: object,
) -> dict:
    """Put an image of two layers: one of Debian with these packages, if any, and one with an application."""
    layers = [packed(of_debian(DEBIAN if packages is None else packages)), packed({"app": b"it", **(files or {})})]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2026-11-01T10:00:00Z",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]},
        "history": [{"created_by": STEPS[0]}, {"created_by": "ENV A=b", "empty_layer": True}, {"created_by": STEPS[1]}],
    }
    descriptors = [
        {**content.blob(repository, gzip.compress(one, mtime=0)), "mediaType": LAYERS[OCI]} for one in layers
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {**content.blob(repository, json.dumps(config).encode()), "mediaType": CONFIGS[OCI]},
        "layers": descriptors,
        **more,
    }
    return content.manifest(repository, tag, document, OCI)


def rows(value: object) -> bytes:
    return json.dumps(value).encode()


def database_files(age: datetime.timedelta, known: dict[str, tuple[str, str, int]]) -> dict[str, bytes]:
    """What the artefact of Trivy's database holds."""
    of_packages: dict[str, dict[str, bytes]] = {}
    for name, (package, fixed, _severity) in known.items():
        of_packages.setdefault(package, {})[name] = rows({"FixedVersion": fixed})
    tree = {
        "data-source": {"debian 12": rows({"ID": "debian", "Name": "Debian", "URL": "https://example.com"})},
        "debian 12": of_packages,
        "vulnerability": {
            name: rows({"Title": f"About {package}", "Severity": "UNKNOWN", "VendorSeverity": {"nvd": severity}})
            for name, (package, _fixed, severity) in known.items()
        },
    }
    made = datetime.datetime.now(datetime.UTC) - age
    times = {"UpdatedAt": made, "DownloadedAt": made, "NextUpdate": made + datetime.timedelta(days=1)}
    metadata = {"Version": 2, **{name: when.isoformat().replace("+00:00", "Z") for name, when in times.items()}}
    return {"trivy.db": database(tree), "metadata.json": rows(metadata)}


def put_database(
    content: Content,
    repository: str,
    tag: str = "2",
    *,
    age: datetime.timedelta = datetime.timedelta(hours=1),
    known: dict[str, tuple[str, str, int]] | None = None,
) -> dict:
    """Put a database as Trivy's mirror has it."""
    return _put_database(content, repository, tag, database_files(age, KNOWN if known is None else known))


def put_damaged_database(content: Content, repository: str, tag: str = "2") -> dict:
    """Put an artefact that says that it is Trivy's, and holds no database."""
    return _put_database(content, repository, tag, {"../../metadata.json": b"{}", "metadata.json": b"{}"})


def _put_database(content: Content, repository: str, tag: str, files: dict[str, bytes]) -> dict:
    archive = gzip.compress(packed(files))
    return content.manifest(
        repository,
        tag,
        {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {**content.blob(repository, b"{}"), "mediaType": "application/vnd.aquasec.trivy.config.v1+json"},
            "layers": [
                {**content.blob(repository, archive), "mediaType": "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"}
            ],
        },
        OCI,
    )


def write_layout(content: Content, repository: str, tag: str, path: Path) -> Path:
    """Write an image of the registry as the OCI image layout that other tools read."""
    _status, headers, manifest = content.ask("GET", f"/v2/{repository}/manifests/{tag}", Accept=OCI)
    digest = headers["Docker-Content-Digest"]
    document = json.loads(manifest)
    blobs = {one["digest"]: None for one in (document["config"], *document["layers"])}
    (path / "blobs" / "sha256").mkdir(parents=True)
    for name in blobs:
        blobs[name] = content.ask("GET", f"/v2/{repository}/blobs/{name}").body
    for name, data in (blobs | {digest: manifest}).items():
        (path / "blobs" / "sha256" / name.partition(":")[2]).write_bytes(data)
    entry = {"mediaType": OCI, "digest": digest, "size": len(manifest)}
    (path / "index.json").write_bytes(rows({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_bytes(rows({"imageLayoutVersion": "1.0.0"}))
    return path
