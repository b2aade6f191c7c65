"""Content of a registry in memory for the page: images, tags, and what the index program would tell of them."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field

OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG, LAYER = (
    f"{OCI}index.v1+json",
    f"{OCI}manifest.v1+json",
    f"{OCI}config.v1+json",
    f"{OCI}layer.v1.tar+gzip",
)
DAY = 86400


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@dataclass
class Tag:
    digest: str
    pushed: int | None
    by: str = ""
    pulled: int | None = None


@dataclass
class Repository:
    name: str
    tags: dict[str, Tag] = field(default_factory=dict)
    # Facts by digest, as the index program reads them from signatures and reports.
    facts: dict[str, dict] = field(default_factory=dict)
    decisions: dict[str, dict] = field(default_factory=dict)
    untagged: list[dict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    worst: str = ""


class Registry:
    """Manifests and blobs by digest, in one namespace: which repository has them is of no matter to the page."""

    def __init__(self, retention: bool = True) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}
        self.repositories: dict[str, Repository] = {}
        self.retention = {"configured": retention, "next": None}
        self.fleet: dict | None = None
        # Whether all repositories have been read.
        self.complete = True

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository(name))

    def blob(self, content: bytes) -> str:
        self.blobs[digest_of(content)] = content
        return digest_of(content)

    def manifest(self, document: dict) -> str:
        content = json.dumps(document).encode()
        self.manifests[digest_of(content)] = content, document["mediaType"]
        return digest_of(content)

    def image(self, config: dict, layers: list[tuple[str, int, str]], **more: object) -> str:
        """layers: [(what makes its digest, size, command)]; a size of 0 is a step without a layer."""
        history = [{"created_by": command, "empty_layer": size == 0} for _seed, size, command in layers]
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": stamp(time.time() - 2 * DAY),
            "history": history,
            **config,
        }
        content = json.dumps(document).encode()
        parts = [
            {"mediaType": LAYER, "digest": digest_of(seed.encode()), "size": size}
            for seed, size, _command in layers
            if size
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.blob(content), "size": len(content)},
            "layers": parts,
            **more,
        }
        digest = self.manifest(manifest)
        self.sizes[digest] = sum(part["size"] for part in parts) + len(content)
        return digest

    def index(self, children: list[tuple[str, dict]]) -> str:
        entries = [
            {
                "mediaType": MANIFEST,
                "digest": digest,
                "size": len(self.manifests[digest][0]),
                "platform": {key: value for key, value in platform.items() if key != "annotations"},
                **({"annotations": platform["annotations"]} if "annotations" in platform else {}),
            }
            for digest, platform in children
        ]
        digest = self.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        self.sizes[digest] = sum(self.sizes.get(child, 0) for child, _platform in children)
        return digest

    # ---- what the index program tells ------------------------------------------------------------------------------

    def row(self, name: str) -> list:
        repository = self.repositories[name]
        tags = repository.tags.values()
        digests = {tag.digest for tag in tags}
        size = sum(self.sizes.get(digest, 0) for digest in digests)
        pushed = [tag for tag in tags if tag.pushed]
        last = max(pushed, key=lambda tag: tag.pushed) if pushed else None
        pulled = [tag.pulled for tag in tags if tag.pulled]
        return [
            name,
            len(repository.tags),
            len(repository.untagged),
            size * 3 // 4,
            size // 4,
            last.pushed if last else None,
            last.by if last else "",
            max(pulled) if pulled else None,
            repository.worst,
        ]

    def describe(self, name: str) -> dict:
        repository = self.repositories[name]
        tags = [self._tag(tag_name, tag) for tag_name, tag in repository.tags.items()]
        tags.sort(key=lambda tag: -(tag["pushed"] or 0))
        return {
            "version": 1,
            "name": name,
            "made": stamp(time.time()),
            "retention": self.retention,
            "tags": tags,
            "images": {tag.digest: self._facts(repository, tag.digest) for tag in repository.tags.values()},
            "decisions": {tag: repository.decisions[tag] for tag in repository.tags if tag in repository.decisions},
            "untagged": repository.untagged,
            "layers_shared": 1234,
            "problems": repository.problems,
        }

    def _tag(self, name: str, tag: Tag) -> dict:
        media_type = self.manifests.get(tag.digest, (b"", MANIFEST))[1]
        return {
            "name": name,
            "digest": tag.digest,
            "media_type": media_type,
            "kind": "index" if media_type == INDEX else "image",
            "size": self.sizes.get(tag.digest, 0),
            "created": stamp((tag.pushed or time.time()) - 600),
            "pushed": tag.pushed,
            "pushed_by": tag.by,
            "pulled": tag.pulled,
        }

    def _facts(self, repository: Repository, digest: str) -> dict:
        nothing = {
            "platforms": ["linux/amd64"],
            "artifact_type": "",
            "signatures": [],
            "attestations": [],
            "scan": None,
            "sbom": [],
        }
        return {**nothing, "referrers": [], **repository.facts.get(digest, {})}

    def elsewhere(self, digest: str, names: list[str]) -> list[str]:
        return [
            f"{name}:{tag}"
            for name in names
            for tag, found in self.repositories[name].tags.items()
            if found.digest == digest
        ]
