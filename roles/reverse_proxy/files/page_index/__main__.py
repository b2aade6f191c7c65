# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the data of the registry's page up to date: page_index SETTINGS. Runs until it is stopped. Needs Python 3.8."""

from __future__ import annotations

import os
import signal
import sys

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from keeper import Keeper
from page_settings import Settings, SettingsError
from wharf_bucket.access import AccessError

# So many turns, of half a second each, until it looks at its own files.
_TURNS = 10


def versions(settings):
    """What tells one version of the settings and of the program's files from another one."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [settings, *(os.path.join(place, name) for place, _folders, names in os.walk(here) for name in names)]
    return {path: os.stat(path).st_mtime_ns for path in paths if os.path.exists(path)}


def main(arguments):
    if len(arguments) != 1:
        return "usage: page_index SETTINGS"
    # What it writes is for the account of nginx, whose group the directory has.
    os.umask(0o027)
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(0))
    try:
        keeper = Keeper(Settings(arguments[0]))
    except SettingsError as error:
        return f"wharf-registry: {error}"
    except ImportError as error:
        return f"wharf-registry: page: {error}. Install the package of the distribution that has the module sqlite3"
    began_with = versions(arguments[0])
    try:
        # With other settings, or as another version of itself, it is started anew by its unit.
        while versions(arguments[0]) == began_with:
            keeper.run(turns=_TURNS)
    except InputError as error:
        return f"wharf-registry: page: {error}. Correct maintenance_retention or gate_policy, and run site.yml"
    except AccessError as error:
        return f"wharf-registry: page: {error}"
    finally:
        keeper.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
