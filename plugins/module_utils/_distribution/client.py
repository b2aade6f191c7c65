# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution API of one registry. Private to this collection."""

from __future__ import annotations

import functools

from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest, is_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import (
    RefusedError,
    parse_challenges,
    said,
    unexpected,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blob_streams import BlobStreamClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    AbsentError,
    DeniedError,
    UnsupportedError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.session import next_page
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

_SIGNED_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
# A registry converts or hides what is not asked for by its type, so all of them are, at each request.
_ACCEPT = f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}"

_API_HEADER = "Docker-Distribution-Api-Version"
_DIGEST_HEADER = "Docker-Content-Digest"
# The most that registries give at once.
_PAGE = 1000
# The most pages of what belongs to one manifest.
_MOST_REFERRER_PAGES = 100


class Head:
    """What a registry says of a manifest without sending it."""

    def __init__(self, digest, media_type):
        self.digest = digest
        self.media_type = media_type


class RegistryClient(BlobStreamClient):
    """Asks one registry as one user. Each thread needs one of its own."""

    # --- the registry -------------------------------------------------------------------------------------------------

    @property
    def url(self):
        """Where its API begins."""
        return self._base + "/v2/"

    def challenges(self):
        """The schemes by which it refuses the anonymous, none where reading takes no login. Raises RegistryError."""
        response = self._client.request("GET", self.url)
        self._stays_here(response)
        if response.status == 401:
            schemes = sorted(parse_challenges(response.headers.get_all("WWW-Authenticate") or []))
            if not {"basic", "bearer"} & set(schemes):
                raise self._errors.asks_for_the_unknown(schemes)
            return schemes
        self._check_welcome(response, logged_in=False)
        return []

    def ping(self):
        """Asks /v2/, and returns whether the registry took the credentials: False where it asks for none.

        Raises RefusedError where it does not take them, and other RegistryErrors where no registry answers.
        """
        response = self._client.request("GET", self.url)
        self._stays_here(response)
        asked = response.status == 401
        if asked:
            response = self._authorized(response, functools.partial(self._send, "GET", "/v2/"))
            self._stays_here(response)
        self._check_welcome(response, logged_in=asked)
        return asked

    def _check_welcome(self, response, logged_in):
        name = self.registry.name
        if response.status == 200:
            if not _looks_like_registry(response):
                raise AnswerError(f"{name} answers, but not as a registry", "Correct the host or the port")
            return
        if response.status == 403 and not logged_in:
            raise self._errors.turned_away(response)
        if response.status == 403:
            raise RefusedError(
                f"{name} answered 403: {self._errors.who()} may not use it{said(response)}",
                "Check the access of the user and the networks that the registry allows",
                "wrong_account",
            )
        if response.status == 404:
            raise AnswerError(
                f"{name} answered 404: there is no registry at {self.url}", "Correct the host or the port"
            )
        raise unexpected(response, name)

    def repositories(self, odd=None):
        """Yields the names in the catalogue, by pages. Raises UnsupportedError where there is none for this user.

        What is no name is passed over, and put into the list odd where one is given, as messages show it.
        """
        try:
            yield from self._pages(f"/v2/_catalog?n={_PAGE}", "repositories", "the catalogue", odd=odd)
        except (DeniedError, UnsupportedError, RefusedError, AbsentError) as error:
            raise UnsupportedError(
                f"{self.registry.name} does not list its repositories ({getattr(error, 'message', error)})",
                "Name the repositories in full, without wildcards",
            ) from None

    def tags(self, repository, odd=None):
        """The names of all tags, or None where there is no such repository. odd is as for repositories()."""
        what = f"the tags of {repository}"
        try:
            return list(self._pages(f"/v2/{repository}/tags/list", "tags", what, repository, odd))
        except AbsentError:
            return None

    # --- manifests ----------------------------------------------------------------------------------------------------

    def head(self, repository, reference):
        """The Head of a manifest by tag or digest, or None."""
        response, digest = self._ask_for_manifest("HEAD", repository, reference)
        if response is None:
            return None
        if not digest:
            # Old registries say the digest only with the manifest, or not at all.
            manifest = self.manifest(repository, reference)
            return None if manifest is None else Head(manifest.digest, manifest.media_type)
        self._check_claim(repository, reference, digest)
        self._check_form(repository, reference, digest)
        return Head(digest, response.headers.get_content_type())

    def manifest(self, repository, reference):
        """The Manifest by tag or digest, or None. Raises AnswerError where what came does not match its digest."""
        response, digest = self._ask_for_manifest("GET", repository, reference)
        if response is None:
            return None
        told, digest = bool(digest), digest or digest_of(response.body)
        self._check_claim(repository, reference, digest)
        media_type = response.headers.get_content_type()
        # The digest of the first schema leaves the signatures out that lie in its content.
        if media_type != _SIGNED_SCHEMA_1:
            self._check_content(repository, digest, response.body)
        manifest = Manifest(response.body, digest, media_type)
        if not told and not manifest.looks_like_one:
            # Any web server answers 200 to anything.
            raise AnswerError(f"{self.registry.name} answers, but not with a manifest", "Check that it is a registry")
        return manifest

    def _ask_for_manifest(self, method, repository, reference):
        """(Response, the digest that it or the reference names or ""), or (None, "") for no such manifest."""
        response = self._ask(method, _manifest(repository, reference), repository, headers={"Accept": _ACCEPT})
        if response.status == 404:
            return None, ""
        if response.status != 200:
            raise self._errors.no(response, f"read {named(repository, reference)}")
        return response, response.headers.get(_DIGEST_HEADER) or (reference if is_digest(reference) else "")

    def put_manifest(self, repository, reference, manifest):
        """Puts a manifest under a tag or its digest, and checks what the registry made of it."""
        response = self._ask(
            "PUT",
            _manifest(repository, reference),
            repository,
            headers={"Content-Type": manifest.media_type},
            body=manifest.content,
        )
        if response.status >= 500 and manifest.parts.foreign:
            raise self._errors.takes_no_urls(response, named(repository, reference), manifest)
        if response.status not in (200, 201):
            raise self._errors.no(response, f"write {named(repository, reference)}")
        digest = response.headers.get(_DIGEST_HEADER)
        if digest and digest != manifest.digest:
            raise AnswerError(
                f"{self.registry.name} stored {named(repository, reference)} as {digest}, not as {manifest.digest}",
                "Something between here and the registry changes manifests",
            )

    def delete_manifest(self, repository, reference):
        """Whether there was such a manifest or tag to delete. Raises UnsupportedError where the registry deletes none.

        A digest goes with every tag that points to it.
        """
        response = self._ask("DELETE", _manifest(repository, reference), repository)
        if response.status == 404:
            return False
        if response.status not in (200, 202, 204):
            raise self._errors.no(response, f"delete {named(repository, reference)}")
        return True

    def referrers(self, repository, digest, odd=None):
        """The descriptors of what belongs to a manifest, such as signatures, or None where no such list is kept.

        Registries without it have such things under a tag that is made of the digest. Entries without a digest are
        passed over, and told of in the list odd where one is given.
        """
        target, found = f"/v2/{repository}/referrers/{digest}", []
        for _page in range(_MOST_REFERRER_PAGES):
            response = self._ask("GET", target, repository, headers={"Accept": OCI_INDEX})
            if response.status == 429 or response.status >= 500 or (found and response.status != 200):
                raise self._errors.no(response, f"list what belongs to {named(repository, digest)}")
            if response.status != 200 or response.headers.get_content_type() != OCI_INDEX:
                return None
            parts = Manifest(response.body, f"of the referrers of {digest}", OCI_INDEX).parts
            found += [*parts.children, *parts.listed]
            if odd is not None:
                odd += parts.unknown
            link = next_page(response)
            if link is None:
                return found
            target = self._target(response, link)
        raise AnswerError(f"{self.registry.name} never ends the list of what belongs to {digest}")

    # --- what is checked of an answer ---------------------------------------------------------------------------------

    def _check_claim(self, repository, reference, digest):
        if is_digest(reference) and digest != reference:
            raise AnswerError(
                f"{self.registry.name} was asked for {named(repository, reference)} and answered with {digest}",
                "Something between here and the registry changes or caches answers",
            )

    def _check_form(self, repository, reference, digest):
        # It is compared, written into files and asked for again.
        if not fits_digest(digest):
            raise AnswerError(
                f"{self.registry.name} names no digest that clients know for {named(repository, reference)}",
                "Check that it is a registry",
            )


def _manifest(repository, reference):
    return f"/v2/{repository}/manifests/{reference}"


def named(repository, reference):
    return f"{repository}{'@' if is_digest(reference) else ':'}{reference}"


def _looks_like_registry(response):
    """Whether an answer without a challenge is a registry's. Any web server can answer 200."""
    kind = response.headers.get_content_type()
    return _API_HEADER in response.headers or kind == "application/json" or not response.body.strip()
