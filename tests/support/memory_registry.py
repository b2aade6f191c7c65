"""A registry in memory that fails where a test tells it to."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import OCI_INDEX
from misbehaving import reply


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Fake:
    """A registry in memory that deletes digests and no tags, and fails where a test tells it to.

    `fail` maps (method, kind of target) to the answer in place of the right one, and `before` to what happens first.
    """

    def __init__(self, server):
        self.manifests = {}
        self.tags = {}
        self.referrers = {}
        self.fail = {}
        self.before = {}
        server.otherwise = self

    def add(self, repository, document, tag=None):
        content = json.dumps(document).encode()
        self.manifests[repository, digest_of(content)] = content, document["mediaType"]
        if tag:
            self.tags[repository, tag] = digest_of(content)
        return digest_of(content)

    def __call__(self, request, connection):
        path, _mark, query = request.target.partition("?")
        repository, kind, reference = path[len("/v2/") :].rsplit("/", 2)
        if kind == "uploads":
            kind = "mount" if "mount=" in query else "upload"
        elif kind == "manifests":
            kind = "digest" if ":" in reference else "tag"
        hook = self.before.pop((request.method, kind), None)
        if hook:
            hook()
        failure = self.fail.get((request.method, kind))
        answer = failure or self.answer(request, repository, kind, reference)
        return answer(request, connection)

    def answer(self, request, repository, kind, reference):
        if kind in ("tag", "digest"):
            return getattr(self, request.method.lower())(request, repository, kind, reference)
        if kind == "mount":
            return reply(201)
        if kind == "upload":
            return reply(202, Location=f"/v2/{repository}/upload") if request.method == "POST" else reply(201)
        if kind == "tags":
            names = [tag for where, tag in self.tags if where == repository]
            return reply(200, json.dumps({"tags": names}))
        if kind == "referrers" and self.referrers:
            document = {"manifests": [{"digest": one} for one in self.referrers.get(reference, [])]}
            return reply(200, json.dumps(document), Content_Type=OCI_INDEX)
        return reply(201) if request.method == "PUT" else reply(404)

    def get(self, _request, repository, kind, reference):
        digest = reference if kind == "digest" else self.tags.get((repository, reference))
        if (repository, digest) not in self.manifests:
            return reply(404)
        content, media_type = self.manifests[repository, digest]
        return reply(200, content, Content_Type=media_type, Docker_Content_Digest=digest)

    head = get

    def put(self, request, repository, kind, reference):
        digest = digest_of(request.body)
        self.manifests[repository, digest] = request.body, request.headers["content-type"]
        if kind == "tag":
            self.tags[repository, reference] = digest
        return reply(201, Docker_Content_Digest=digest)

    def delete(self, _request, repository, kind, reference):
        if kind == "tag":
            return reply(400, json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "not a digest"}]}))
        if self.manifests.pop((repository, reference), None) is None:
            return reply(404)
        self.tags = {
            place: digest for place, digest in self.tags.items() if (place[0], digest) != (repository, reference)
        }
        return reply(202)
