# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credential files of Docker and Podman, and Docker's credential helpers. Private to this collection.

What a file is to hold is decided by pure functions on its document. The classes read it, lock it and replace it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time

from ansible_collections.wharf.registry.plugins.module_utils._auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._reference import names_registry

# Helpers that get their secrets from the cloud they belong to, and refuse to store or erase any.
_SELF_MANAGED = frozenset(["acr", "acr-env", "acr-linux", "ecr-login", "gcloud", "gcr"])
_REFUSES_TO_STORE = re.compile(r"not (?:implemented|supported)|unsupported|unimplemented|read[- ]only", re.IGNORECASE)
_NOT_FOUND = re.compile(r"credentials not found|no credentials server url|no credentials username", re.IGNORECASE)
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Where helpers lie that the PATH of a task may leave out.
_HELPER_PATHS = ("/usr/local/bin", "/usr/bin", "/bin", "/snap/bin")
# Stands for a user name where the secret is an identity token.
_IDENTITY = "<token>"

# What an entry of `auths` may hold of a login. All else in it is somebody else's.
_SECRET_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")
_PRIVATE = 0o600

# Seconds that another writer may hold the lock. Each holds it for as long as a helper takes to answer.
_LOCK_SECONDS = 120


# Docker takes no lock. How often to start over when it was faster.
_ATTEMPTS = 10


class HelperError(RegistryError):
    """A credential helper that is locked or broken."""


class HelperMissingError(HelperError):
    """A credential helper that is not installed."""


class HelperRefusesError(HelperError):
    """A helper that does not store: it manages its secrets by itself."""


class _OvertakenError(Exception):
    """Somebody who takes no lock has written the file since it was read."""


# --- the document -----------------------------------------------------------------------------------------------------


class _Number(str):
    """A number as it stands in the text. Reading it as a float would round it."""

    __slots__ = ()


def parse(raw, path):
    """The document in the bytes of a file. Raises InputError, which shows nothing of the content."""
    cure = "Nothing was changed: mend the file or move it away"
    try:
        document = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text", cure) from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply", cure) from None
    except json.JSONDecodeError as error:
        what = "is empty" if not raw.strip() else f"is not valid JSON (line {error.lineno}, column {error.colno})"
        raise InputError(f"{path} {what}", cure) from None
    except _NotJsonError as error:
        raise InputError(f"{path} is not valid JSON ({error})", cure) from None
    _check(document, path, cure)
    return document


class _NotJsonError(ValueError):
    """What Python's parser takes and Docker's does not, or reads in another way."""


def _pairs(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        # Docker reads the second of two objects into the first; whoever writes only one of them loses logins.
        raise _NotJsonError("a key occurs twice in one object")
    return found


def _no_constant(_text):
    raise _NotJsonError("NaN and Infinity are no numbers of JSON")


def _check(document, path, cure):
    """Raises InputError where Docker would not take the file, and so no login in it."""
    if not isinstance(document, dict):
        raise InputError(f"{path} does not hold a JSON object", cure)
    for where, fits, wanted in _expectations(document):
        if not fits:
            raise InputError(f"{path}: {where} is not {wanted}", cure)


def _expectations(document):
    """(place, whether it is as it must be, what it must be), from the outside in: the first that is not ends it."""
    auths, helpers = document.get("auths"), document.get("credHelpers")
    yield "auths", isinstance(auths, (dict, type(None))), "an object"
    yield "credHelpers", isinstance(helpers, (dict, type(None))), "an object"
    yield "credsStore", _is_text(document.get("credsStore")), "a string"
    for key, entry in (auths or {}).items():
        where = f"auths[{json.dumps(key)}]"
        yield where, isinstance(entry, (dict, type(None))), "an object"
        for field in _SECRET_FIELDS:
            yield f"{field} of {where}", _is_text((entry or {}).get(field)), "a string"
    for key, name in (helpers or {}).items():
        yield f"credHelpers[{json.dumps(key)}]", _is_text(name), "a string"


def _is_text(value):
    return value is None or (isinstance(value, str) and not isinstance(value, _Number))


def serialise(document, like=""):
    """The bytes of the document, indented as the text `like` is, or as Docker does it."""
    found = re.search(r'\n([ \t]+)"', like)
    text = _dump(document, "\n", found.group(1) if found else "\t")
    return (text + ("\n" if like.endswith("\n") else "")).encode()


def _dump(value, line, indent):
    inner = line + indent
    if isinstance(value, dict) and value:
        items = (f"{_quoted(key)}: {_dump(item, inner, indent)}" for key, item in value.items())
        return "{" + inner + ("," + inner).join(items) + line + "}"
    if isinstance(value, list) and value:
        return "[" + inner + ("," + inner).join(_dump(item, inner, indent) for item in value) + line + "]"
    if isinstance(value, _Number):
        return str(value)
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text):
    readable = json.dumps(text, ensure_ascii=False)
    try:
        readable.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can hold and UTF-8 can't.
        return json.dumps(text)
    return readable


def read_entry(entry):
    """The Credential in an entry of `auths`, or None where it holds none that can be used."""
    entry = entry or {}
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            decoded = base64.b64decode(entry["auth"], validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return None
        username, colon, password = decoded.partition(":")
        password = password.strip("\0")
        if not colon or not username:
            return None
    if entry.get("identitytoken"):
        return Credential(username, identity_token=entry["identitytoken"])
    return Credential(username, password) if username and password else None


def _write_entry(entry, credential):
    """The entry with this credential, or with none, and with all that is not a login as it was."""
    kept = {name: value for name, value in (entry or {}).items() if name not in _SECRET_FIELDS}
    if credential is None:
        return kept
    fields = {}
    if credential.username:
        fields["auth"] = base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()
    if credential.identity_token:
        fields["identitytoken"] = credential.identity_token
    return {**fields, **kept}


def same_secret(one, other):
    """Whether two credentials let the same user in. Helpers do not keep the user of an identity token."""
    if one is None or other is None:
        return one is other
    if one.identity_token or other.identity_token:
        return one.identity_token == other.identity_token
    return one == other


class Document:
    """What a credential file says of one registry. Never changes: its methods give the document to write."""

    def __init__(self, content, registry, podman=False):
        self.content = content
        self._registry = registry
        self._podman = podman
        self.key = registry.podman_key if podman else registry.config_key
        auths = content.get("auths") or {}
        # The key of today first, as Docker looks for it before the old spellings.
        self.spellings = sorted(
            (key for key in auths if names_registry(key, registry)), key=lambda key: key != self.key
        )
        credentials = [read_entry(auths[key]) for key in self.spellings]
        self.credential = next((credential for credential in credentials if credential is not None), None)

    @property
    def helper(self):
        """The helper that Docker asks for this registry, or an empty string where the secret lies in the file."""
        helpers = self.content.get("credHelpers") or {}
        if self.key in helpers:
            return helpers[self.key] or ""
        return "" if self._podman else self.content.get("credsStore") or ""

    def logged_in(self, credential):
        """With this credential in the file, or with Docker's mark of a login whose secret lies in a helper."""
        in_file = credential is not None
        if not in_file and self._podman and not self.spellings:
            return self
        auths = self.content.get("auths") or {}
        # What stands in duplicates beside the login is kept, and the entry of today wins.
        entry = {}
        for key in reversed(self.spellings):
            entry.update(auths[key] or {})
        if in_file and self.spellings == [self.key] and read_entry(auths[self.key]) == credential:
            return self
        return self._with("auths", self._replaced(auths, _write_entry(entry, credential)))

    def _replaced(self, auths, entry):
        """One entry where the first of the spellings stood, or at the end."""
        result = {}
        for key, value in auths.items():
            if key not in self.spellings:
                result[key] = value
            elif self.key not in result:
                result[self.key] = entry
        result.setdefault(self.key, entry)
        return result

    def logged_out(self):
        """Without any entry of the registry."""
        if not self.spellings:
            return self
        return self._with(
            "auths", {key: value for key, value in self.content["auths"].items() if key not in self.spellings}
        )

    def with_helper(self, name):
        """Asking the helper for this registry, or none where the name is empty."""
        helpers = dict(self.content.get("credHelpers") or {})
        if name or (self.content.get("credsStore") and not self._podman):
            # An empty name is how Docker is told that the file comes before credsStore.
            helpers[self.key] = name
        else:
            helpers.pop(self.key, None)
        return self._with("credHelpers", helpers)

    def without_helper(self, name):
        """Not asking this helper for this registry by credHelpers."""
        helpers = dict(self.content.get("credHelpers") or {})
        if helpers.get(self.key) == name:
            del helpers[self.key]
        return self._with("credHelpers", helpers)

    def _with(self, name, value):
        # What is empty already need not be written as empty.
        if value == (self.content.get(name) or {}):
            return self
        return Document({**self.content, name: value}, self._registry, self._podman)


# --- helpers ----------------------------------------------------------------------------------------------------------


class Helper:
    """A credential helper: the program docker-credential-NAME. timeout is in seconds, for each answer."""

    def __init__(self, name, timeout=30):
        if not _HELPER_NAME.fullmatch(name):
            raise InputError(
                f"credential helper {name!r} is no name", "Give what follows docker-credential- in the program's name"
            )
        self.name = name
        self._timeout = timeout

    @property
    def program(self):
        return f"docker-credential-{self.name}"

    @property
    def manages_itself(self):
        return self.name in _SELF_MANAGED

    def get(self, server):
        """The Credential for a server, or None. Raises HelperError."""
        status, output = self._ask("get", server)
        if status != 0:
            if _NOT_FOUND.search(output):
                return None
            raise self._failed("get", output)
        try:
            answer = json.loads(output)
            username, secret = answer["Username"], answer["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError):
            username = secret = None
        if not isinstance(username, str) or not isinstance(secret, str):
            raise HelperError(f"{self.program} answered what is no credential", "Look what that program is")
        if not secret:
            return None
        return Credential("", identity_token=secret) if username == _IDENTITY else Credential(username, secret)

    def store(self, server, credential):
        """Raises HelperRefusesError where the helper manages itself, and HelperError where it fails."""
        request = {
            "ServerURL": server,
            "Username": _IDENTITY if credential.identity_token else credential.username,
            "Secret": credential.secret,
        }
        status, output = self._ask("store", json.dumps(request))
        if status != 0:
            kind = HelperRefusesError if _REFUSES_TO_STORE.search(output) else HelperError
            raise self._failed("store", output.replace(credential.secret, "********"), kind)

    def erase(self, server):
        """Raises HelperError."""
        status, output = self._ask("erase", server)
        if status != 0 and not _NOT_FOUND.search(output):
            raise self._failed("erase", output)

    def _failed(self, action, output, kind=HelperError):
        words = " ".join(output.split())[:300] or "nothing"
        return kind(
            f"{self.program} could not {action}; it said: {words}",
            "Look whether its store is made and unlocked for this account, and works without a terminal",
        )

    def _ask(self, action, text):
        """(status, output): helpers speak of errors on standard output. Secrets go by standard input only."""
        folders = [os.environ.get("PATH", ""), *_HELPER_PATHS]
        program = shutil.which(self.program, path=os.pathsep.join(folder for folder in folders if folder))
        if program is None:
            raise HelperMissingError(
                f"The credential helper {self.program} is not installed",
                "Install it where this account's PATH finds it, or name another by credential_helper",
            )
        try:
            # A session of its own: a helper that waits for a passphrase ends with all that it has started.
            process = subprocess.Popen(
                [program, action],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise HelperError(f"{program} can't be run: {error.strerror}", "Install it anew") from None
        try:
            output, errors = process.communicate(text.encode(), timeout=self._timeout)
        except subprocess.TimeoutExpired:
            raise HelperError(
                f"{self.program} did not answer within {self._timeout} seconds",
                "Its store may be locked and wait for a passphrase: unlock it for this account",
            ) from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        said = output if output.strip() or process.returncode == 0 else errors
        return process.returncode, said.decode("utf-8", "replace")


# --- the file ---------------------------------------------------------------------------------------------------------


def default_path():
    """The file that Docker reads for this account."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    return os.path.join(folder, "config.json")


class CredentialFile:
    """A credential file on disk. Reading takes no lock; `locked` is held from the last reading to `write`."""

    def __init__(self, path):
        self.path = path
        # A symbolic link stays one: what it leads to is replaced.
        self._target = os.path.realpath(path)
        self._folder = os.path.dirname(self._target)
        self._found = None
        self._text = ""

    @property
    def is_podmans(self):
        return os.path.basename(self.path) == "auth.json"

    @property
    def mode(self):
        """The file's permissions, or None where it does not exist."""
        return None if self._found is None else stat.S_IMODE(self._found.st_mode)

    @property
    def is_open(self):
        """Whether accounts other than its owner may read it."""
        return self.mode is not None and bool(self.mode & ~_PRIVATE & 0o777)

    def read(self):
        """The document, empty where there is no file. Raises InputError."""
        self._found, self._text = None, ""
        try:
            found = os.stat(self._target)
            if stat.S_ISDIR(found.st_mode):
                raise InputError(f"{self.path} is a directory", "Give the path of the file, or move the directory away")
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{self.path} is not a regular file", "Give another config_path")
            with open(self._target, "rb") as file:
                raw = file.read()
                self._found = os.fstat(file.fileno())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failed("read", error) from None
        document = parse(raw, self.path)
        self._text = raw.decode("utf-8")
        return document

    @contextlib.contextmanager
    def locked(self):
        """Keeps other writers of this collection out, and makes the directory where it is missing."""
        try:
            self._make_folder()
            lock = self._lock()
        except OSError as error:
            raise self._failed("written", error) from None
        try:
            yield
        finally:
            os.close(lock)

    def write(self, document):
        """Replaces the file in one step: readers, also after a crash, find the old or the new one, whole."""
        try:
            content = serialise(document, self._text)
        except RecursionError:
            raise InputError(f"{self.path} is nested too deeply", "Nothing was changed: mend the file") from None
        # One name, and the lock is held: what a killed run has left is found and removed.
        temporary = os.path.join(self._folder, f".{os.path.basename(self._target)}.wharf-new")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
            try:
                with os.fdopen(handle, "wb") as file:
                    self._give_attributes(file.fileno())
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                self._check_not_overtaken()
                os.replace(temporary, self._target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            self._sync_folder()
        except OSError as error:
            raise self._failed("written", error) from None

    def _check_not_overtaken(self):
        try:
            now = os.stat(self._target)
        except FileNotFoundError:
            now = None
        if _version(now) != _version(self._found):
            raise _OvertakenError

    def _make_folder(self):
        missing = []
        folder = self._folder
        while not os.path.lexists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
                self._give_to_owner_of(os.path.dirname(path), path)

    def _lock(self):
        """A locked descriptor: of the directory, which leaves nothing about, or of a file where that is needed."""
        lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._wait_for(lock)
        except OSError as error:
            os.close(lock)
            if error.errno not in (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        except BaseException:
            os.close(lock)
            raise
        else:
            return lock
        # NFS locks what is open for writing, which no directory is.
        path = os.path.join(self._folder, f".{os.path.basename(self._target)}.wharf-lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
        try:
            self._wait_for(lock)
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _wait_for(self, lock):
        end = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() >= end:
                raise InputError(
                    f"{self._folder} has been locked by another process for {_LOCK_SECONDS} seconds",
                    "Look which one holds it (lslocks), and end it if it hangs",
                )
            time.sleep(0.02)

    def _give_attributes(self, handle):
        """Owner, mode and SELinux context of the file that is replaced."""
        if self._found is None:
            self._give_to_owner_of(self._folder, handle)
            os.fchmod(handle, _PRIVATE)
            return
        mine = os.fstat(handle)
        if mine.st_uid != self._found.st_uid:
            os.chown(handle, self._found.st_uid, -1)
        if mine.st_gid != self._found.st_gid:
            # The group reads nothing here, so that it is no loss where this account may not give it.
            with contextlib.suppress(PermissionError):
                os.chown(handle, -1, self._found.st_gid)
        os.fchmod(handle, self.mode & _PRIVATE)
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(handle, "security.selinux", os.getxattr(self._target, "security.selinux"))

    def _give_to_owner_of(self, folder, what):
        """Root that makes something in a user's directory makes it for the user."""
        if os.geteuid() == 0:
            owner = os.stat(folder)
            os.chown(what, owner.st_uid, owner.st_gid)

    def _sync_folder(self):
        # The file is in place; whether the directory is on the disk yet is a matter of power cuts, not of this answer.
        with contextlib.suppress(OSError):
            handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _failed(self, what, error):
        cures = {
            errno.EACCES: "Run as its owner (become_user), or give another config_path",
            errno.EPERM: "Run as its owner (become_user), and look whether it is immutable (lsattr)",
            errno.ENOSPC: "Make space on its file system",
            errno.EDQUOT: "Make space: the quota of this account is used up",
            errno.EROFS: "Its file system is read-only: give another config_path",
            errno.EBUSY: "It is mounted by itself: mount its directory instead",
            errno.ENOTDIR: "A file stands where one of its directories should be",
            errno.ELOOP: "Its symbolic links lead in a circle",
        }
        return InputError(
            f"{self.path} can't be {what}: {error.strerror}", cures.get(error.errno, "Nothing was changed in it")
        )


def _try_lock(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _version(found):
    return None if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


# --- logins -----------------------------------------------------------------------------------------------------------


class Found:
    """What there is of one registry: the document, the helper that is asked (or None) and the credential (or None).

    `problem` is the HelperError where the helper could not say.
    """

    def __init__(self, document, helper, credential, problem=None):
        self.document = document
        self.helper = helper
        self.credential = credential
        self.problem = problem

    @property
    def stored_in(self):
        return place(self.helper, self.credential)


class Plan:
    """What is to be done, and what there will be then. Nothing to do is a plan, too."""

    def __init__(self, found, document, file, helper=None, credential=None):
        self.found = found
        self.document = document
        self.helper = helper  # that is asked afterwards, or None for the file
        self.credential = credential  # that is there afterwards
        self.store = False  # whether the helper is given the credential
        self.erase = []  # helpers that are to forget it
        self.warnings = []
        self._mode = file.mode
        self._tightens = file.is_open
        self._edits = document.content != found.document.content

    @property
    def writes(self):
        return self._edits or (self._tightens and self.credential is not None)

    @property
    def changed(self):
        return bool(self.writes or self.store or self.erase)

    @property
    def stored_in(self):
        return place(self.helper, self.credential)

    @property
    def diff(self):
        """Before and after: keys, places and the user. No secret."""
        mode = self._mode
        if self.writes:
            mode = _PRIVATE if mode is None else mode & _PRIVATE
        before = _picture(self.found.document, self.found.credential, self.found.stored_in, self._mode)
        after = _picture(self.document, self.credential, self.stored_in, mode)
        if (
            self.changed
            and before["secret"] == after["secret"]
            and not same_secret(self.found.credential, self.credential)
        ):
            after["secret"] += " (another one)"
        return before, after


def _picture(document, credential, stored_in, mode):
    return {
        "auths": document.spellings,
        "credHelpers": (document.content.get("credHelpers") or {}).get(document.key),
        "mode": None if mode is None else f"{mode:04o}",
        "secret": stored_in,
        "username": None if credential is None else shown_user(credential),
    }


def place(helper, credential):
    """Where a secret lies, as the modules return it; with a helper that manages itself, whatever it has."""
    if helper is not None and (helper.manages_itself or credential is not None):
        return f"helper:{helper.name}"
    return "" if credential is None else "file"


def shown_user(credential):
    """The name of the user; where a helper keeps an identity token, it keeps no name."""
    return credential.username or _IDENTITY


class Logins:
    """The login of one registry in one credential file and in the helpers that the file names."""

    def __init__(self, registry, path, timeout=30):
        self._registry = registry
        self._timeout = timeout
        self._file = CredentialFile(path)

    def find(self):
        """Found. Raises InputError where the file can't be read as a credential file."""
        document = Document(self._file.read(), self._registry, self._file.is_podmans)
        if not document.helper:
            return Found(document, None, document.credential)
        helper = Helper(document.helper, self._timeout)
        try:
            return Found(document, helper, helper.get(document.key))
        except HelperError as error:
            return Found(document, helper, None, error)

    def keeper(self, found, name=None):
        """The Helper that a login belongs to, where name chooses one or else the file does; None for the file."""
        document = found.document if name is None else found.document.with_helper(name)
        return Helper(document.helper, self._timeout) if document.helper else None

    def plan_login(self, found, credential, name=None):
        """The Plan that leaves this credential where it belongs: where Docker looks, or in the helper of that name.

        credential may be None where the helper manages itself. Raises HelperError where a helper fails that is needed.
        """
        document = found.document if name is None else found.document.with_helper(name)
        helper = self.keeper(found, name)
        if helper is not None and helper.manages_itself:
            return Plan(found, document, self._file, helper, credential)
        stays = found.helper is not None and helper is not None and found.helper.name == helper.name
        if stays and found.problem is not None:
            raise found.problem
        plan = Plan(found, document.logged_in(credential if helper is None else None), self._file, helper, credential)
        if helper is not None:
            there = found.credential if stays else helper.get(document.key)
            plan.store = not same_secret(there, credential)
        if found.helper is not None and not stays and not found.helper.manages_itself:
            if found.problem is not None:
                plan.warnings.append(f"{found.problem} What it may hold of {self._registry.name} stays there.")
            elif found.credential is not None:
                plan.erase.append(found.helper)
        return plan

    def plan_logout(self, found, name=None):
        """The Plan that leaves no login, neither in the file nor in the helpers. Raises HelperError.

        name is a helper that this registry shall not be asked of any more.
        """
        document = found.document.without_helper(name) if name else found.document
        plan = Plan(found, document.logged_out(), self._file)
        helpers = [] if found.helper is None else [found.helper]
        if name and name not in [helper.name for helper in helpers]:
            helpers.append(Helper(name, self._timeout))
        for helper in helpers:
            if helper.manages_itself:
                plan.helper = helper if document.helper == helper.name else None
                plan.warnings.append(f"{helper.program} manages its secrets by itself, and was left alone.")
            elif helper is found.helper and found.problem is not None:
                raise found.problem
            elif (found.credential if helper is found.helper else helper.get(document.key)) is not None:
                plan.erase.append(helper)
        return plan

    def apply(self, make_plan):
        """Does what make_plan(found) says, and returns the Plan and whether anything changed.

        Nothing is lost wherever this is interrupted: a secret is in its new place before it leaves the former one.
        """
        changed = False
        with self._file.locked():
            for _attempt in range(_ATTEMPTS):
                plan = make_plan(self.find())
                if plan.store:
                    plan = self._store(plan)
                changed = changed or plan.changed
                try:
                    if plan.writes:
                        self._file.write(plan.document.content)
                except _OvertakenError:
                    continue
                for helper in plan.erase:
                    helper.erase(plan.document.key)
                return plan, changed
        raise InputError(
            f"{self._file.path} was written by another program at each of {_ATTEMPTS} attempts", "Try again later"
        )

    def _store(self, plan):
        try:
            plan.helper.store(plan.document.key, plan.credential)
        except HelperRefusesError as error:
            # One that manages itself, though its name is not known for that: only the setting that leads to it is kept.
            document = plan.found.document
            if document.helper != plan.helper.name:
                document = document.with_helper(plan.helper.name)
            left = Plan(plan.found, document, self._file, plan.helper, plan.found.credential)
            left.warnings.append(f"{error} It seems to manage its secrets by itself, and was left alone.")
            return left
        return plan
