# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the program, as the role `reverse_proxy` writes them."""

from __future__ import annotations

import json
import os
import stat

# A document that is larger is not read: nothing of ours is.
_LARGEST = 64 << 20
_KNOWN = {
    # The directory that has docker/registry/v2 in it, or the file of the way to a bucket. The other one is empty.
    "storage": str,
    "s3": str,
    # The name of this host, and those of the others that have the same bucket.
    "host": str,
    "others": list,
    # The log of requests, the directory of the page's data, and the file of what is known.
    "log": str,
    "data": str,
    "catalog": str,
    # How clients name the registry.
    "registry": str,
    # What each access policy may see: index, pull, delete, catalog.
    "policies": list,
    # The rules of retention, digests that are kept, and files, {"digests": [...]}, with more of them.
    "retention": list,
    "keep_digests": list,
    "running": str,
    # keys, policy, waivers and cache of the gate.
    "gate": dict,
    # Where reports of playbooks and what other programs leave behind lie, as the class Fleet takes it.
    "fleet": dict,
    # Files whose change tells that the storage has changed without a request, such as the report of a collection.
    "signs": list,
}


class SettingsError(Exception):
    """Settings that can't be read."""


class Settings:
    """What is in the file, by name. Raises SettingsError."""

    def __init__(self, path):
        try:
            with open(path, encoding="utf-8") as stream:
                given = json.load(stream)
            wrong = [name for name, kind in _KNOWN.items() if not isinstance(given[name], kind)]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"{path} can't be read: {error}. Run site.yml to write it again") from None
        if wrong:
            raise SettingsError(f"{path} has no valid value for {', '.join(wrong)}. Run site.yml to write it again")
        self.__dict__.update(given)


def read_document(path):
    """A document of another program, or None where there is none to be read. What is no file is not waited for."""
    try:
        descriptor = os.open(path or "", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as file:
            about = os.fstat(descriptor)
            small = stat.S_ISREG(about.st_mode) and about.st_size <= _LARGEST
            return json.load(file) if small else None
    except (OSError, ValueError, RecursionError):
        return None


def kept_digests(settings):
    """The digests that no collection removes. Those of what runs are none where that is not known."""
    try:
        digests = read_document(settings.running)["digests"]
    except (TypeError, KeyError):
        digests = []
    digests = digests if isinstance(digests, list) else []
    return frozenset([*settings.keep_digests, *(one for one in digests if isinstance(one, str))])
