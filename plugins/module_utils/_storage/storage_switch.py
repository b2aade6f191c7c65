# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a move between a disk and a bucket: claimed, placed and put aside. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import tempfile
import time

from ansible_collections.wharf.registry.plugins.module_utils._storage.move_journal import Journal
from ansible_collections.wharf.registry.plugins.module_utils._storage.move_places import Bucket, Disk, room
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_access import S3Access
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_move import Move, MoveError
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_probe import Probe

# In the bucket, beside docker/: who copies to it, and that it was left.
_CLAIM, _LEFT = "wharf-move", "wharf-moved-away"
# Beside docker/ on the disk, where no registry looks.
_STAGING = ".moving"
_IMAGES = "docker"
# Of the bytes that are to be copied to a disk, for directories and the blocks of small files.
_MARGIN = 1.05
_REPETITIONS = 100


def become(account, notes, check_mode):
    """Has this process read and write as an account, whose files may lead elsewhere. Makes the directory of notes."""
    made = not check_mode and not os.path.isdir(notes)
    if made:
        os.mkdir(notes, 0o700)
    if not account:
        return
    try:
        found = pwd.getpwnam(account)
    except KeyError:
        raise MoveError(f"There is no account {account} on this host", "Run site.yml first") from None
    if made:
        os.chown(notes, found.pw_uid, found.pw_gid)
    os.setegid(found.pw_gid)
    os.seteuid(found.pw_uid)


class Switch:
    """A context. options: those of the module _storage_copy."""

    def __init__(self, options, check_mode):
        self._check_mode = check_mode
        self._data, self._notes, self._to = options["data"], options["notes"], options["to"]
        self._staging = os.path.join(self._data, _STAGING)
        self._place = os.path.join(self._data, _IMAGES)
        self._options = options["s3"]
        self._ca = None
        self.changed = False

    def __enter__(self):
        options = dict(self._options)
        if options["ca"]:
            self._ca = tempfile.NamedTemporaryFile("w", suffix=".pem")
            self._ca.write(options["ca"])
            self._ca.flush()
            options["ca_path"] = self._ca.name
        self._access = S3Access(options)
        self._bucket = Bucket(self._access, options["root_directory"])
        self._journal = Journal(os.path.join(self._notes, "journal")) if self._has_notes() else None
        return self

    def __exit__(self, *_exception):
        self._bucket.close()
        if self._ca is not None:
            self._ca.close()
        if self._journal is not None:
            self._journal.__exit__()

    # --- the phases ---------------------------------------------------------------------------------------------------

    def probe(self):
        """Raises MoveError unless the bucket is suitable."""
        result = Probe(self._access, repetitions=_REPETITIONS, reads_only=self._check_mode).run()
        failed = any(check["status"] == "failed" for check in result["checks"])
        if failed:
            raise MoveError(result["sentence"])
        return [result["sentence"]]

    def copy(self):
        """Copies in rounds."""
        if self._check_mode:
            return self._foretell()
        self.unplace()
        self._claim()
        move = self._move()
        self._check_room(move)
        lines = []
        for number, done in enumerate(move.rounds(), 1):
            lines.append(f"Round {number}: {done.copied} copied, {done.bytes} bytes; {done.removed} removed.")
            self.changed = self.changed or done.copied + done.removed > 0
        return lines

    def finish(self):
        """Copies what is left, while nothing is written, and proves that both sides have the same."""
        done, (blobs, links, size) = self._move().finish()
        self.changed = done.copied + done.removed > 0
        if self._to == "filesystem":
            os.sync()
        return [
            f"While writes waited: {done.copied} copied, {done.bytes} bytes; {done.removed} removed.",
            f"Proven: {blobs} blobs and {links} links, {size} bytes.",
        ]

    def place(self):
        """Gives the copy on the disk the name at which the registry looks."""
        if self._to == "filesystem" and os.path.isdir(os.path.join(self._staging, _IMAGES)):
            if os.path.lexists(self._place):
                raise MoveError(f"{self._place} is there", "Remove or rename it, and run this again")
            self._journal.note("placed", "yes")
            os.rename(os.path.join(self._staging, _IMAGES), self._place)
            self.changed = True
        return []

    def unplace(self):
        """Takes it back, where the registry serves from the bucket still."""
        if self._to == "filesystem" and self._journal.fact("placed") and os.path.isdir(self._place):
            os.makedirs(self._staging, mode=0o750, exist_ok=True)
            os.rename(self._place, os.path.join(self._staging, _IMAGES))
            self.changed = True
            self._journal.note("placed", "")
        return []

    def close(self):
        """Puts the former storage aside. Where that is done, there is nothing to do."""
        day = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        if self._to == "s3":
            aside = f"{self._place}.moved-{day}"
            if os.path.isdir(self._place) and not self._check_mode:
                os.rename(self._place, aside)
                self.changed = True
            self._bucket.client.delete(self._bucket.beside + _CLAIM)
            said = f"The images that were on the disk are kept in {aside}. Once you are sure: rm -r {aside}"
        else:
            text = f"A registry was moved from here to its disk at {day} UTC.\n".encode()
            self._bucket.client.put(self._bucket.beside + _LEFT, text)
            with contextlib.suppress(OSError):
                os.rmdir(self._staging)
            said = (
                f"The images that were in {self._bucket.name} are kept there. Once you are sure, remove all that "
                f"begins with {self._bucket.beside}{_IMAGES}/ in it. Remove registry_s3 from the inventory"
            )
        self._forget()
        return [f"{said}."]

    # --- what they need -----------------------------------------------------------------------------------------------

    def _has_notes(self):
        return os.path.isdir(self._notes) and (not self._check_mode or os.path.exists(self._journal_path()))

    def _journal_path(self):
        return os.path.join(self._notes, "journal")

    def _move(self):
        disk = Disk(self._data if self._to == "s3" else self._staging)
        source, target = (disk, self._bucket) if self._to == "s3" else (self._bucket, disk)
        return Move(source, target, self._journal)

    def _foretell(self):
        """What would be copied."""
        with contextlib.ExitStack() as stack:
            if self._journal is None:
                self._journal = stack.enter_context(Journal(":memory:"))
                (count, size), _all = self._move().look()
                self._journal = None
            else:
                (count, size), _all = self._move().look()
        self.changed = True
        return [f"{count} blobs and links, {size} bytes, would be copied to {self._target_name()}."]

    def _target_name(self):
        return self._bucket.name if self._to == "s3" else self._place

    def _claim(self):
        """Sees that the target is empty, or that of this move."""
        journal, where = self._journal, f"{self._to} {self._bucket.name}"
        if journal.fact("where") not in (None, where):
            raise MoveError(
                f"A move to {journal.fact('where')} was begun and not ended",
                f"Set the variables back and end it, or remove {self._notes} and what it has copied",
            )
        move = journal.fact("id")
        if move is None:
            self._check_empty()
            move = secrets.token_hex(16)
            journal.note("where", where)
            journal.note("id", move)
        if self._to == "s3":
            self._claim_bucket(move)
        else:
            os.makedirs(self._staging, mode=0o750, exist_ok=True)

    def _check_empty(self):
        if self._to == "s3":
            if not self._bucket.is_empty():
                raise MoveError(
                    f"{self._bucket.name} is not empty, and what is in it is not of this move",
                    "Give another bucket or registry_s3.root_directory, or empty it",
                )
        else:
            for path in (self._place, self._staging):
                if os.path.lexists(path):
                    raise MoveError(f"{path} is there, and is not of this move", "Remove or rename it")

    def _claim_bucket(self, move):
        key = self._bucket.beside + _CLAIM
        client = self._bucket.client
        if client.head(key) is None:
            client.put(key, move.encode())
        if client.get(key).decode(errors="replace") != move:
            raise MoveError(
                f"Another registry moves to {self._bucket.name}",
                f"Give another bucket or registry_s3.root_directory, or remove {key} where that move was given up",
            )

    def _check_room(self, move):
        if self._to != "filesystem":
            return
        (_count, size), _all = move.look()
        free = room(self._staging)
        if size * _MARGIN > free:
            raise MoveError(
                f"{size} bytes are to be copied to {self._data}, which has {free} bytes left", "Give it a larger disk"
            )

    def _forget(self):
        if self._journal is not None:
            self._journal.__exit__()
            self._journal = None
        # The directory itself is in one of root's.
        for name in os.listdir(self._notes):
            os.unlink(os.path.join(self._notes, name))
