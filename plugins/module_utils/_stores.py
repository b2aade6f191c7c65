# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that an engine of this host keeps: pushed, pulled, and left as they were. Private to this collection."""

from __future__ import annotations

import base64
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse
import uuid

from ansible_collections.wharf.registry.plugins.module_utils._docker import Engine, EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine_words import auth_config, failure
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._http import encoded_pair
from ansible_collections.wharf.registry.plugins.module_utils._programs import find
from ansible_collections.wharf.registry.plugins.module_utils._reference import Reference, Registry, parse_reference

# An empty tar archive, of which Docker makes an image without content.
_NOTHING = bytes(1024)
# Seconds between two looks at what Podman does.
_LOOK = 1


class Kept:
    """An image that is here: the names that it can be found by, and the digests that registries know it by."""

    def __init__(self):
        self.names = set()
        self.digests = set()


class Store:
    """The images of one repository that an engine keeps, for a user of its registry."""

    name = ""
    # Where the engine looks for the CAs of registries: where they belong, and all places.
    certificates = ""
    certificate_places = ()

    def __init__(self, reference, credential):
        self._registry = reference.registry
        self._repository = reference.repository
        self._credential = credential
        # The images as they were listed last, until something changes them.
        self._known = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def version(self):
        """What it is, in words. Raises EngineDownError where it does not answer."""
        raise NotImplementedError

    def images(self):
        """{identifier: Kept} of all images that are here, with the names that are of this repository."""
        if self._known is None:
            try:
                self._known = self._list()
            except (ValueError, KeyError, TypeError, AttributeError):
                raise EngineError(
                    f"{self.name} lists its images in a way that is not known", "Look at its version"
                ) from None
        return self._known

    def _list(self):
        raise NotImplementedError

    def holder(self, name):
        """The identifier of the image that has this name, or an empty string."""
        return _holder(self.images(), name)

    @contextlib.contextmanager
    def left_as_it_was(self, names, warn):
        """Undoes in the end what is done to these names within. Yields the images from before.

        names is a set with a tag, at most, and digests; it may grow.
        """
        before = self.images()
        tag = _first(name for name in names if name.tag)
        with self._held(_holder(before, tag) if tag else ""):
            try:
                yield before
            finally:
                try:
                    self._put_back(before, names, tag)
                except (EngineError, EngineDownError) as error:
                    warn(f"The local image {tag or _first(names)} could not be put back as it was: {error}")

    def _held(self, _identifier):
        """Keeps an image here while its name is another's."""
        return contextlib.nullcontext()

    def _put_back(self, before, names, tag):
        # Others may pull from the same repository meanwhile: no other image is touched.
        for identifier, kept in self.images().items():
            if not kept.names & names:
                continue
            known = before.get(identifier)
            new = kept.names - known.names if known else kept.names
            # A tag first: where it is the last, the digests go along.
            for name in sorted((name for name in new if name in names or not name.tag), key=lambda name: not name.tag):
                if known is None:
                    self.remove(name)
                else:
                    self._untag(identifier, name, known.names)
        holder = _holder(before, tag) if tag else ""
        if holder and self.holder(tag) != holder:
            self.tag(holder, tag)

    def root(self):
        """The directory of its data, empty where it does not say."""
        raise NotImplementedError

    def load(self, archive):
        """Takes the images of an archive in, as docker save writes it, with their names. Raises EngineError."""
        raise NotImplementedError

    def push(self, name):
        """Pushes a tag, and returns the digest that the registry was given, empty where the engine does not say."""
        raise NotImplementedError

    def pull(self, name):
        """Pulls a tag or a digest. Raises EngineError."""
        raise NotImplementedError

    def remove(self, name):
        """Removes a name, and the image with its last name. It is no error where there is no such name."""
        raise NotImplementedError

    def tag(self, identifier, name):
        raise NotImplementedError

    def _untag(self, identifier, name, keep):
        """Removes a name, and never the image, nor the names to keep."""
        raise NotImplementedError

    def _failure(self, words, action):
        secret = self._credential.secret if self._credential else ""
        return failure(words, self._registry.name, secret, action, self.certificates)

    def _of_repository(self, names):
        found = set()
        for name in names or []:
            # Old engines list <none>:<none> for what has no name.
            with contextlib.suppress(InputError):
                reference = parse_reference(name)
                if reference.registry == self._registry and reference.repository == self._repository:
                    found.add(reference)
        return found


def _holder(images, name):
    return _first(identifier for identifier, kept in images.items() if name in kept.names) or ""


def _first(items):
    return next(iter(items), None)


def _repository(reference):
    """The name of a repository as engines take it."""
    return f"{reference.registry.name}/{reference.repository}"


class DockerStore(Store):
    """The images of a Docker Engine."""

    name = "docker"
    certificates = "/etc/docker/certs.d"
    certificate_places = ("/etc/docker/",)

    def __init__(self, reference, credential, path, timeout):
        super().__init__(reference, credential)
        self._engine = Engine(path, timeout)
        login = json.dumps(auth_config(credential, reference.registry)).encode()
        self._login = {"X-Registry-Auth": base64.urlsafe_b64encode(login).decode()}

    def version(self):
        answer = self._ask("GET", "/version")
        if not isinstance(answer, dict) or not answer.get("Version"):
            raise EngineDownError(f"what answers on {self._engine.path} is no Docker Engine", "Look at socket")
        return f"Docker Engine {answer['Version']} on {self._engine.path}"

    def _list(self):
        found = {}
        for image in self._ask("GET", "/images/json"):
            kept = found.setdefault(image["Id"], Kept())
            digests = self._of_repository(image.get("RepoDigests"))
            # An engine that keeps images in containerd has the digest for the identifier. It lists what was pulled by
            # digest among the tags, and makes digests up for tags, though not for all of them.
            kept.names |= self._of_repository(image.get("RepoTags"))
            kept.names |= {name for name in digests if name.digest != image["Id"]}
            kept.digests |= {name.digest for name in digests} | ({image["Id"]} if kept.names else set())
        return found

    def root(self):
        with contextlib.suppress(EngineError, EngineDownError):
            return str(self._engine.info().get("DockerRootDir") or "")
        return ""

    def load(self, archive):
        for _told in self._stream("/images/load?quiet=1", "push", archive, {"Content-Type": "application/x-tar"}):
            pass

    def push(self, name):
        digest = ""
        path = f"/images/{urllib.parse.quote(_repository(name))}/push?" + urllib.parse.urlencode({"tag": name.tag})
        for told in self._stream(path, "push", None, self._login):
            if isinstance(told.get("aux"), dict):
                digest = told["aux"].get("Digest") or digest
        return digest

    def pull(self, name):
        query = urllib.parse.urlencode({"fromImage": _repository(name), "tag": name.digest or name.tag})
        for _told in self._stream(f"/images/create?{query}", "pull", None, self._login):
            pass

    def remove(self, name):
        self._ask("DELETE", f"/images/{urllib.parse.quote(str(name))}", absent=404)

    def tag(self, identifier, name):
        query = urllib.parse.urlencode({"repo": _repository(name), "tag": name.tag})
        self._ask("POST", f"/images/{urllib.parse.quote(identifier)}/tag?{query}")

    def _untag(self, identifier, name, keep=()):
        if name.tag:
            # With its last name, the image would be removed. A name that moves to another leaves it as it was.
            self.tag(self._make_nothing(), name)
            self.remove(name)
        else:
            with self._held(identifier):
                self.remove(name)
                # From containerd, all tags of the repository go along with the digest.
                for tag in keep:
                    if tag.tag:
                        self.tag(identifier, tag)

    @contextlib.contextmanager
    def _held(self, identifier):
        if not identifier:
            yield
            return
        # An engine that keeps images in containerd may let go of what has no name.
        aside = Reference(Registry("wharf.invalid"), "aside", uuid.uuid4().hex)
        self.tag(identifier, aside)
        try:
            yield
        finally:
            self._untag(identifier, aside)

    def _make_nothing(self):
        """The identifier of a new image without content. It is gone with the name that it is given."""
        identifier = ""
        for told in self._stream("/images/create?fromSrc=-", "push", _NOTHING, {}):
            identifier = told.get("status") or identifier
        return identifier

    def _ask(self, method, path, absent=0):
        if method != "GET":
            self._known = None
        status, answer = self._engine.request(method, path)
        if status >= 300 and status != absent:
            said = answer.get("message") if isinstance(answer, dict) else answer
            raise EngineError(f"the engine said: {str(said)[:300]}", "Look at its log")
        return answer

    def _stream(self, path, action, body, headers):
        self._known = None
        try:
            yield from self._engine.stream("POST", path, body, headers)
        except EngineError as error:
            raise self._explained(self._failure(error.message, action)) from None
        except EngineDownError as error:
            raise self._explained(error) from None

    def _explained(self, error):
        """Where the engine can't reach what this module has just reached, its own proxy is the usual reason."""
        silent = "said nothing for" in error.message
        if error.mistake != "proxy" and not silent and not re.match(r"the engine can't (?:reach|res)", error.message):
            return error
        with contextlib.suppress(EngineError, EngineDownError):
            info = self._engine.info()
            # It is there, and waits for somebody else.
            error.mistake = error.mistake or "timed_out"
            proxy = (info.get("HttpsProxy") or info.get("HttpProxy") or "").rpartition("@")[2]
            if proxy:
                error.mistake = "proxy"
                error.cure = (
                    f"The engine goes by the HTTP proxy {proxy}, save for {info.get('NoProxy') or 'nothing'}: add "
                    f"{self._registry.name} to NO_PROXY in the environment of its service, or let the proxy through"
                )
        return error


class PodmanStore(Store):
    """The images of Podman, for the account that runs this."""

    name = "podman"
    certificates = "/etc/containers/certs.d"
    certificate_places = ("/etc/containers/", "/etc/docker/")

    def __init__(self, reference, credential, timeout):
        super().__init__(reference, credential)
        self._timeout = timeout
        self._place = None

    def __enter__(self):
        # As a file in a directory for this account alone: everybody may read the command line of a process.
        self._place = tempfile.mkdtemp(prefix="wharf-check.", dir=_memory())
        entry = {}
        if self._credential is not None:
            # Without a user in it, Podman would take the entry for none.
            entry["auth"] = encoded_pair(self._credential.username or "token", self._credential.password)
            if self._credential.identity_token:
                entry["identitytoken"] = self._credential.identity_token
        auths = {self._registry.podman_key: entry} if entry else {}
        with open(os.open(self._authfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"auths": auths}, file)
        return self

    def __exit__(self, *_exception):
        shutil.rmtree(self._place, ignore_errors=True)

    @property
    def _authfile(self):
        return os.path.join(self._place, "auth.json")

    def version(self):
        # Not the command version, which opens the storage for it.
        return "Podman " + self._run("--version").rpartition(" ")[2].strip()

    def _list(self):
        found = {}
        for image in json.loads(self._run("images", "--format", "json") or "null") or []:
            kept = found.setdefault(image["Id"], Kept())
            kept.names |= self._of_repository(image.get("Names"))
            kept.digests |= {name.digest for name in self._of_repository(image.get("RepoDigests"))}
        return found

    def root(self):
        with contextlib.suppress(EngineError, EngineDownError):
            return self._run("info", "--format", "{{.Store.GraphRoot}}").strip()
        return ""

    def load(self, archive):
        self._run("load", "--quiet", action="push", stdin=archive)

    def push(self, name):
        told = os.path.join(self._place, "digest")
        self._run("push", "--quiet", "--authfile", self._authfile, "--digestfile", told, str(name), action="push")
        with contextlib.suppress(OSError), open(told, encoding="ascii", errors="replace") as file:
            return file.read().strip()
        return ""

    def pull(self, name):
        self._run("pull", "--quiet", "--authfile", self._authfile, str(name), action="pull")

    def remove(self, name):
        self._run("rmi", str(name), absent=1)

    def tag(self, identifier, name):
        self._run("tag", identifier, str(name))

    def _untag(self, identifier, name, _keep):
        if name.tag:
            self._run("untag", identifier, str(name))
        else:
            # Podman takes a digest away as a name only where the image has another one.
            self.remove(name)

    def _run(self, *arguments, action="", stdin=b"", absent=0):
        """What a command prints, or None where it ends with the status that says there is no such thing."""
        if arguments[0] != "images":
            self._known = None
        try:
            process = subprocess.Popen(
                [find("podman") or "podman", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineDownError(
                f"the command podman can't be run ({error.strerror})", "Install Podman, or name another engine"
            ) from None
        try:
            stdout, stderr = self._watched(process, stdin)
        finally:
            if process.poll() is None:
                _kill(process)
        if absent and process.returncode == absent:
            return None
        if process.returncode != 0:
            words = re.sub(r"^Error: ", "", stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
            raise self._failure(words, action or "pull")
        return stdout.decode("utf-8", "replace")

    def _watched(self, process, stdin):
        """All that it prints. It is given up when neither it nor what it started has read or written anything."""
        seen, last, pending = -1, time.monotonic(), stdin
        while True:
            try:
                return process.communicate(pending or None, timeout=_LOOK)
            except subprocess.TimeoutExpired:
                pending = None
            moved = _moved(process.pid)
            if moved != seen:
                seen, last = moved, time.monotonic()
            elif time.monotonic() - last > self._timeout:
                raise EngineDownError(
                    f"Podman did nothing for {self._timeout} seconds",
                    "Look at the load of this host and at its network, or raise timeout",
                )


def _memory():
    """A directory that is gone after a restart, or None for the usual one."""
    return _first(path for path in (os.environ.get("XDG_RUNTIME_DIR"), "/run") if path and os.access(path, os.W_OK))


def _moved(group):
    """Bytes that the processes of a group have read and written."""
    total = 0
    for place in glob.glob("/proc/[0-9]*"):
        # Processes come and go.
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"{place}/stat", encoding="utf-8", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[2]) != group:
                    continue
            with open(f"{place}/io", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(("rchar", "wchar")))
    return total


def _kill(process):
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
