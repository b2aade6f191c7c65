"""A registry in memory of which any element can be odd, behind the server that misbehaves."""

from __future__ import annotations

import hashlib
import json

from misbehaving import reply

OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
WHOLE = {"os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z", "config": {"Labels": {"a": "b"}}}


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def as_bytes(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


class OddRegistry:
    """Repositories of tags, manifests and blobs, each as a test wants it. Version 2: it deletes digests alone.

    listed and catalogue, where they are set, are given in place of the true lists. answers are those to targets.
    """

    def __init__(self, server):
        self.manifests, self.tags, self.blobs = {}, {}, {}
        self.listed, self.catalogue, self.answers = {}, None, {}
        self.address = server.netloc
        server.otherwise = self

    def blob(self, repository, content):
        content = as_bytes(content)
        self.blobs[repository, digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content)}

    def manifest(self, repository, tag, document, media_type=OCI):
        """Puts what need not be a manifest; the descriptor of it."""
        content = as_bytes(document)
        self.manifests[repository, digest_of(content)] = content, media_type
        if tag:
            self.tags[repository, tag] = digest_of(content)
        return {"digest": digest_of(content), "size": len(content), "mediaType": media_type}

    def image(self, repository, tag=None, config=None, **more):
        config = {**self.blob(repository, WHOLE if config is None else config), "mediaType": IMAGE_CONFIG}
        layer = {**self.blob(repository, f"layer of {repository}:{tag}".encode()), "mediaType": LAYER}
        document = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer], **more}
        return self.manifest(repository, tag, document)

    def index(self, repository, tag, manifests, **more):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, **more}
        return self.manifest(repository, tag, document, OCI_INDEX)

    def names(self, repository):
        return sorted(tag for where, tag in self.tags if where == repository)

    def __call__(self, request, connection):
        return self._answer(request)(request, connection)

    def _answer(self, request):
        path = request.target.partition("?")[0]
        if path in self.answers:
            return self.answers[path]
        if path in ("/v2/", "/v2/_catalog"):
            names = sorted({where for where, _tag in self.tags}) if self.catalogue is None else self.catalogue
            return reply(200, as_bytes({"repositories": names}), Content_Type="application/json")
        repository, kind, reference = path[len("/v2/") :].rsplit("/", 2)
        if kind == "manifests":
            return getattr(self, request.method.lower())(request, repository, reference)
        if kind == "tags":
            names = self.listed.get(repository, self.names(repository))
            return reply(200, as_bytes({"name": repository, "tags": names})) if names else reply(404)
        return self._of_blob(request, repository, reference)

    def _of_blob(self, request, repository, reference):
        if (repository, reference) in self.blobs:
            return reply(200, self.blobs[repository, reference])
        if request.method in ("GET", "HEAD"):
            return reply(404)
        return reply(202, Location="/v2/uploads/blobs/1") if request.method == "POST" else reply(201)

    def get(self, _request, repository, reference):
        digest = reference if ":" in reference else self.tags.get((repository, reference))
        if (repository, digest) not in self.manifests:
            return reply(404)
        content, media_type = self.manifests[repository, digest]
        return reply(200, content, Content_Type=media_type, Docker_Content_Digest=digest)

    head = get

    def put(self, request, repository, reference):
        digest = digest_of(request.body)
        self.manifests[repository, digest] = request.body, request.headers["content-type"]
        if ":" not in reference:
            self.tags[repository, reference] = digest
        return reply(201, Docker_Content_Digest=digest)

    def delete(self, _request, repository, reference):
        if ":" not in reference:
            return reply(405)
        if self.manifests.pop((repository, reference), None) is None:
            return reply(404)
        self.tags = {place: at for place, at in self.tags.items() if (place[0], at) != (repository, reference)}
        return reply(202)
