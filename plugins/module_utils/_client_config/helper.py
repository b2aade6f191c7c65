# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's credential helpers: the programs docker-credential-NAME. Private to this collection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential

# Helpers that get their secrets from the cloud they belong to, so that check mode need not try. Any other one is known
# by its answer.
_SELF_MANAGED = frozenset(["acr", "acr-env", "acr-linux", "ecr-login", "gcloud", "gcr"])
_REFUSES = re.compile(
    r"(?:not|n't) (?:\w+ )?(?:implement|support|allow|permit|store|handle)|unsupported|unimplemented|read[- ]only"
    r"|(?:unknown|invalid|unrecognized) (?:credential )?(?:action|command|operation|argument|verb)|^usage:",
    re.IGNORECASE | re.MULTILINE,
)
_NOT_FOUND = re.compile(r"credentials not found|no credentials server url|no credentials username", re.IGNORECASE)
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Where helpers lie that the PATH of a task may leave out.
_HELPER_PATHS = ("/usr/local/bin", "/usr/bin", "/bin", "/snap/bin")
# Bytes of an answer.
_MOST_BYTES = 4 << 20
NAME_ANOTHER_HELPER = (
    "Name a helper that stores logins by credential_helper, or the file by an empty string, for this registry alone"
)
# Stands for a user name where the secret is an identity token.
IDENTITY = "<token>"


class HelperError(RegistryError):
    """A credential helper that is locked or broken."""


class HelperMissingError(HelperError):
    """A credential helper that is not installed."""


class HelperRefusesError(HelperError):
    """A helper that neither stores nor erases: it manages its secrets by itself."""


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
            f"{username}{secret}".encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            username = secret = None
        if not isinstance(username, str) or not isinstance(secret, str):
            raise HelperError(f"{self.program} did not answer with a credential", "Check what that program is")
        if not secret:
            return None
        return Credential("", identity_token=secret) if username == IDENTITY else Credential(username, secret)

    def has(self, server):
        """Whether there is anything for a server, also where it is locked. Raises HelperError."""
        try:
            return self.get(server) is not None
        except HelperMissingError:
            raise
        except HelperError:
            # The list of servers needs no passphrase, and neither does erasing.
            status, output = self._ask("list", "")
            servers = _servers(output) if status == 0 else None
            if servers is None:
                raise
            return server in servers

    def store(self, server, credential):
        """Raises HelperRefusesError where the helper manages itself, and HelperError where it fails."""
        request = {
            "ServerURL": server,
            "Username": IDENTITY if credential.identity_token else credential.username,
            "Secret": credential.secret,
        }
        status, output = self._ask("store", json.dumps(request))
        if status != 0:
            # As it is, and as JSON.
            secret = credential.secret
            for form in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], secret):
                output = output.replace(form, "********")
            raise self._failed("store", output)

    def erase(self, server):
        """Raises HelperRefusesError where the helper manages itself, and HelperError where it fails."""
        status, output = self._ask("erase", server)
        if status != 0 and not _NOT_FOUND.search(output):
            raise self._failed("erase", output)

    def _failed(self, action, output):
        kind = HelperRefusesError if action != "get" and _REFUSES.search(output) else HelperError
        # Some repeat what they were given, or give it and fail.
        output = re.sub(r'("Secret"\s*:\s*)"(?:[^"\\]|\\.)*"?', r'\1"********"', output, flags=re.IGNORECASE)
        words = " ".join(output.split())[:300] or "nothing"
        return kind(
            f"{self.program} could not {action}; it said: {words}",
            "Check whether its store is made and unlocked for this account, and works without a terminal",
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
            output, errors = _Talk(process, text.encode()).until_end(self._timeout)
        except _AnswerTooLongError:
            raise HelperError(
                f"{self.program} answered more than {_MOST_BYTES} bytes", "Check what that program is"
            ) from None
        except subprocess.TimeoutExpired:
            raise HelperError(
                f"{self.program} did not answer within {self._timeout} seconds",
                "Its store may be locked and wait for a passphrase: unlock it for this account",
            ) from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    pipe.close()
        said = output if output.strip() or process.returncode == 0 else errors
        return process.returncode, said.decode("utf-8", "replace")


class _AnswerTooLongError(Exception):
    """A helper that says more than any credential."""


class _Talk:
    """A process that is given a text and answers. What it has started may keep its pipes open behind it."""

    def __init__(self, process, text):
        self._process = process
        self._text = text
        self._said = {process.stdout: bytearray(), process.stderr: bytearray()}
        self._selector = selectors.DefaultSelector()
        for pipe in (process.stdin, *self._said):
            os.set_blocking(pipe.fileno(), False)
            event = selectors.EVENT_READ if pipe in self._said else selectors.EVENT_WRITE
            self._selector.register(pipe, event)

    def until_end(self, seconds):
        """(output, errors). Raises subprocess.TimeoutExpired and _AnswerTooLongError."""
        end = time.monotonic() + seconds
        with self._selector:
            while self._selector.get_map():
                # Asked before the pipes: what it has said by its end is in them then.
                ended = self._process.poll() is not None
                if not ended and time.monotonic() >= end:
                    raise subprocess.TimeoutExpired(self._process.args, seconds)
                ready = [key.fileobj for key, _events in self._selector.select(0 if ended else 0.05)]
                if ended and not any(pipe in self._said for pipe in ready):
                    break
                for pipe in ready:
                    (self._listen if pipe in self._said else self._speak)(pipe)
        self._process.wait(max(0, end - time.monotonic()))
        return bytes(self._said[self._process.stdout]), bytes(self._said[self._process.stderr])

    def _listen(self, pipe):
        part = os.read(pipe.fileno(), 64 << 10)
        self._said[pipe] += part
        if len(self._said[pipe]) > _MOST_BYTES:
            raise _AnswerTooLongError
        if not part:
            self._selector.unregister(pipe)

    def _speak(self, pipe):
        try:
            self._text = self._text[os.write(pipe.fileno(), self._text) :]
        except BrokenPipeError:
            self._text = b""
        if not self._text:
            self._selector.unregister(pipe)
            pipe.close()


def _servers(text):
    """What a helper lists, or None where it is no list."""
    try:
        servers = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return servers if isinstance(servers, dict) else None
