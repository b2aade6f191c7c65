# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the program, as the role `reverse_proxy` writes them."""

from __future__ import annotations

import json

_KNOWN = {
    # The directory that has docker/registry/v2 in it, the log of requests, the directory of the page's data, and the
    # file of what is known.
    "storage": str,
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


def kept_digests(settings):
    """The digests that no collection removes. Those of what runs are none where that is not known."""
    try:
        with open(settings.running, encoding="utf-8") as file:
            digests = json.load(file)["digests"]
    except (OSError, ValueError, TypeError, KeyError):
        digests = []
    digests = digests if isinstance(digests, list) else []
    return frozenset([*settings.keep_digests, *(one for one in digests if isinstance(one, str))])
