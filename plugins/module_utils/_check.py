# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from a host to a registry, hop by hop, so that the first that breaks is named. Private to this collection."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import platform
import re
import tarfile
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils import _diagnosis
from ansible_collections.wharf.registry.plugins.module_utils._account import Account
from ansible_collections.wharf.registry.plugins.module_utils._auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._credentials import find_credential, other_logins
from ansible_collections.wharf.registry.plugins.module_utils._docker import EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._http import AnswerError, resolved
from ansible_collections.wharf.registry.plugins.module_utils._programs import find
from ansible_collections.wharf.registry.plugins.module_utils._reference import (
    Reference,
    check_digest,
    check_tag,
    full_name,
    split_tag,
)
from ansible_collections.wharf.registry.plugins.module_utils._registry import DeniedError
from ansible_collections.wharf.registry.plugins.module_utils._stores import DockerStore, PodmanStore

REPOSITORY = "wharf-verify"
_EPOCH = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

# What to do besides what an error says itself, by the hop. The containers are those of this collection's roles.
_CURES = {
    "connection": 'On the registry host, "docker ps" shows whether wharf-proxy runs. Look at firewalls between, too',
    "credentials": "If they are of reverse_proxy_users, run site.yml on the registry host after changing them",
}
_LOGS = 'On the registry host these are "docker logs wharf-proxy" and "docker logs wharf-registry-1"'


class HopError(RegistryError):
    """A hop that does not work. hop is its name."""

    def __init__(self, message, cure, hop, mistake=""):
        super().__init__(message, cure, mistake)
        self.hop = hop


def host():
    """The short name of this host."""
    return platform.node().partition(".")[0] or "this host"


def parse_image(text, registry):
    """The Reference of an image in a registry: repository[:tag][@digest], with the registry before it or not.

    Raises InputError.
    """
    text = text.strip()
    if text.startswith(registry.name + "/"):
        text = text[len(registry.name) + 1 :]
    name, at, digest = text.partition("@")
    name, tag = split_tag(name)
    if tag is not None:
        check_tag(tag)
    if at:
        check_digest(digest)
    # A digest says which image it is. A tag beside it would say nothing more.
    return Reference(registry, full_name(registry, name), "" if digest else tag or "latest", digest)


def own_image(registry):
    """The Reference of what this host pushes to verify a registry."""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", host()).lstrip(".-")[:128]
    return Reference(registry, full_name(registry, REPOSITORY), tag or "host")


def archive(reference):
    """An image without a program, as docker save writes it.

    For one host and one registry it is the same each time: a second push has nothing to send.
    """
    about = f"Made on {host()} to verify {reference.registry.name}; can be deleted."
    layer = _tar({"README": f"{about}\n".encode()})
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": _EPOCH,
            "config": {"Labels": {"org.opencontainers.image.description": about}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_hash(layer)}"]},
            "history": [{"created": _EPOCH, "comment": "wharf.registry.registry_check"}],
        },
        sort_keys=True,
    ).encode()
    names = {"config": f"{_hash(config)}.json", "layer": f"{_hash(layer)}/layer.tar"}
    manifest = [{"Config": names["config"], "RepoTags": [str(reference)], "Layers": [names["layer"]]}]
    return _tar({names["config"]: config, names["layer"]: layer, "manifest.json": json.dumps(manifest).encode()})


def _tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _hash(content):
    return hashlib.sha256(content).hexdigest()


class Check:
    """One walk to a registry. What it has found so far is in its attributes, however it ends.

    connection is a Connection, and warn is called with a text for what is no failure.
    """

    def __init__(self, connection, registry, warn, tag_was_named=True, repository=""):
        self._repository = repository
        self._tag_was_named = tag_was_named
        self._connection = connection
        self._registry = registry
        self._warn = warn
        self._client = connection.client(registry)
        self._credential = None
        self._api = None
        self.hops = []
        self.seen = {"addresses": [], "hosts_file": [], "disks": [], "clock_ahead": None}

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._client.close()

    @contextlib.contextmanager
    def _hop(self, name):
        """Notes how a hop went. The dictionary takes what is said of it. Raises HopError."""
        hop = {"name": name, "ok": False, "seconds": 0.0, "said": "", "cure": "", "mistake": ""}
        self.hops.append(hop)
        began = time.monotonic()
        try:
            yield hop
            hop["ok"] = True
        except RegistryError as error:
            hop["said"] = error.message
            logs = _LOGS if re.search(r"\bits log\b|\blogs\b", error.cure) else ""
            cures = [cure.rstrip(".") for cure in (error.cure, _CURES.get(name), logs) if cure]
            hop["cure"], hop["mistake"] = ". ".join(cures), error.mistake
            raise HopError(
                f"{host()} does not get through to {self._registry.name}. The hop that broke: {name}. "
                f"It said: {error.message}",
                hop["cure"],
                name,
                error.mistake,
            ) from None
        finally:
            hop["seconds"] = round(time.monotonic() - began, 3)

    def walk(self, accounts=()):
        """From the name to the credentials, of each of the accounts. Nothing changes anywhere. Raises HopError."""
        anonymous = self._connection.api(self._registry, self._client)
        secure = anonymous.url.startswith("https:")
        self._look_up(anonymous.url)
        for name in ("name", "connection", "TLS") if secure else ("name", "connection"):
            with self._hop(name) as hop:
                try:
                    hop["said"] = self._client.step(name, anonymous.url)
                except RegistryError as error:
                    self._explain_tls(error, anonymous.url)
                    raise
        with self._hop("registry") as hop:
            schemes = anonymous.challenges()
            hop["said"] = f"it asks for a login ({', '.join(schemes)})" if schemes else "anybody may use it"
        if not schemes:
            self._warn(f"{self._registry.name} asks nobody for a login: anybody who reaches it may read it")
        with self._hop("credentials") as hop:
            hop["said"] = ", ".join(self._log_in(account) for account in accounts or [""])

    def _look_up(self, url):
        """Keeps what a fleet compares: whose name leads elsewhere is told from the hosts where it does not."""
        host, port = urllib.parse.urlsplit(url).hostname, urllib.parse.urlsplit(url).port
        self.seen["hosts_file"] = _diagnosis.in_hosts_file(host)
        with contextlib.suppress(OSError, UnicodeError):
            self.seen["addresses"] = resolved(host, port, self._connection.params["timeout"])

    def _explain_tls(self, error, url):
        if error.mistake in ("expired", "not_yet_valid"):
            self.seen["clock_ahead"] = _diagnosis.explain_time(error, url, self._connection.params["timeout"])
        elif error.mistake == "unknown_ca" and not self._connection.params["ca_path"]:
            _diagnosis.explain_ca(error, self._registry)

    def _log_in(self, account):
        """Shows the registry the login of an account, and says in words that it took it. The first is the engine's."""
        credential, others = self._login_of(account)
        api = self._connection.api(self._registry, self._client, credential)
        who = repr(credential.username or "<token>") if credential else "the anonymous"
        try:
            taken = api.ping()
        except RegistryError as error:
            if error.mistake == "not_logged_in":
                _diagnosis.explain_login(error, self._registry, others)
            if account:
                error.message = f"of the account {account!r}: {error.message}"
            raise
        if self._api is None:
            self._credential, self._api = credential, api
        said = f"it takes {who}" if taken and credential else f"it lets {who} in"
        return f"{said} for the account {account!r}" if account else said

    def _login_of(self, account):
        """(Credential or None, the other registries that it is logged in to)"""
        if not account:
            credential = self._connection.credential(self._registry, self._repository)
            return credential, [] if credential else other_logins()
        path, timeout = self._connection.params["config_path"], self._connection.params["timeout"]

        def find_login():
            found = find_credential(self._registry, path, timeout, self._repository)
            return [[found.username, found.password, found.identity_token], []] if found else [None, other_logins()]

        # As the account itself: its helpers are its own, and its home may be closed to others.
        found, others = Account(account).do(find_login)
        return Credential(*found) if found else None, others

    def engine(self, reference, name, path, timeout):
        """The Store of the engine that is named, or of the first that is found, for this image. Raises HopError."""
        with self._hop("engine") as hop:
            store = None
            if name != "podman":
                store = DockerStore(reference, self._credential, path, timeout)
                try:
                    hop["said"] = store.version()
                except EngineDownError as error:
                    if name == "docker" or not find("podman"):
                        error.mistake = "engine_down"
                        raise
                    store = None
            if store is None:
                store = PodmanStore(reference, self._credential, timeout)
                hop["said"] = store.version()
            return store

    def refuse_upload(self, repository):
        """That the user may not begin what every push begins with. Raises HopError."""
        with self._hop("upload refused") as hop:
            if not self._api.refuses_uploads(repository):
                who = f"user {self._credential.username!r}" if self._credential else "anybody"
                raise DeniedError(
                    f"{self._registry.name} lets {who} push to {repository}, who is meant to pull only",
                    "Look at the user's access in reverse_proxy_users, and run site.yml on the registry host",
                    "too_much_access",
                )
            hop["said"] = f"a push to {repository} would be refused"

    def allow_upload(self, repository):
        """That the user may begin what every push begins with. The upload is cancelled. Raises HopError."""
        with self._hop("upload allowed") as hop:
            if self._api.refuses_uploads(repository):
                who = f"user {self._credential.username!r}" if self._credential else "anybody"
                raise DeniedError(
                    f"{self._registry.name} does not let {who} push to {repository}",
                    "Name a repository that this user may push to, or give the user access in reverse_proxy_users",
                    "wrong_account",
                )
            hop["said"] = f"a push to {repository} would be let in"

    def look(self, reference):
        """That the registry has an image for this host, with all its parts. Raises HopError."""
        with self._hop("image") as hop:
            hop["said"] = _diagnosis.look_at(self._api, reference) or self._absent(reference)

    def reach(self, store, reference):
        """That the engine gets an answer of the registry, whatever it is, for this image. Raises HopError."""
        with store, store.left_as_it_was({reference}, self._warn), self._hop("reach") as hop:
            try:
                self._told(store.pull, store, reference)
                hop["said"] = f"the engine pulled {reference}"
            except EngineError as error:
                if error.mistake != "no_image":
                    raise
                hop["said"] = "the engine asked for an image that is not there, and was told so"

    def _told(self, do, store, reference):
        """What do(reference) returns. What the engine says of a failure is made clear by what this host is like."""
        try:
            return do(reference)
        except EngineError as error:
            timeout = self._connection.params["timeout"]
            if error.mistake == "engine_unknown_ca":
                _diagnosis.explain_engine_ca(error, self._registry, store.certificate_places, timeout)
            elif error.mistake == "no_space":
                _diagnosis.explain_space(error, error.message, store.root())
            elif error.mistake == "registry_error" and do == store.push:
                _diagnosis.explain_storage(error, self._api, reference.repository)
            raise

    def pull(self, store, reference):
        """Pulls an image as the engine does it, and returns its digest. Raises HopError."""
        with store, store.left_as_it_was({reference}, self._warn):
            with self._hop("pull") as hop:
                digest = self._digest(reference)
                self._told(store.pull, store, reference)
                hop["said"] = f"the engine pulled {reference}"
            with self._hop("digest") as hop:
                kept = store.images().get(store.holder(reference))
                there = kept.digests if kept else set()
                if digest not in there:
                    there = ", ".join(sorted(there)) or "something else"
                    raise _changed(f"the registry has {digest} there, and the engine pulled {there}")
                hop["said"] = f"the engine and the registry agree on {digest}"
        return digest

    def push(self, store, reference):
        """Pushes an image that is made on the spot, pulls it back, and returns its digest. Raises HopError."""
        names = {reference}
        with store, store.left_as_it_was(names, self._warn) as before:
            with self._hop("push") as hop:
                self._told(lambda name: store.load(archive(name)), store, reference)
                made = store.holder(reference)
                pushed = self._told(store.push, store, reference)
                digest = self._digest(reference)
                if pushed and pushed != digest:
                    raise _changed(f"the engine pushed {pushed}, and the registry has {digest} there now")
                hop["said"] = f"the engine pushed {reference}"
            by_digest = Reference(reference.registry, reference.repository, "", digest)
            names.add(by_digest)
            with self._hop("pull") as hop:
                if made not in before:
                    # Else nothing would come over the network.
                    store.remove(reference)
                self._told(store.pull, store, by_digest)
                hop["said"] = f"the engine pulled {by_digest}"
            with self._hop("digest") as hop:
                pulled = store.holder(by_digest)
                # Engines name an image by its configuration, or, if they keep it in containerd, by its manifest.
                if pulled not in (made, digest):
                    raise _changed(f"what was pushed is {made}, and what was pulled is {pulled or 'something else'}")
                hop["said"] = f"what came back is what was pushed, {digest}"
        return digest

    def _digest(self, reference):
        head = self._api.head(reference.repository, reference.digest or reference.tag)
        if head is None:
            self._absent(reference)
        return head.digest

    def _absent(self, reference):
        # Whoever names no tag, gets latest.
        raise _diagnosis.explain_absent(self._api, reference, self._tag_was_named)


def _changed(message):
    return AnswerError(message, "Something between this host and the registry changes or caches images")


class Verification(Connection):
    """One walk as the options of registry_check describe it.

    params maps their names to their values. `result` and `warnings` tell what was found, however it ends.
    """

    def __init__(self, params, check_mode):
        super().__init__(params)
        self._check_mode = check_mode
        self.warnings = []
        self.result = {
            "hops": [],
            "failed_hop": "",
            "cure": "",
            "digest": "",
            "reference": "",
            "verified": False,
            "engine": "",
            "mistake": "",
            "registry": "",
            "seen": {},
        }

    def run(self):
        """Walks all hops. Raises RegistryError."""
        try:
            self._walk()
        except RegistryError as error:
            self.result["failed_hop"] = error.hop if isinstance(error, HopError) else ""
            self.result["cure"], self.result["mistake"] = error.cure, error.mistake
            raise

    def _walk(self):
        access = self.params["access"]
        registry = self.registry()
        self.result["registry"] = registry.name
        self.given_credential()
        reference = None if access == "none" else self._find_reference(registry)
        self.result["reference"] = str(reference or "")
        named = bool(split_tag((self.params["image"] or "").strip())[1])
        repository = reference.repository if reference else ""
        with Check(self, registry, self.warnings.append, named, repository) as way:
            self.result["hops"], self.result["seen"] = way.hops, way.seen
            way.seen["disks"] = [found for found in map(_diagnosis.disk, self.params.get("storage") or []) if found]
            way.walk(self.params.get("accounts") or [])
            if reference is not None and not self._check_mode:
                self._walk_on(way, access, reference)
        self.result["verified"] = reference is None or not self._check_mode

    def _walk_on(self, way, access, reference):
        """The hops of an access, after those that all have."""
        if access == "pull":
            way.refuse_upload(reference.repository)
        elif self.params.get("pushes") and access in ("image", "push"):
            # A registry that takes nothing says so at once, and an engine tries again for a minute.
            way.allow_upload(reference.repository)
        if access == "image":
            way.look(reference)
        store = way.engine(reference, self.params["engine"], self.params["socket"], self.params["timeout"])
        self.result["engine"] = store.name
        if access == "reach":
            way.reach(store, reference)
        else:
            self.result["digest"] = (way.push if access == "push" else way.pull)(store, reference)

    def _find_reference(self, registry):
        """The Reference of the image that is pulled or pushed. Raises InputError."""
        image, access = self.params["image"], self.params["access"]
        if access in ("push", "reach") and not (image or "").strip():
            return own_image(registry)
        reference = parse_image(image, registry)
        if access == "push" and reference.digest:
            raise InputError(f"image is {image!r}, and a push goes to a tag", "Give repository:tag")
        return reference
