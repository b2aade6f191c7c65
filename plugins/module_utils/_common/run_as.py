# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that root has an account of the host do. Private to this collection.

Who owns a home can put a symbolic link, a pipe or another's file wherever root is about to write. So root does not go
there: a child becomes the account for good, does all of the work, and root hears what came of it.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pwd
import select
import signal
import time
import traceback

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError

# Of the environment of the task, what is no account's own. Clients find their proxy there, and programs the language
# that their messages are expected in.
_KEPT = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LANG", "LC_ALL", "TZ")
_PATH = "/usr/local/bin:/usr/bin:/bin"
# The account can stop its own processes, but not the play.
_SECONDS = 1800
_MOST_BYTES = 64 << 20


class Account:
    """An account of this host, by its name. Raises InputError where it can't be used."""

    def __init__(self, name):
        try:
            self._entry = pwd.getpwnam(name)
        except (KeyError, ValueError):
            raise MissingAccountError(
                f"This host has no account {name!r}", "Make it first, or correct `user`"
            ) from None
        if os.geteuid() != 0:
            raise InputError(
                f"Only root can act as another account, here as {name!r}", "Run the task with become: true"
            )

    def do(self, work, seconds=_SECONDS):
        """What work() returns, done as this account. It must be something that JSON can hold.

        Raises RegistryError as work does, or where work did not come to its end.
        """
        # What is looked up late would be looked for in places that the account may not read: Ansible's own directory
        # is root's.
        codecs.lookup("idna")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            # Never comes back: what Ansible has arranged for the end of this process is the parent's to do.
            self._be_the_child(work, writing)
        os.close(writing)
        try:
            said, late = _listen(reading, time.monotonic() + seconds)
        finally:
            os.close(reading)
            # It has said what it had to say, or is not to go on.
            os.kill(child, signal.SIGKILL)
            _child, status = os.waitpid(child, 0)
        return self._understand(said, late, status)

    def _understand(self, said, late, status):
        if late:
            raise RegistryError(
                f"What was done as {self._entry.pw_name!r} did not end", "Check the processes of that account"
            )
        try:
            answer = json.loads(said)
        except ValueError:
            end = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
            raise RegistryError(
                f"What was done as {self._entry.pw_name!r} ended before it was done ({end})",
                "Check whether memory or a limit of that account was used up",
            ) from None
        if "result" in answer:
            return answer["result"]
        raise RegistryError(answer["message"], answer["cure"], answer.get("mistake", ""))

    def _be_the_child(self, work, writing):
        try:
            try:
                self._become(writing)
                answer = json.dumps({"result": work()})
            except RegistryError as error:
                answer = json.dumps({"message": error.message, "cure": error.cure, "mistake": error.mistake})
            except BaseException as error:  # noqa: BLE001 # whatever it is, the parent is to tell it
                place = traceback.extract_tb(error.__traceback__)[-1]
                told = f"{type(error).__name__} at line {place.lineno} of {os.path.basename(place.filename)}"
                answer = json.dumps({"message": told, "cure": "This is a mistake of the module: please report it"})
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(answer.encode())
        finally:
            os._exit(0)

    def _become(self, writing):
        """The account, for good, with nothing of root's at hand."""
        entry = self._entry
        nothing = os.open(os.devnull, os.O_RDWR)
        for handle in range(3):
            os.dup2(nothing, handle)
        # By the list of those that are open: a limit may allow a thousand million of them.
        for handle in map(int, os.listdir("/proc/self/fd")):
            if handle > 2 and handle != writing:
                with contextlib.suppress(OSError):
                    os.close(handle)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        if entry.pw_uid != 0:
            _check_for_good()
        home = entry.pw_dir or "/"
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        os.environ.clear()
        os.environ.update(kept, HOME=home, USER=entry.pw_name, LOGNAME=entry.pw_name, PATH=_PATH)
        try:
            os.chdir(home)
        except OSError:
            os.chdir("/")


class MissingAccountError(InputError):
    """An account that this host does not have."""


def _check_for_good():
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise RegistryError("This process can't drop root privileges", "Check its securebits (capsh --print)")


def _listen(reading, end):
    """(all that is said until its end, or what there is of it; whether that took too long)"""
    said = bytearray()
    while len(said) <= _MOST_BYTES:
        ready, _writable, _other = select.select([reading], [], [], max(0, end - time.monotonic()))
        if not ready:
            return said, True
        part = os.read(reading, 64 << 10)
        if not part:
            break
        said += part
    return said, False


def set_runtime_directory():
    """Has clients find the engines that this account runs. Returns the path of the socket of its Docker Engine."""
    directory = f"/run/user/{os.geteuid()}"
    if os.path.isdir(directory) and os.stat(directory).st_uid == os.geteuid():
        os.environ.update(XDG_RUNTIME_DIR=directory, DBUS_SESSION_BUS_ADDRESS=f"unix:path={directory}/bus")
    return os.path.join(directory, "docker.sock")
