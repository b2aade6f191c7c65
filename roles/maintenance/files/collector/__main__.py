# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes from the storage of a registry what nothing needs, while it serves: collector collect|look|serve SETTINGS.

`look` changes nothing. `serve` answers the collection of another host at standard input. `collector hold SETTINGS FILE
SECONDS` holds the registry until FILE is removed, see held.py. Needs Python 3.8 and nothing else. Ends with status 1
and one line of error where it could not do all.
"""

from __future__ import annotations

import signal
import sys
import time

import report
from collection import Collection, CollectionError, alone
from held import stay
from holds import HoldError, Holds, LocalHost
from on_disk import OnDisk
from other_hosts import OtherHost, serve
from settings import Settings, SettingsError


def main(arguments):
    if len(arguments) == 4 and arguments[0] == "hold":
        return hold(*arguments[1:])
    if len(arguments) != 2 or arguments[0] not in ("collect", "look", "serve"):
        return "usage: collector collect|look|serve SETTINGS, or collector hold SETTINGS FILE SECONDS"
    did = arguments[0] == "collect"
    # What is told to stop lets the registry go first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("wharf-registry: told to stop; the next run goes on"))
    try:
        settings = Settings(arguments[1])
        if arguments[0] == "serve":
            return serve(settings)
        began = time.monotonic()
        with place_of(settings) as place:
            collection = Collection(place, settings, hosts_of(settings))
            if did:
                with alone(settings), place.alone():
                    result = collection.collect()
            else:
                result = collection.look()
            told = report.of(result, place, time.monotonic() - began)
        told["lines"] = report.lines(told, settings, did)
        if did and settings.report:
            report.write(told, settings.report)
    except (CollectionError, HoldError, SettingsError, LookupError, OSError) as error:
        return f"wharf-registry: {error}"
    print("\n".join(told["lines"]), flush=True)
    if told["problems"]:
        return (
            f"wharf-registry: {len(told['problems'])} repositories can't be read whole; push them anew, or restore them"
        )
    return 0


def hold(settings, path, seconds):
    try:
        stay(Settings(settings), path, float(seconds))
    except (CollectionError, SettingsError, OSError, ValueError) as error:
        return f"wharf-registry: {error}"
    return 0


def hosts_of(settings):
    """All hosts that serve the images: what writes to one of them would lose what another one removes."""
    return Holds([LocalHost(settings), *(OtherHost(name, peer, settings) for name, peer in settings.peers.items())])


def place_of(settings):
    """Where the images lie."""
    if not settings.s3:
        return OnDisk(settings)
    # What it imports is there only where images are objects.
    from wharf_bucket.place import InBucket  # noqa: PLC0415 - see above

    return InBucket(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
