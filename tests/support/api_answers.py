"""What a registry answers to the client of the distribution API, as a test wants it, and that client."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import RegistryClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import OCI_MANIFEST
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from misbehaving import reply

CATALOGUE = "/v2/_catalog"
LATEST = "/v2/a/b/manifests/1.0"
CONTENT = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode()
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def make_api(server, credential=None):
    return RegistryClient(
        RegistryName(server.netloc), HttpClient(TLSConfig(server.netloc), timeout=2), credential, plain_http=True
    )


def manifest(content=CONTENT, digest=DIGEST, **headers):
    headers = {"Content_Type": OCI_MANIFEST, "Docker_Content_Digest": digest, **headers}
    return reply(200, content, **{name: value for name, value in headers.items() if value})


def as_json(content, status=200, **headers):
    return reply(status, json.dumps(content), Content_Type="application/json", **headers)


def challenge(scheme='Basic realm="x"'):
    return reply(401, WWW_Authenticate=scheme)
