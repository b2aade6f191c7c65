# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of registries and of images, as clients write them. Pure functions. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.hostname import check_registry

HUB = "docker.io"

# Docker Hub is one registry under three host names: the one in image names, the one in Docker's configuration, and
# the one that speaks the distribution API.
_HUB_HOSTS = frozenset(["docker.io", "index.docker.io", "registry-1.docker.io"])
_HUB_API = "registry-1.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"

# The distribution project's reference grammar. That of the registry's name is in _hostname.py.
_ALPHANUMERIC = r"[a-z0-9]+"
_PATH_COMPONENT = rf"{_ALPHANUMERIC}(?:(?:[._]|__|-+){_ALPHANUMERIC})*"
_REPOSITORY = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*):([0-9a-fA-F]{32,})")
# Of the algorithms that registries take, the number of hexadecimal digits.
_DIGEST_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_LONGEST_REPOSITORY = 255
# What is taken for the identifier of a local image. With the algorithm, the grammar would take it for a tag of a
# repository of that name, which Docker refuses to make.
_IDENTIFIER = re.compile(r"(?:sha256:)?[a-f0-9]{64}")
_DEFAULT_TAG = "latest"
_HUB_NAMESPACE = "library/"

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
# Removed as text, never asked: it names a file, a directory or a key.
_WORD = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_FORMER = re.compile(rf"{_WORD}(?:\.{_WORD})*(?::[0-9]{{1,5}})?")
# What old clients put behind the host in a key that still means the whole registry.
_API_PATHS = frozenset(["", "/", "/v1", "/v1/", "/v2", "/v2/"])


class RegistryName:
    """A registry by the name that stands in image names: host[:port]. Upper case is kept, as Docker keeps it."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"Registry({self.name!r})"

    def __eq__(self, other):
        return isinstance(other, RegistryName) and self.name == other.name

    def __hash__(self):
        return hash(self.name)

    @property
    def is_hub(self):
        return self.name == HUB

    @property
    def api_host(self):
        """The host[:port] that speaks the distribution API."""
        return _HUB_API if self.is_hub else self.name

    @property
    def config_key(self):
        """The key that Docker itself writes into config.json and sends to credential helpers."""
        return _HUB_KEY if self.is_hub else self.name

    @property
    def podman_key(self):
        """The key that Podman itself writes into auth.json."""
        return self.name


class Namespace(RegistryName):
    """A part of a registry that has a login of its own in Podman's file, under host/path."""

    def __init__(self, registry, path):
        super().__init__(registry.name)
        self.path = path

    @property
    def podman_key(self):
        return f"{self.name}/{self.path}"


def namespaces(registry, repository):
    """Those that hold a repository, the narrowest first, as Podman looks for them."""
    parts = repository.split("/") if repository else []
    return [Namespace(registry, "/".join(parts[:count])) for count in range(len(parts), 0, -1)]


def parse_namespace(text, former=False):
    """The Registry, or the Namespace of it, that an option names. Raises InputError with the reason.

    What has a scheme means the whole registry, as do the paths that old clients wrote. former: as for parse_registry.
    """
    registry = parse_registry(text, former)
    rest = text.strip()
    _host, slash, path = rest.partition("/")
    path = path.strip("/")
    if _SCHEME.match(rest) or slash + path in _API_PATHS:
        return registry
    if not _REPOSITORY.fullmatch(path):
        raise InputError(
            f"registry is {text!r}, and what follows the host is no namespace",
            "Give host[:port], or host[:port]/namespace",
        )
    return Namespace(registry, path)


def parse_registry(text, former=False, what="registry"):
    """The Registry that an option names: host[:port], with a scheme or a path that is passed over.

    former: what earlier versions took for a registry is one as well, so that it can be removed. what: the option, for
    the error. Raises InputError with the reason.
    """
    rest = text.strip()
    scheme = _SCHEME.match(rest)
    if scheme:
        if scheme.group(1).lower() not in ("http", "https"):
            raise InputError(
                f"{what} has the scheme {scheme.group(1)}://, which no registry speaks",
                "Give host or host:port",
            )
        rest = rest[scheme.end() :]
    rest = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in text:
        # Not shown: what stands before the @ may be a password.
        raise InputError(f"{what} holds an @", "Give host or host:port there, and the user by username and password")
    if not (former and _FORMER.fullmatch(rest)):
        check_registry(rest, what, text)
    return RegistryName(HUB if rest.lower() in _HUB_HOSTS else rest)


def names_registry(key, registry):
    """Whether a key of a credential file, in any of the spellings in use, means the whole of this registry.

    Docker's old keys have a scheme and a path. Podman's may have a path that narrows them to a namespace, as does
    host/team: those are other credentials. So are Docker's own tokens for the Hub, which lie beside its key.
    """
    if isinstance(registry, Namespace):
        return key == registry.podman_key
    scheme = _SCHEME.match(key)
    rest = key[scheme.end() :] if scheme else key
    host, slash, path = rest.partition("/")
    if registry.is_hub:
        return host.lower() in _HUB_HOSTS and slash + path in _API_PATHS
    return host == registry.name and (bool(scheme) or slash + path in _API_PATHS)


class Reference:
    """An image in a registry, by its repository and a tag, a digest or both; an empty string stands for none."""

    def __init__(self, registry, repository, tag="", digest=""):
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest

    def __str__(self):
        """The full form, which names the registry, and which parses to the same Reference again."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry.name}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    def __eq__(self, other):
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    @property
    def is_pinned(self):
        """Whether it names a digest, or a tag that is not the one which moves by custom."""
        return bool(self.digest) or self.tag != _DEFAULT_TAG


def parse_reference(text):
    """The Reference that Docker takes the text for: docker.io, its library/ and the tag latest where it names none.

    Raises InputError with the reason.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InputError(f"{text!r} is the identifier of a local image", "Name the image by its repository")
    name, _at, digest = text.partition("@")
    name, tag = split_tag(name)
    registry, repository = _split_name(name)
    check_repository(repository, text)
    if tag is not None:
        check_tag(tag)
    if _at:
        check_digest(digest)
    return Reference(registry, repository, (_DEFAULT_TAG if tag is None and not digest else tag or ""), digest)


def split_tag(name):
    """(name, tag), where the tag is None if there is none: a colon before the last slash separates a port."""
    colon = name.rfind(":")
    return (name, None) if colon <= name.rfind("/") else (name[:colon], name[colon + 1 :])


def _split_name(name):
    """(Registry, repository): the first part is a registry only if it looks like a host, as Docker decides it."""
    first, slash, rest = name.partition("/")
    is_host = slash and (re.search(r"[.:]", first) or first == "localhost" or first != first.lower())
    if not is_host:
        registry, repository = RegistryName(HUB), name
    else:
        check_registry(first, "the registry of the image")
        registry, repository = RegistryName(HUB if first == "index.docker.io" else first), rest
    return registry, _in_namespace(registry, repository)


def _in_namespace(registry, repository):
    """Docker Hub keeps what has no namespace of its own in one."""
    return _HUB_NAMESPACE + repository if registry.is_hub and "/" not in repository else repository


def full_name(registry, repository):
    """The name that the registry itself has for a repository: Docker Hub has library/. Raises InputError."""
    repository = _in_namespace(registry, repository)
    check_repository(repository)
    return repository


def check_repository(repository, named=None):
    """Raises InputError where no registry could hold a repository of that name."""
    named = repository if named is None else named
    if not _REPOSITORY.fullmatch(repository):
        cure = (
            "Names of repositories are in lower case"
            if _REPOSITORY.fullmatch(repository.lower())
            else "Names of repositories are letters and digits in lower case, separated by one of . _ / or by dashes"
        )
        raise InputError(f"{named!r} does not name a repository", cure)
    if len(repository) > _LONGEST_REPOSITORY:
        raise InputError(f"the name of the repository in {named!r} has more than {_LONGEST_REPOSITORY} characters")


def check_tag(tag):
    """Raises InputError where it is no tag."""
    if not _TAG.fullmatch(tag):
        raise InputError(
            f"{tag!r} is no tag", "Give up to 128 letters, digits and . _ -, the first of them no dot and no dash"
        )


def check_digest(digest):
    """Raises InputError where it is no digest that registries know."""
    found = _DIGEST.fullmatch(digest)
    if not found or len(found.group(2)) != _DIGEST_DIGITS.get(found.group(1)) or digest != digest.lower():
        raise InputError(f"{digest!r} is no digest", "Give sha256: and 64 hexadecimal digits in lower case")


def is_repository(text):
    """Whether a registry could hold a repository of that name."""
    return bool(_REPOSITORY.fullmatch(text))


def is_tag(text):
    return bool(_TAG.fullmatch(text))


def fits_digest(text):
    """Whether it is a digest that registries know."""
    try:
        check_digest(text)
    except InputError:
        return False
    return True


def is_digest(text):
    """Whether a text that names a manifest is meant as a digest: no tag holds a colon."""
    return ":" in text
