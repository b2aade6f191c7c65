# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local images of a Docker Engine. Private to this collection."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import urllib.parse
import uuid

from ansible_collections.wharf.registry.plugins.module_utils._common.reference import Reference, RegistryName
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import (
    EMPTY_ARCHIVE,
    DockerApi,
    EngineDownError,
    EngineError,
    repository_name,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import auth_config
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_store import ImageStore, StoredImage


class DockerImageStore(ImageStore):
    """The images of a Docker Engine, over its API."""

    name = "docker"
    certificates = "/etc/docker/certs.d"
    certificate_places = ("/etc/docker/",)

    def __init__(self, reference, credential, path, timeout):
        super().__init__(reference, credential)
        self._api = DockerApi(path, timeout)
        login = json.dumps(auth_config(credential, reference.registry)).encode()
        self._login = {"X-Registry-Auth": base64.urlsafe_b64encode(login).decode()}

    def version(self):
        # A rootless engine without a network of its own gives no answer to /version.
        answer = self._request("GET", "/info")
        if not isinstance(answer, dict) or not answer.get("ServerVersion"):
            raise EngineDownError(f"the server on {self._api.path} is not a Docker Engine", "Correct socket")
        return f"Docker Engine {answer['ServerVersion']} on {self._api.path}"

    def _list(self):
        found = {}
        for image in self._request("GET", "/images/json"):
            stored = found.setdefault(image["Id"], StoredImage())
            digests = self._in_repository(image.get("RepoDigests"))
            # With containerd as the image store, the identifier is the digest, names that were pulled by digest are
            # listed among the tags, and some of the digests are made up from tags.
            stored.names |= self._in_repository(image.get("RepoTags"))
            stored.names |= {name for name in digests if name.digest != image["Id"]}
            stored.digests |= {name.digest for name in digests} | ({image["Id"]} if stored.names else set())
        return found

    def root(self):
        with contextlib.suppress(EngineError, EngineDownError):
            return str(self._api.info().get("DockerRootDir") or "")
        return ""

    def load(self, archive):
        for _message in self._stream("/images/load?quiet=1", "push", archive, {"Content-Type": "application/x-tar"}):
            pass

    def push(self, name):
        digest = ""
        path = f"/images/{urllib.parse.quote(repository_name(name))}/push?" + urllib.parse.urlencode({"tag": name.tag})
        for message in self._stream(path, "push", None, self._login):
            if isinstance(message.get("aux"), dict):
                digest = message["aux"].get("Digest") or digest
        return digest

    def pull(self, name):
        query = urllib.parse.urlencode({"fromImage": repository_name(name), "tag": name.digest or name.tag})
        for _message in self._stream(f"/images/create?{query}", "pull", None, self._login):
            pass

    def remove(self, name):
        self._request("DELETE", f"/images/{urllib.parse.quote(str(name))}", absent=404)

    def tag(self, identifier, name):
        query = urllib.parse.urlencode({"repo": repository_name(name), "tag": name.tag})
        self._request("POST", f"/images/{urllib.parse.quote(identifier)}/tag?{query}")

    def _untag(self, identifier, name, keep=()):
        if name.tag:
            # To remove the last name would remove the image. To move the name to another image does not.
            self.tag(self._import_empty(), name)
            self.remove(name)
        else:
            with self._pinned(identifier):
                self.remove(name)
                # With containerd as the image store, all tags of the repository are removed together with the digest.
                for tag in keep:
                    if tag.tag:
                        self.tag(identifier, tag)

    @contextlib.contextmanager
    def _pinned(self, identifier):
        if not identifier:
            yield
            return
        # With containerd as the image store, an image without a name may be removed.
        pin = Reference(RegistryName("wharf.invalid"), "aside", uuid.uuid4().hex)
        self.tag(identifier, pin)
        try:
            yield
        finally:
            self._untag(identifier, pin)

    def _import_empty(self):
        """The identifier of a new image without content, which is removed together with its only name."""
        identifier = ""
        for message in self._stream("/images/create?fromSrc=-", "push", EMPTY_ARCHIVE, {}):
            identifier = message.get("status") or identifier
        return identifier

    def _request(self, method, path, absent=0):
        """The body of the answer. absent: the status for an object that does not exist, which is no error."""
        if method != "GET":
            self._known = None
        status, answer = self._api.request(method, path)
        if status >= 300 and status != absent:
            text = answer.get("message") if isinstance(answer, dict) else answer
            raise EngineError(f"the engine said: {str(text)[:300]}", "Check its log")
        return answer

    def _stream(self, path, action, body, headers):
        self._known = None
        try:
            yield from self._api.stream("POST", path, body, headers)
        except EngineError as error:
            raise self._with_proxy_cure(self._failure(error.message, action)) from None
        except EngineDownError as error:
            raise self._with_proxy_cure(error) from None

    def _with_proxy_cure(self, error):
        """Names the proxy of the engine where the engine cannot reach what this module has just reached."""
        silent = "said nothing for" in error.message
        if error.mistake != "proxy" and not silent and not re.match(r"the engine cannot (?:reach|res)", error.message):
            return error
        with contextlib.suppress(EngineError, EngineDownError):
            info = self._api.info()
            # The engine answers, so the registry or the proxy is what it waited for.
            error.mistake = error.mistake or "timed_out"
            proxy = (info.get("HttpsProxy") or info.get("HttpProxy") or "").rpartition("@")[2]
            if proxy:
                error.mistake = "proxy"
                error.cure = (
                    f"The engine uses the HTTP proxy {proxy}, except for {info.get('NoProxy') or 'nothing'}: add "
                    f"{self._registry.name} to NO_PROXY in the environment of its service, or have the proxy allow it"
                )
        return error
