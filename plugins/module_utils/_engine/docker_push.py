# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pushes an image of the local Docker Engine with the Docker SDK for Python. Private to this collection."""

from __future__ import annotations

import contextlib
import json

try:
    import docker
    import requests
    import urllib3
    from docker.errors import APIError, DockerException, NotFound, StreamParseError
except ImportError:
    HAS_DOCKER = False
else:
    HAS_DOCKER = True

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import (
    EMPTY_ARCHIVE,
    EngineError,
    has_containerd_store,
    repository_name,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import failure

# Seconds that the engine may send nothing during a push: a registry can take long to store a large layer.
_PUSH_TIMEOUT = 600
# The status of an engine that keeps images in containerd. Its image identifiers are digests of manifests.


class Image:
    """An inspected image: its identifiers, its tags and its digests in registries."""

    def __init__(self, inspected):
        self.id = inspected["Id"]
        # Engine 28 lists names with a digest among the tags as well.
        self.tags = [name for name in _references(inspected.get("RepoTags")) if name.tag]
        self.digests = _references(inspected.get("RepoDigests"))
        self._manifests = inspected.get("Manifests") or []

    @property
    def identifiers(self):
        """The digests that identify this image: of its configuration, or of its manifest or index.

        If the engine has only one image of an index, a push sends the manifest of that image.
        """
        available = [manifest for manifest in self._manifests if manifest.get("Available")]
        images = [manifest["ID"] for manifest in available if manifest.get("Kind") == "image"]
        if len(available) == len(self._manifests) or len(images) != 1:
            return {self.id}
        return {self.id, images[0]}

    def is_known_as(self, repository, digest):
        """Whether the engine has pushed this image to a repository, or pulled it from there, with this digest.

        repository is a Reference; its tag is ignored.
        """
        return any(_same_repository(known, repository) and known.digest == digest for known in self.digests)


def _references(names):
    found = []
    for name in names or []:
        # Old engines list <none>:<none> for what has no name.
        with contextlib.suppress(InputError):
            found.append(parse_reference(name))
    return found


def _same_repository(one, other):
    return one.registry == other.registry and one.repository == other.repository


class ImagePusher:
    """Inspects and pushes images of the Docker Engine of this host, or of the one in DOCKER_HOST.

    timeout: seconds for one request.
    """

    def __init__(self, timeout):
        with _explained("cannot be reached"):
            self._client = docker.from_env(version="auto", timeout=timeout)
            self._api = self._client.api
            self._keeps_manifests = has_containerd_store(self._api.info())

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._client.close()

    def image(self, name):
        """The Image of a name or an identifier, or None."""
        with _explained(f"cannot inspect {name}", "Check the name of the image, and the log of the engine"):
            try:
                inspected = self._api.inspect_image(name)
                if not isinstance(inspected, dict) or "Id" not in inspected:
                    # A name such as ../images leads to another endpoint of the API.
                    return None
                if self._keeps_manifests:
                    inspected["Manifests"] = self._manifests(inspected["Id"])
            except NotFound:
                return None
        return Image(inspected)

    def _manifests(self, identifier):
        """The manifests of an index, with their availability. The SDK has no parameter for this query.

        Engines before 28 ignore the query.
        """
        url = f"{self._api.base_url}/v{self._api.api_version}/images/{identifier}/json"
        response = self._api.get(url, params={"manifests": "1"}, timeout=self._api.timeout)
        return response.json().get("Manifests") if response.status_code == 200 else None

    def push(self, image, reference, login, warn):
        """Pushes the image, and returns its digest in the registry, empty where the engine does not report it.

        Restores the names of local images in any case. login: the auth_config of the registry. warn: is called with a
        text where a name could not be restored.
        """
        with self._named(image, reference, warn):
            return self._send(reference, login)

    def _send(self, reference, login):
        digest = ""
        secret = login.get("identitytoken") or login.get("password") or ""
        timeout, self._api.timeout = self._api.timeout, max(self._api.timeout, _PUSH_TIMEOUT)
        try:
            for message in self._api.push(
                repository_name(reference), tag=reference.tag, stream=True, decode=True, auth_config=login
            ):
                if message.get("error"):
                    raise failure(message["error"], reference.registry.name, secret)
                digest = _pushed_digest(message.get("aux")) or digest
        except APIError as error:
            raise failure(error.explanation or str(error), reference.registry.name, secret) from None
        except (DockerException, StreamParseError, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _unreachable("stopped in the middle of the push", error) from None
        finally:
            self._api.timeout = timeout
        return digest

    @contextlib.contextmanager
    def _named(self, image, reference, warn):
        """Tags the image with the name to push, and restores the local names at the end."""
        holder = self.image(str(reference))
        if holder is None or holder.id != image.id:
            self._tag(image.id, reference)
        try:
            yield
        finally:
            try:
                self._restore(image, reference, holder)
            except RegistryError as error:
                warn(f"The local name {reference} could not be restored: {error}")

    def _restore(self, image, reference, holder):
        now = self.image(image.id)
        if now is None:
            return
        if not self._keeps_manifests:
            # Such an engine adds the digest of a push to the names of the image.
            for digest in now.digests:
                if _same_repository(digest, reference) and digest not in image.digests:
                    self._untag(digest)
        if holder is not None:
            if holder.id != image.id:
                self._tag(holder.id, reference)
        elif reference in now.tags:
            if len(now.tags) == 1:
                # To remove the last name would remove the image. To move the name to another image does not.
                self._tag(self._import_empty(), reference)
            self._untag(reference)

    def _tag(self, identifier, reference):
        with _explained(f"cannot tag {identifier} as {reference}"):
            self._api.tag(identifier, repository_name(reference), reference.tag)

    def _untag(self, reference):
        with _explained(f"cannot remove the name {reference}"):
            self._api.remove_image(str(reference), noprune=True)

    def _import_empty(self):
        """The identifier of a new image without content, which is removed together with its only name."""
        with _explained("cannot import an empty image"):
            # Without a name: an engine that keeps manifests would remove the image that had the name.
            output = self._api.import_image_from_data(EMPTY_ARCHIVE)
        try:
            return json.loads(output.splitlines()[-1])["status"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise EngineError("the Docker Engine reported no identifier for an imported image") from None


def _pushed_digest(aux):
    """The digest in the auxiliary part of a progress message, or an empty string."""
    if not isinstance(aux, dict):
        return ""
    if aux.get("manifestPushedInsteadOfIndex"):
        return (aux.get("selectedManifest") or {}).get("digest") or ""
    return aux.get("Digest") or ""


@contextlib.contextmanager
def _explained(what, cure="Check its log"):
    """Turns errors of the SDK and its libraries into EngineError. cure: for errors that the engine reports."""
    try:
        yield
    except APIError as error:
        raise EngineError(f"the Docker Engine {what}: {error.explanation or error}", cure) from None
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _unreachable(what, error) from None


def _unreachable(what, error):
    text = " ".join(str(error).split())[:300]
    if "URL scheme" in text:
        cure = "This Docker SDK for Python is too old for the requests library beside it: install docker 7.1.0 or later"
    elif "Permission denied" in text:
        cure = "Let this account use the engine, by become or the group docker"
    else:
        cure = "Check that it runs, or set DOCKER_HOST in the environment of the task to another one"
    return EngineError(f"the Docker Engine {what}: {text}", cure)
