# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory whose files are listed in SHA256SUMS, which is signed. Private to this collection.

The list is one that sha256sum reads, and the signature one that ssh-keygen does, so that a bare host needs no more.
"""

from __future__ import annotations

import hashlib
import os
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.signature import (
    public_key,
    read_signed,
    signature_path,
    write_signed,
)

_LIST = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^\0\r\n\\]+)\Z")
_PIECE = 1 << 20


class DamagedFilesError(RegistryError):
    """A file that is missing, is not listed, or is not as it was signed."""


def _names(path):
    """The paths of all files below a directory, relative to it. Raises InputError."""
    if not os.path.isdir(path):
        raise InputError(f"{path} is no directory", "Check the path, and that the medium is mounted")
    found = []
    for folder, _folders, names in os.walk(path):
        found += [os.path.relpath(os.path.join(folder, name), path) for name in names]
    own = (_LIST, os.path.basename(signature_path(_LIST)))
    return sorted(name for name in found if name not in own)


def _hash(path):
    hashed = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            piece = file.read(_PIECE)
            while piece:
                hashed.update(piece)
                piece = file.read(_PIECE)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", "Check the medium") from None
    return hashed.hexdigest()


def sign_files(path, key, *, dry_run=False):
    """(how many files there are, whether the list was written or would be). Raises RegistryError."""
    lines = [f"{_hash(os.path.join(path, name))}  {name}\n" for name in _names(path)]
    content = "".join(lines).encode()
    if _signed_before(path, content, key):
        return len(lines), False
    if not dry_run:
        write_signed(os.path.join(path, _LIST), content, key)
    return len(lines), True


def _signed_before(path, content, key):
    if File(os.path.join(path, _LIST)).load() != content:
        return False
    try:
        return read_signed(os.path.join(path, _LIST), [public_key(key)]) == content
    except RegistryError:
        return False


def verify_files(path, keys):
    """How many files there are, all of which are as they were signed, and no other one. Raises RegistryError."""
    text = read_signed(os.path.join(path, _LIST), keys).decode("utf-8", "replace")
    listed = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            raise DamagedFilesError(f"{path}/{_LIST} has a line that is no checksum", "Make the bundle again")
        listed[found[2]] = found[1]
    names = _names(path)
    for what, odd in (("is missing", set(listed) - set(names)), ("is not signed", set(names) - set(listed))):
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise DamagedFilesError(
                f"{os.path.join(path, min(odd))}{more} {what}", "Copy the bundle again. Nothing was installed"
            )
    for name in names:
        if _hash(os.path.join(path, name)) != listed[name]:
            raise DamagedFilesError(
                f"{os.path.join(path, name)} does not match its checksum",
                "The medium is damaged: copy the bundle again. Nothing was installed",
            )
    return len(names)
