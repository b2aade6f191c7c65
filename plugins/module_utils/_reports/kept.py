# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last report of each playbook, as a registry host keeps it: what it tells of hosts that this run left out stays.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._reports.texts import mapping

_MOST_BYTES = 64 << 20
# What a host that was left out of a run still has.
_LASTING = ("engines", "trust")


def merged(report, former, hosts):
    """The report, with what the former one tells of other hosts of the inventory."""
    data = mapping(report.get("data"))
    told = dict(mapping(data.get("hosts")))
    for name, before in mapping(mapping(mapping(former).get("data")).get("hosts")).items():
        if not isinstance(before, dict):
            continue
        if name not in told:
            if name in hosts:
                told[name] = before
        elif isinstance(told[name], dict):
            lasting = {key: before[key] for key in _LASTING if before.get(key) and not told[name].get(key)}
            told[name] = {**told[name], **lasting}
    return {**report, "data": {**data, "hosts": told}}


def keep(directory, report, hosts):
    """Writes KIND.json into the directory, for its owner alone. False where there is no registry. Raises InputError.

    The directory above belongs to a registry that is there. No link is followed that another account could have put
    there.
    """
    parent = os.path.dirname(directory)
    if not os.path.isdir(parent):
        return False
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        where = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(where, 0o700)
            name = f"{report['kind']}.json"
            _replace(where, name, merged(report, _former(where, name), frozenset(hosts)))
        finally:
            os.close(where)
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror}", "Make it a directory of root, or remove it") from None
    return True


def _former(where, name):
    """The report before, or None. A damaged one begins anew."""
    try:
        # Whatever lies there, nothing is waited for.
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=where), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
                return None
            return json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _replace(where, name, document):
    new = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=where)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=where)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=where, dst_dir_fd=where)
