# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a collection, as the role `maintenance` writes them."""

from __future__ import annotations

import json

# Name: the value where none is given.
_KNOWN = {
    # The directory that has docker/registry/v2 in it; without a meaning where there is a file that names a bucket.
    "storage": None,
    "s3": "",
    # Other hosts that serve the same images, by their names.
    "peers": [],
    # Where the proxy asks whether it may let something through, and the group that may connect to it.
    "hold_socket": None,
    "hold_group": "",
    # Ends with status 0 when nothing that writes is on its way to the registry, with 22 when something is.
    "quiet_command": None,
    # The container of the proxy, for messages.
    "proxy": "wharf-proxy",
    # Where the proxy leaves a file for each digest that a client has asked for, and one that grows with each write.
    "looked_at": "",
    # Held by programs that read or change the storage as a whole.
    "lock": "/run/wharf-registry-maintenance/lock",
    "report": "",
    # Digests of manifests that are kept without a tag.
    "keep_digests": [],
    # A file, {"digests": [...]}, with those of what runs in the fleet, which are kept as well. It need not be there.
    "running": "",
    # Seconds: how long something must have been unneeded, how long a request may wait, and how long a collection waits
    # for its turn.
    "grace_seconds": 60,
    "patience_seconds": 20,
    "lock_seconds": 3600,
    # Seconds: what writes may take to end while the registry is held. How often it is held before a collection gives
    # up, and the seconds in between.
    "drain_seconds": 5,
    "attempts": 10,
    "pause_seconds": 30,
    # Seconds: when no part of a push has come for so long, it is given up; and a push takes no longer than that.
    "upload_idle_seconds": 900,
    "push_seconds": 21600,
    # How many files are taken out of the registry while it is held once.
    "batch": 20000,
    # Of a bucket, seconds: after how long the lock of a collection that was killed is free, and how long the registry
    # is held for requests that delete.
    "lease_seconds": 120,
    "removal_seconds": 10,
    # Per cent of the file system, from which on a warning is given.
    "warn_percent": 80,
}


class SettingsError(Exception):
    """Settings that can't be read."""


class Settings:
    """What is in the file, by name. Raises SettingsError."""

    def __init__(self, path):
        try:
            with open(path) as stream:
                given = json.load(stream)
            values = {**_KNOWN, **given}
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{path} can't be read: {error}. Run maintain.yml, which writes it") from None
        wrong = [name for name, value in values.items() if name not in _KNOWN or value is None]
        if wrong:
            raise SettingsError(f"{path} says nothing of use for {', '.join(wrong)}. Run maintain.yml, which writes it")
        self.__dict__.update(values)
        self.keep_digests = [*self.keep_digests, *_running(self.running)]


def _running(path):
    """The digests in a file. Raises SettingsError for one that is damaged: what runs would be removed."""
    try:
        with open(path) as stream:
            digests = json.load(stream)["digests"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        digests = None
    if not isinstance(digests, list) or not all(isinstance(one, str) for one in digests):
        raise SettingsError(f"{path} holds no list of digests. Run exposure.yml, which writes it, or remove it")
    return digests
