"""Puts images of all kinds into a registry by its API, and asks it what it holds, apart from the modules' own code."""

from __future__ import annotations

import gzip
import io
import json
import secrets
import tarfile

from http_client import ACCEPT, CONFIGS, DOCKER, LAYERS, MANIFESTS, OCI, OCI_INDEX, Client, digest_of


class Content(Client):
    """A registry's content."""

    def blob(self, repository: str, content: bytes) -> dict:
        """The descriptor of a blob that is there now."""
        digest = digest_of(content)
        if self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")[0] != 200:
            self.put_blob(repository, content)
        return {"digest": digest, "size": len(content)}

    def manifest(self, repository: str, reference: str | None, document: dict, media_type: str) -> dict:
        """Put a manifest under a tag, or under its digest; the descriptor of it."""
        content = json.dumps(document).encode()
        digest = digest_of(content)
        status, _headers, said = self.ask(
            "PUT", f"/v2/{repository}/manifests/{reference or digest}", content, Content_Type=media_type
        )
        assert status == 201, said
        return {"digest": digest, "size": len(content), "mediaType": media_type}

    def image(
        self,
        repository: str,
        reference: str | None = None,
        *,
        kind: str = OCI,
        architecture: str = "amd64",
        labels: dict[str, str] | None = None,
        layer: bytes | None = None,
        created: str = "2026-11-01T10:00:00Z",
        **more: object,
    ) -> dict:
        """Put an image, with a new layer where none is given."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {"Labels": labels or {}},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {**self.blob(repository, json.dumps(config).encode()), "mediaType": CONFIGS[kind]},
            "layers": [{**self.blob(repository, layer or secrets.token_bytes(64)), "mediaType": LAYERS[kind]}],
            **more,
        }
        return self.manifest(repository, reference, document, kind)

    def real_image(self, repository: str, reference: str) -> dict:
        """Put an image that an engine can unpack: a layer with one new file."""
        file, plain = io.BytesIO(secrets.token_bytes(1000)), io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as archive:
            entry = tarfile.TarInfo("file")
            entry.size = 1000
            archive.addfile(entry, file)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(plain.getvalue())]},
        }
        descriptor = {**self.blob(repository, json.dumps(config).encode()), "mediaType": CONFIGS[OCI]}
        return self.image(repository, reference, layer=gzip.compress(plain.getvalue()), config=descriptor)

    def index(
        self,
        repository: str,
        reference: str | None = None,
        *,
        kind: str = OCI_INDEX,
        architectures: tuple = ("amd64", "arm64"),
        **of_images: object,
    ) -> tuple[dict, list[dict]]:
        """Put an image for several platforms; its descriptor and those of its children."""
        child = OCI if kind == OCI_INDEX else DOCKER
        children = [
            {
                **self.image(repository, kind=child, architecture=architecture, **of_images),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture in architectures
        ]
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": children}
        return self.manifest(repository, reference, document, kind), children

    def artifact(self, repository: str, reference: str, config_type: str, layer_type: str, **more: object) -> dict:
        """Put what is no image, as signatures, attestations and charts are kept."""
        document = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {**self.blob(repository, b"{}"), "mediaType": config_type},
            "layers": [{**self.blob(repository, secrets.token_bytes(32)), "mediaType": layer_type}],
            **more,
        }
        return self.manifest(repository, reference, document, OCI)

    def sign(self, repository: str, descriptor: dict, kind: str = "sig") -> str:
        """Sign a manifest as cosign does; the tag of the signature."""
        tag = f"{descriptor['digest'].replace(':', '-')}.{kind}"
        payload = "application/vnd.dev.cosign.simplesigning.v1+json"
        self.artifact(repository, tag, "application/vnd.oci.image.config.v1+json", payload)
        return tag

    def digest(self, repository: str, reference: str) -> str | None:
        """What a tag points to, or None."""
        status, headers, _body = self.ask("HEAD", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
        assert status in (200, 404), status
        return headers["Docker-Content-Digest"] if status == 200 else None

    def tags(self, repository: str) -> list[str]:
        status, _headers, body = self.ask("GET", f"/v2/{repository}/tags/list")
        return sorted(json.loads(body)["tags"] or []) if status == 200 else []

    def pull(self, repository: str, reference: str) -> set[str]:
        """Read a manifest and all that it needs, as a client does; the digests, each hashed."""
        status, headers, content = self.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
        assert status == 200, f"{repository} has no {reference}"
        digest = digest_of(content)
        assert headers["Docker-Content-Digest"] == digest
        document = json.loads(content)
        found = {digest}
        listed = document.get("manifests") or []
        children = [one for one in listed if one.get("mediaType") in MANIFESTS]
        for child in children:
            found |= self.pull(repository, child["digest"])
        blobs = [*([document["config"]] if "config" in document else []), *document.get("layers", [])]
        for blob in [*blobs, *(one for one in listed if one not in children)]:
            status, _headers, content = self.ask("GET", f"/v2/{repository}/blobs/{blob['digest']}")
            assert status == 200 and digest_of(content) == blob["digest"], f"{repository} has no {blob['digest']}"
            found.add(blob["digest"])
        return found
