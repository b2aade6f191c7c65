# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local images of an engine: the interface, and the restoration of their names. Private to this collection."""

from __future__ import annotations

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import failure


class StoredImage:
    """A local image: its names, and its digests in registries."""

    def __init__(self):
        self.names = set()
        self.digests = set()


class ImageStore:
    """The local images of one repository, as an engine stores them. credential: the login for pushes and pulls."""

    name = ""
    # Where the engine looks for the CAs of registries: the proper directory, and the prefixes of all directories.
    certificates = ""
    certificate_places = ()

    def __init__(self, reference, credential):
        self._registry = reference.registry
        self._repository = reference.repository
        self._credential = credential
        # The last listing of the images, until something changes them.
        self._known = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def version(self):
        """The name and version of the engine. Raises EngineDownError where the engine does not answer."""
        raise NotImplementedError

    def images(self):
        """{identifier: StoredImage} of all local images, with their names in this repository."""
        if self._known is None:
            try:
                self._known = self._list()
            except (ValueError, KeyError, TypeError, AttributeError):
                raise EngineError(f"{self.name} lists its images in an unknown format", "Check its version") from None
        return self._known

    def _list(self):
        raise NotImplementedError

    def image_id(self, name):
        """The identifier of the image with this name, or an empty string."""
        return _image_id(self.images(), name)

    @contextlib.contextmanager
    def restored(self, names, warn):
        """Restores the images with these names at the end. Yields the images as they were at the beginning.

        names: a set with at most one tag, and digests; the caller may add to it. warn: is called with a text where an
        image could not be restored.
        """
        before = self.images()
        tag = next((name for name in names if name.tag), None)
        with self._pinned(_image_id(before, tag) if tag else ""):
            try:
                yield before
            finally:
                try:
                    self._restore(before, names, tag)
                except (EngineError, EngineDownError) as error:
                    name = tag or next(iter(names), None)
                    warn(f"The local image {name} could not be restored: {error}")

    def _pinned(self, _identifier):
        """Keeps an image from removal while another image has its name."""
        return contextlib.nullcontext()

    def _restore(self, before, names, tag):
        # Other clients may pull from the same repository at the same time. Their images remain untouched.
        for identifier, image in self.images().items():
            if not image.names & names:
                continue
            known = before.get(identifier)
            new = image.names - known.names if known else image.names
            # Tags first: the removal of the last tag also removes the digests.
            for name in sorted((name for name in new if name in names or not name.tag), key=lambda name: not name.tag):
                if known is None:
                    self.remove(name)
                else:
                    self._untag(identifier, name, known.names)
        previous = _image_id(before, tag) if tag else ""
        if previous and self.image_id(tag) != previous:
            self.tag(previous, tag)

    def root(self):
        """The data directory of the engine, empty where it is unknown."""
        raise NotImplementedError

    def load(self, archive):
        """Loads the images of an archive in the format of docker save. Raises EngineError."""
        raise NotImplementedError

    def push(self, name):
        """Pushes a tag, and returns the digest in the registry, empty where the engine does not report it."""
        raise NotImplementedError

    def pull(self, name):
        """Pulls a tag or a digest. Raises EngineError."""
        raise NotImplementedError

    def remove(self, name):
        """Removes a name, and the image together with its last name. A missing name is no error."""
        raise NotImplementedError

    def tag(self, identifier, name):
        """Gives an image a name."""
        raise NotImplementedError

    def _untag(self, identifier, name, keep):
        """Removes a name, but neither the image nor the names in keep."""
        raise NotImplementedError

    def _failure(self, text, action):
        secret = self._credential.secret if self._credential else ""
        return failure(text, self._registry.name, secret, action, self.certificates)

    def _in_repository(self, names):
        """The References among the names that belong to this repository."""
        found = set()
        for name in names or []:
            # Old engines list <none>:<none> for an image without a name.
            with contextlib.suppress(InputError):
                reference = parse_reference(name)
                if reference.registry == self._registry and reference.repository == self._repository:
                    found.add(reference)
        return found


def _image_id(images, name):
    return next((identifier for identifier, image in images.items() if name in image.names), "")
