# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pushing an image of the local Docker Engine, by the Docker SDK for Python. Private to this collection."""

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

from ansible_collections.wharf.registry.plugins.module_utils._docker import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine_words import failure
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._reference import parse_reference

# Seconds that the engine may say nothing during a push: a registry can take long to store a big layer.
_SILENCE = 600
# How an engine that keeps images in containerd says so. It has the digests of manifests for identifiers.
_CONTAINERD = ["driver-type", "io.containerd.snapshotter.v1"]
# An empty tar archive, of which the engine makes an image without content.
_NOTHING = bytes(1024)


class Image:
    """What an engine says of an image: its identifiers, its tags and the digests that registries know it by."""

    def __init__(self, inspected):
        self.id = inspected["Id"]
        # Engine 28 lists names with a digest among the tags, too.
        self.tags = [name for name in _references(inspected.get("RepoTags")) if name.tag]
        self.digests = _references(inspected.get("RepoDigests"))
        self._manifests = inspected.get("Manifests") or []

    @property
    def identifiers(self):
        """All that stands for this image: of its configuration, or of its manifest or index.

        Of an index that is not here as a whole, the engine pushes the one manifest that is.
        """
        here = [manifest for manifest in self._manifests if manifest.get("Available")]
        images = [manifest["ID"] for manifest in here if manifest.get("Kind") == "image"]
        if len(here) == len(self._manifests) or len(images) != 1:
            return {self.id}
        return {self.id, images[0]}

    def is_known_as(self, repository, digest):
        """Whether the engine has pushed it to, or pulled it from, this repository under this digest.

        repository is a Reference, the tag of which does not matter.
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


def _name(reference):
    """The name of a repository as the engine takes it."""
    return f"{reference.registry.name}/{reference.repository}"


class Engine:
    """The Docker Engine of this host, or the one that DOCKER_HOST names. timeout is in seconds, for one request."""

    def __init__(self, timeout):
        with _explained("can't be reached"):
            self._client = docker.from_env(version="auto", timeout=timeout)
            self._api = self._client.api
            self._keeps_manifests = _CONTAINERD in (self._api.info().get("DriverStatus") or [])

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._client.close()

    def image(self, name):
        """The Image of a name or an identifier, or None."""
        with _explained(f"can't say what {name} is", "Look at the name of the image, and at the log of the engine"):
            try:
                inspected = self._api.inspect_image(name)
                if not isinstance(inspected, dict) or "Id" not in inspected:
                    # A name such as ../images leads elsewhere in the engine's API.
                    return None
                if self._keeps_manifests:
                    inspected["Manifests"] = self._manifests(inspected["Id"])
            except NotFound:
                return None
        return Image(inspected)

    def _manifests(self, identifier):
        """What of an index is here. The SDK has no parameter for it, and engines before 28 do not know it."""
        url = f"{self._api.base_url}/v{self._api.api_version}/images/{identifier}/json"
        response = self._api.get(url, params={"manifests": "1"}, timeout=self._api.timeout)
        return response.json().get("Manifests") if response.status_code == 200 else None

    def push(self, image, reference, login, warn):
        """Pushes the image, and returns the digest that the registry was given, empty where the engine does not say.

        The names of local images are afterwards what they were before, whether it fails or not. login is the
        auth_config of the registry, and warn is called with a text where a name could not be put back.
        """
        with self._named(image, reference, warn):
            return self._send(reference, login)

    def _send(self, reference, login):
        digest = ""
        secret = login.get("identitytoken") or login.get("password") or ""
        patience, self._api.timeout = self._api.timeout, max(self._api.timeout, _SILENCE)
        try:
            for said in self._api.push(
                _name(reference), tag=reference.tag, stream=True, decode=True, auth_config=login
            ):
                if said.get("error"):
                    raise failure(said["error"], reference.registry.name, secret)
                digest = _pushed_digest(said.get("aux")) or digest
        except APIError as error:
            raise failure(error.explanation or str(error), reference.registry.name, secret) from None
        except (DockerException, StreamParseError, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # The names are put back all the same, where it answers again.
            raise _broken("broke off in the middle", error) from None
        finally:
            self._api.timeout = patience
        return digest

    @contextlib.contextmanager
    def _named(self, image, reference, warn):
        """Gives the image the name that the engine pushes it by, and puts the local names back in the end."""
        holder = self.image(str(reference))
        if holder is None or holder.id != image.id:
            self._tag(image.id, reference)
        try:
            yield
        finally:
            try:
                self._put_back(image, reference, holder)
            except RegistryError as error:
                warn(f"The local name {reference} could not be put back as it was: {error}")

    def _put_back(self, image, reference, holder):
        now = self.image(image.id)
        if now is None:
            return
        if not self._keeps_manifests:
            # An engine that keeps no manifests notes the digest of a push as a name of the image.
            for digest in now.digests:
                if _same_repository(digest, reference) and digest not in image.digests:
                    self._untag(digest)
        if holder is not None:
            if holder.id != image.id:
                self._tag(holder.id, reference)
        elif reference in now.tags:
            if len(now.tags) == 1:
                # With its last name, the image would be removed. A name that moves to another leaves it as it was.
                self._tag(self._make_nothing(), reference)
            self._untag(reference)

    def _tag(self, identifier, reference):
        with _explained(f"can't name {identifier} {reference}"):
            self._api.tag(identifier, _name(reference), reference.tag)

    def _untag(self, reference):
        with _explained(f"can't remove the name {reference}"):
            self._api.remove_image(str(reference), noprune=True)

    def _make_nothing(self):
        """The identifier of a new image without content. It is gone with the name that it is given."""
        with _explained("can't import an empty image"):
            # Not by that name: engines that keep manifests would let the image that has it go.
            said = self._api.import_image_from_data(_NOTHING)
        try:
            return json.loads(said.splitlines()[-1])["status"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise EngineError("the Docker Engine did not say what it made of an empty archive") from None


def _pushed_digest(aux):
    """The digest in the part of an engine's answer that is for programs, or an empty string."""
    if not isinstance(aux, dict):
        return ""
    if aux.get("manifestPushedInsteadOfIndex"):
        return (aux.get("selectedManifest") or {}).get("digest") or ""
    return aux.get("Digest") or ""


@contextlib.contextmanager
def _explained(what, cure="Look at its log"):
    """Turns errors of the SDK, and of the libraries below it, into one for a reader; cure is for the engine's own."""
    try:
        yield
    except APIError as error:
        raise EngineError(f"the Docker Engine {what}: {error.explanation or error}", cure) from None
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _broken(what, error) from None


def _broken(what, error):
    words = " ".join(str(error).split())[:300]
    if "URL scheme" in words:
        cure = "This Docker SDK for Python is too old for the requests library beside it: install docker 7.1.0 or later"
    elif "Permission denied" in words:
        cure = "Let this account use the engine, by become or the group docker"
    else:
        cure = "Look whether it runs, or name another one by DOCKER_HOST in the environment of the task"
    return EngineError(f"the Docker Engine {what}: {words}", cure)
