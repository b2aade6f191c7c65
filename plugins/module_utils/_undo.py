# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record of what files held before a run changed them, to give it back to them. Private to this collection."""

from __future__ import annotations

import base64
import json
import os

from ansible_collections.wharf.registry.plugins.module_utils._account import Account
from ansible_collections.wharf.registry.plugins.module_utils._changes import Change, State, remove_empty
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._file import File

_PRIVATE = 0o600


class _RecordFile(File):
    new_mode = widest_mode = _PRIVATE
    folder_mode = 0o700


class Held:
    """What a file held: `state`, a State without content where there was no file.

    account: whose it is, an empty string for the account that runs. folders: those that were made for the file.
    """

    def __init__(self, path, state, account="", folders=()):
        self.path = path
        self.state = state
        self.account = account
        self.folders = list(folders)

    def change(self):
        """The Change that gives it back."""
        change = Change(self.path, self.state.content, self.state.mode)
        change.owner = self.state.owner
        return change

    def differs(self):
        """Whether giving it back would change anything."""
        return self._as_owner(lambda: self.change().needed)

    def restore(self):
        self._as_owner(self._restore)

    def _restore(self):
        change = self.change()
        if change.needed:
            change.apply()
        remove_empty(self.folders)

    def _as_owner(self, work):
        # Root does not go where an account keeps its own files.
        return Account(self.account).do(work) if self.account else work()


class Record:
    """The record at a path. It holds secrets, and so can be read by its owner alone."""

    def __init__(self, path):
        self._file = _RecordFile(path, "undo_path")

    @property
    def exists(self):
        return os.path.lexists(self._file.path)

    def note(self, held):
        """Adds what is known of more files, before they are changed. What was noted of a file first is what counts."""
        with self._file.locked():
            entries = self._load()
            known = {(entry["path"], entry["account"]) for entry in entries}
            added = [_entry(one) for one in held if (one.path, one.account) not in known]
            if added:
                self._file.replace(json.dumps({"files": entries + added}).encode())

    def held(self):
        """[Held], the one that was changed last first."""
        return [_held(entry) for entry in reversed(self._load())]

    def forget(self):
        if self.exists:
            with self._file.locked():
                self._file.load()
                self._file.remove()

    def _load(self):
        raw = self._file.load()
        if raw is None:
            return []
        if self._file.owner[0] != os.geteuid():
            raise InputError(f"{self._file.path} belongs to another account", "Give another undo_path")
        try:
            return json.loads(raw)["files"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._file.path} is no record to undo anything by", "Remove it") from None


def _entry(held):
    content = held.state.content
    return {
        "path": held.path,
        "account": held.account,
        "content": None if content is None else base64.b64encode(content).decode("ascii"),
        "mode": held.state.mode,
        "owner": held.state.owner,
        "folders": held.folders,
    }


def _held(entry):
    content = entry["content"]
    state = State(None if content is None else base64.b64decode(content), entry["mode"], entry["owner"])
    return Held(entry["path"], state, entry["account"], entry["folders"])
