# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution API of one registry. Private to this collection."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import json
import re
import threading
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._auth import (
    Authenticator,
    RefusedError,
    parse_challenges,
    said,
    unexpected,
)
from ansible_collections.wharf.registry.plugins.module_utils._errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._http import (
    BODY_LIMIT,
    AnswerError,
    UnreachableError,
)
from ansible_collections.wharf.registry.plugins.module_utils._manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    shown,
)
from ansible_collections.wharf.registry.plugins.module_utils._reference import (
    fits_digest,
    is_digest,
    is_repository,
    is_tag,
)

_SIGNED_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
# A registry converts or hides what is not asked for by its type, so all of them are, at each request.
_ACCEPT = f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}"

_API_HEADER = "Docker-Distribution-Api-Version"
_DIGEST_HEADER = "Docker-Content-Digest"
# What a token has to allow; what is not named here changes something.
_ACTIONS = {"GET": "read", "HEAD": "read", "DELETE": "delete"}
# Bytes of one page of a list: some hundred thousand names.
_LIST_LIMIT = 64 << 20
# The most that registries give at once.
_PAGE = 1000
# The most pages of what belongs to one manifest.
_MOST_REFERRER_PAGES = 100


# Where the layers of a manifest lie that has URLs for them: scheme, host and port.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?=/|$)")


class DeniedError(RegistryError):
    """The registry knows the user, who may not do this."""


class UnsupportedError(RegistryError):
    """The registry does not do this for anybody."""


class RequestError(RegistryError):
    """The registry finds fault with the request itself."""


class ConflictError(RegistryError):
    """Somebody else has changed the same thing in the meantime."""


# What is the same for every repository: there is no use in asking on.
EVERYWHERE = (UnreachableError, RefusedError)


def concerns_all(error):
    """Whether an error is of the registry as a whole, and not of what it was asked for."""
    return isinstance(error, EVERYWHERE) or error.mistake == "too_many_requests"


class Head:
    """What a registry says of a manifest without sending it."""

    def __init__(self, digest, media_type):
        self.digest = digest
        self.media_type = media_type


class Api:
    """Asks one registry as one user. Each thread needs one of its own.

    Those of one user may share a dictionary of authorizations: what one was given serves the others, too.
    """

    def __init__(self, registry, client, credential=None, plain_http=False, authorizations=None):
        self.registry = registry
        self._client = client
        self._credential = credential
        self._base = ("http://" if plain_http else "https://") + registry.api_host
        self._authenticator = Authenticator(client, registry.name, credential)
        # The Authorization header that was taken last, by what it was for: tokens are for one repository.
        self._authorizations = {} if authorizations is None else authorizations

    def close(self):
        self._client.close()

    # --- the registry -------------------------------------------------------------------------------------------------

    @property
    def url(self):
        """Where its API begins."""
        return self._base + "/v2/"

    def challenges(self):
        """The schemes by which it refuses the anonymous, none where anybody may read. Raises RegistryError."""
        response = self._client.request("GET", self.url)
        self._stays_here(response)
        if response.status == 401:
            schemes = sorted(parse_challenges(response.headers.get_all("WWW-Authenticate") or []))
            if not {"basic", "bearer"} & set(schemes):
                raise self._asks_for_the_unknown(schemes)
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
            raise self._turned_away(response)
        if response.status == 403:
            raise RefusedError(
                f"{name} answered 403: {self._who()} may not use it{said(response)}",
                "Look at the user's access and at the networks that the registry allows",
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
        except (DeniedError, UnsupportedError, RefusedError, _AbsentError) as error:
            raise UnsupportedError(
                f"{self.registry.name} does not list its repositories ({getattr(error, 'message', error)})",
                "Name the repositories in full, without wildcards",
            ) from None

    def tags(self, repository, odd=None):
        """The names of all tags, or None where there is no such repository. odd is as for repositories()."""
        what = f"the tags of {repository}"
        try:
            return list(self._pages(f"/v2/{repository}/tags/list", "tags", what, repository, odd))
        except _AbsentError:
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
        told, digest = bool(digest), digest or _digest(response.body)
        self._check_claim(repository, reference, digest)
        media_type = response.headers.get_content_type()
        # The digest of the first schema leaves the signatures out that lie in its content.
        if media_type != _SIGNED_SCHEMA_1:
            self._check_content(repository, digest, response.body)
        manifest = Manifest(response.body, digest, media_type)
        if not told and not manifest.looks_like_one:
            # Any web server answers 200 to anything.
            raise AnswerError(f"{self.registry.name} answers, but not with a manifest", "Look whether it is a registry")
        return manifest

    def _ask_for_manifest(self, method, repository, reference):
        """(Response, the digest that it or the reference names or ""), or (None, "") for no such manifest."""
        response = self._ask(method, _manifest(repository, reference), repository, headers={"Accept": _ACCEPT})
        if response.status == 404:
            return None, ""
        if response.status != 200:
            raise self._no(response, f"read {_named(repository, reference)}")
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
            raise self._takes_no_urls(response, _named(repository, reference), manifest)
        if response.status not in (200, 201):
            raise self._no(response, f"write {_named(repository, reference)}")
        digest = response.headers.get(_DIGEST_HEADER)
        if digest and digest != manifest.digest:
            raise AnswerError(
                f"{self.registry.name} stored {_named(repository, reference)} as {digest}, not as {manifest.digest}",
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
            raise self._no(response, f"delete {_named(repository, reference)}")
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
                raise self._no(response, f"list what belongs to {_named(repository, digest)}")
            if response.status != 200 or response.headers.get_content_type() != OCI_INDEX:
                return None
            parts = Manifest(response.body, f"of the referrers of {digest}", OCI_INDEX).parts
            found += [*parts.children, *parts.listed]
            if odd is not None:
                odd += parts.unknown
            link = _next(response)
            if link is None:
                return found
            target = self._target(response, link)
        raise AnswerError(f"{self.registry.name} never ends the list of what belongs to {digest}")

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blob(self, repository, digest):
        """A small blob, such as a configuration, or None. Raises AnswerError where it does not match its digest."""
        response = self._ask("GET", f"/v2/{repository}/blobs/{digest}", repository)
        if response.status == 404:
            return None
        if response.status != 200:
            raise self._no(response, f"read the blob {digest} of {repository}")
        self._check_content(repository, digest, response.body)
        return response.body

    def has_blob(self, repository, digest):
        response = self._ask("HEAD", f"/v2/{repository}/blobs/{digest}", repository)
        if response.status not in (200, 404):
            raise self._no(response, f"look for the blob {digest} of {repository}")
        return response.status == 200

    def blob_begins(self, repository, digest):
        """Whether the first bytes of a blob come. Of one that is sent only as a whole, no more than a HEAD is asked."""
        target = f"/v2/{repository}/blobs/{digest}"
        response = self._ask("HEAD", target, repository)
        if response.status == 200 and response.headers.get("Accept-Ranges") == "bytes":
            response = self._ask("GET", target, repository, headers={"Range": "bytes=0-1023"})
        if response.status not in (200, 206, 404, 416):
            raise self._no(response, f"read the blob {digest} of {repository}")
        return response.status != 404

    def mount(self, repository, digest, source):
        """Whether the registry has taken a blob over from another repository. No byte of it passes here."""
        query = urllib.parse.urlencode({"mount": digest, "from": source})
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/?{query}", repository, mount_from=source)
        if response.status == 201:
            return True
        if response.status == 202:
            # It has begun an upload instead, which nobody will finish.
            self._cancel(repository, response)
            return False
        raise self._no(response, f"take blobs of {source} over into {repository}")

    def refuses_uploads(self, repository):
        """Whether this user may begin no upload. One that begins is cancelled. Raises RegistryError."""
        try:
            response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        except (DeniedError, RefusedError):
            return True
        if response.status in (401, 403, 405):
            return True
        if response.status == 202:
            self._cancel(repository, response)
            return False
        raise self._no(response, f"write to {repository}")

    def try_upload(self, repository, size):
        """Uploads bytes of no use, and cancels that: whether a registry can store them. Raises RegistryError."""
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        if response.status != 202:
            raise self._no(response, f"write to {repository}")
        try:
            sent = self._ask(
                "PATCH",
                self._location(response),
                repository,
                headers={"Content-Type": "application/octet-stream"},
                body=bytes(size),
            )
            if sent.status not in (202, 204):
                raise self._no(sent, f"write to {repository}")
            response = sent
        finally:
            self._cancel(repository, response)

    def put_blob(self, repository, content):
        """Uploads a small blob, and returns its digest."""
        digest = _digest(content)
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        if response.status != 202:
            raise self._no(response, f"write to {repository}")
        target = self._location(response)
        target += ("&" if "?" in target else "?") + urllib.parse.urlencode({"digest": digest})
        response = self._ask(
            "PUT", target, repository, headers={"Content-Type": "application/octet-stream"}, body=content
        )
        if response.status not in (201, 204):
            raise self._no(response, f"write to {repository}")
        return digest

    def _cancel(self, repository, response):
        # A courtesy: registries purge what was begun and never finished.
        with contextlib.suppress(RegistryError):
            self._ask("DELETE", self._location(response), repository)

    def _location(self, response):
        """Where an upload goes on, as a target on this registry. Raises AnswerError where it would leave it."""
        return self._target(response, response.headers.get("Location") or "")

    def _target(self, response, link):
        try:
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(response.url, link))
        except ValueError:
            parts = urllib.parse.urlsplit("")
        if parts.netloc != urllib.parse.urlsplit(self._base).netloc or not parts.path.startswith("/v2/"):
            shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
            raise AnswerError(
                f"{self.registry.name} sends clients to {shown.geturl() or 'nowhere'} in the middle of a request",
                "Correct http.host or http.relativeurls of the registry, or the headers that its proxy sets",
            )
        return parts.path + ("?" + parts.query if parts.query else "")

    # --- requests -----------------------------------------------------------------------------------------------------

    def _ask(self, method, target, repository="", **sent):
        """The Response to one request, with a login where the registry asks for one.

        sent may hold headers, body, limit (bytes of the answer) and mount_from (the other repository that it reads).
        """
        # Tokens differ by repository and by whether something is written; Basic is the same for all.
        purpose = repository, _ACTIONS.get(method, "change"), sent.pop("mount_from", "")
        request = functools.partial(self._send, method, target, **sent)
        response = request(self._authorizations.get(purpose) or self._authorizations.get("basic"))
        return self._authorized(response, request, purpose) if response.status == 401 else response

    def _send(self, method, target, authorization=None, *, headers=None, body=None, limit=BODY_LIMIT):
        headers = dict(headers or {})
        if authorization:
            headers["Authorization"] = authorization
        return self._client.request(method, self._base + target, headers, body, limit)

    def _authorized(self, response, request, purpose=None):
        """The answer to the same request with a login. Raises RefusedError where the login is not taken."""
        # Where a redirect leads to may ask for a login, and name a token server of its own.
        self._stays_here(response)
        try:
            authorization = self._authenticator.answer(response)
        except RefusedError as error:
            raise self._refused(error.message) from None
        if authorization is None:
            raise self._no_way_in(response)
        response = request(authorization)
        if response.status == 401:
            if authorization.startswith("Bearer ") and purpose is not None:
                # The token server took the login, and gave less than this needs.
                repository = purpose[0]
                raise DeniedError(
                    f"{self.registry.name} answered 401: {self._who()} may not "
                    f"{purpose[1]} {repository or 'this'}{said(response)}",
                    "Look at the name of the repository, and use a user with the access that this needs",
                    "wrong_account",
                )
            raise self._refused(f"it answered 401{said(response)}")
        self._authorizations["basic" if authorization.startswith("Basic ") else purpose] = authorization
        return response

    def _pages(self, target, name, what, repository="", odd=None):
        """Yields the names of a list that may come in pages, each once."""
        fits = is_tag if name == "tags" else is_repository
        asked, known, strange = set(), set(), set()
        while True:
            asked.add(target)
            response = self._ask("GET", target, repository, limit=_LIST_LIMIT)
            if response.status == 400 and "n=" in target and len(asked) == 1:
                # One that gives less at once than others.
                target = target.partition("?")[0]
                continue
            if response.status == 404:
                raise _AbsentError(f"it answered 404 when asked to list {what}")
            if response.status != 200:
                raise self._no(response, f"list {what}")
            listed = self._listed(response, name, what)
            # They become parts of URLs: what is no name can't be asked for.
            named = [one for one in listed if isinstance(one, str) and fits(one)]
            names = [one for one in dict.fromkeys(named) if one not in known]
            strangers = {shown(one) for one in listed if not (isinstance(one, str) and fits(one))} - strange
            known.update(names)
            strange.update(strangers)
            if odd is not None:
                odd.extend(sorted(strangers))
            yield from names
            link = _next(response)
            if link is None:
                return
            target = self._target(response, link)
            # Each page must bring something, or it would never end.
            if target in asked or not (names or strangers):
                raise AnswerError(f"{self.registry.name} lists {what} in a circle", "Look at the proxy before it")

    def _listed(self, response, name, what):
        try:
            listed = json.loads(response.body)[name]
        except (ValueError, KeyError, TypeError, RecursionError):
            listed = {}
        # An emptied repository has null for its tags.
        listed = [] if listed is None else listed
        if not isinstance(listed, list):
            raise AnswerError(f"{self.registry.name} answers, but not with {what}", "Look whether it is a registry")
        return listed

    # --- what went wrong ----------------------------------------------------------------------------------------------

    def _check_claim(self, repository, reference, digest):
        if is_digest(reference) and digest != reference:
            raise AnswerError(
                f"{self.registry.name} was asked for {_named(repository, reference)} and answered with {digest}",
                "Something between here and the registry changes or caches answers",
            )

    def _check_form(self, repository, reference, digest):
        # It is compared, written into files and asked for again.
        if not fits_digest(digest):
            raise AnswerError(
                f"{self.registry.name} names no digest that clients know for {_named(repository, reference)}",
                "Look whether it is a registry",
            )

    def _check_content(self, repository, digest, content):
        algorithm = digest.partition(":")[0]
        if algorithm in ("sha256", "sha384", "sha512") and _digest(content, algorithm) == digest:
            return
        raise AnswerError(
            f"What {self.registry.name} sent of {repository} does not match its digest {digest}",
            "Something between here and the registry changes answers, or its storage is damaged",
        )

    def _no(self, response, action):
        """The error for an answer that is not what was asked for."""
        name, words = self.registry.name, said(response)
        if response.status == 403:
            return DeniedError(
                f"{name} answered 403: {self._who()} may not {action}{words}",
                "Use a user with the access that this needs",
                "wrong_account",
            )
        if response.status == 405:
            return UnsupportedError(
                f"{name} answered 405: it does not {action}{words}",
                "To delete, it needs storage.delete.enabled; a mirror of another registry takes nothing",
            )
        if response.status == 404:
            return AnswerError(
                f"{name} answered 404 when asked to {action}{words}", "Look at the name of the repository"
            )
        if 400 <= response.status < 500 and response.status != 429:
            return RequestError(f"{name} answered {response.status} when asked to {action}{words}")
        return unexpected(response, f"{name}, asked to {action},")

    def _takes_no_urls(self, response, name, manifest):
        """The error for a manifest with foreign layers, which a registry answers with no more than a 500."""
        urls = [url for layer in manifest.parts.foreign for url in layer["urls"]]
        addresses = sorted({match.group() for match in map(_ADDRESS.match, urls) if match})
        allow = " and ".join(f"'^{re.escape(address)}/'" for address in addresses[:5]) or "a pattern of their addresses"
        return RegistryError(
            f"{self.registry.name} answered {response.status} when asked to write {name}, the layers of which lie at "
            f"{', '.join(addresses) or 'other places'}",
            f"It refuses such layers unless it is told to take them: add {allow} to registry_manifest_urls_allow and "
            "run site.yml on the registry host. If that is done already, look at its log",
            "registry_error",
        )

    def _who(self):
        username = self._credential.username if self._credential else ""
        return f"user {username!r}" if username else "this client"

    def _turned_away(self, response):
        """The error for a 403 before any login, which is no matter of a user."""
        words = said(response)
        message = f"{self.registry.name} answered 403 before any login{words}"
        if "certificate" in words.lower():
            return RefusedError(message, "Give one that it trusts by client_cert and client_key", "client_certificate")
        return RefusedError(
            message if words else f"{message}, as for an address that it does not serve",
            "Connect from a network that it allows, or add this one to reverse_proxy_allowed_networks and run site.yml "
            "on the registry host",
            "address_refused",
        )

    def _refused(self, why):
        unnamed = self._credential is not None and not self._credential.username
        return RefusedError(
            f"{self.registry.name} refuses {'the stored identity token' if unnamed else self._who()}: {why}",
            "Correct the name or the password; one that worked before was changed or revoked",
            "wrong_password",
        )

    def _no_way_in(self, response):
        schemes = ", ".join(sorted(parse_challenges(response.headers.get_all("WWW-Authenticate") or []))) or "nothing"
        if self._credential is None:
            return RefusedError(
                f"{self.registry.name} asks for a login ({schemes})",
                "Give username and password, or log this account in before",
                "not_logged_in",
            )
        if schemes == "basic":
            return RefusedError(
                f"{self.registry.name} asks for a password, and what is stored is an identity token",
                "Give username and password",
            )
        return self._asks_for_the_unknown([schemes])

    def _asks_for_the_unknown(self, schemes):
        return AnswerError(
            f"{self.registry.name} asks for an authentication that is neither Basic nor Bearer "
            f"({', '.join(schemes) or 'nothing'})",
            "Look at the proxy before the registry",
        )

    def _stays_here(self, response):
        here, there = urllib.parse.urlsplit(self._base).netloc, urllib.parse.urlsplit(response.url).netloc
        if here != there:
            raise AnswerError(
                f"{self.registry.name} redirects to {there}",
                "Clients do not send passwords along: use that name as the registry",
            )


class _AbsentError(Exception):
    """There is no such list: no such repository, or no catalogue at all."""


class Pool:
    """Asks with several connections at once. make_api makes the Api of each thread."""

    def __init__(self, make_api, size=8):
        self._make_api = make_api
        self._size = size
        self._local = threading.local()
        self._apis = []
        self._executor = concurrent.futures.ThreadPoolExecutor(size)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._executor.shutdown()
        for api in self._apis:
            api.close()

    def map(self, function, items):
        """Yields function(api, item) in the order of the items, and works ahead by a few. The first error ends it."""
        waiting = collections.deque()
        items = iter(items)
        try:
            for item in items:
                waiting.append(self._executor.submit(self._call, function, item))
                if len(waiting) >= 4 * self._size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _call(self, function, item):
        if not hasattr(self._local, "api"):
            self._local.api = self._make_api()
            self._apis.append(self._local.api)
        return function(self._local.api, item)


def _manifest(repository, reference):
    return f"/v2/{repository}/manifests/{reference}"


def _named(repository, reference):
    return f"{repository}{'@' if is_digest(reference) else ':'}{reference}"


def _digest(content, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def _next(response):
    """What the Link header names as the next page, or None."""
    for link in response.headers.get_all("Link") or []:
        found = re.search(r'<([^>]*)>\s*;[^,]*\brel="?next\b', link)
        if found:
            return found.group(1)
    return None


def _looks_like_registry(response):
    """Whether an answer without a challenge is a registry's. Any web server can answer 200."""
    kind = response.headers.get_content_type()
    return _API_HEADER in response.headers or kind == "application/json" or not response.body.strip()
