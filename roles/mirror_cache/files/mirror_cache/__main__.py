# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pull-through cache of other registries, behind the proxy: mirror_cache SETTINGS.

Needs Python 3.8 and nothing else. SETTINGS is JSON: `socket` (path), `files` (where nginx has the files), `directory`
and `state` (paths), `size` (bytes), `seconds`, and `upstreams`, each with `name`, `options` of a connection and
`min_remaining`. systemd is told once it listens.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.systemd_notify import tell_systemd
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import CONNECTION_OPTIONS, completed
from api import Server
from cache import Cache
from index import Index
from report import Report
from store import Store
from upstream import Upstream

# Bytes, of which a thread takes what it uses. With less, a document that is nested deeply ends Python 3.12 and later.
_STACK = 4 << 20


def main(arguments):
    if len(arguments) != 1:
        return "usage: mirror_cache SETTINGS"
    threading.stack_size(_STACK)
    try:
        with open(arguments[0], encoding="utf-8") as file:
            settings = json.load(file)
        upstreams = [
            Upstream(one["name"], completed(one["options"], CONNECTION_OPTIONS), one["min_remaining"])
            for one in settings["upstreams"]
        ]
        index = Index(os.path.join(settings["state"], "index.sqlite"))
        store = Store(settings["directory"], index, settings["size"])
        cache = Cache(store, index, upstreams, settings["seconds"])
        server = Server(settings["socket"], cache, settings["files"])
    except RegistryError as error:
        return f"wharf-registry: {error}"
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error) as error:
        return f"wharf-registry: {arguments[0]}, or a directory that it names, can't be used: {error!r}"
    report = Report(os.path.join(settings["state"], "state.json"), cache, store, upstreams)
    report.start()
    # Answers that are under way end with the process. Clients go on with a layer where it was cut.
    signal.signal(signal.SIGTERM, lambda *_signal: threading.Thread(target=server.shutdown).start())
    tell_systemd("READY=1")
    server.serve_forever(poll_interval=0.2)
    report.write()
    index.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
