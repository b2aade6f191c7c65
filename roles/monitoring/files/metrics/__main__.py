# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of the registry for Prometheus: metrics SETTINGS.

Needs Python 3.8 and nothing else. SETTINGS is JSON: `log`, `state` and `socket` (paths), `repositories` (how many have
labels of their own), `users` ({name: class}), and where there are such: `textfile`, `storage`, `collection`, `backup`,
`mirror`, `cache`, `rollout`, `exposure` (paths), `certificates`, `replicas` ({name: path}) and `jobs` ({name: unit}).
systemd is told once metrics are served.
"""

from __future__ import annotations

import json
import signal
import sys

from ansible_collections.wharf.registry.plugins.module_utils._common.systemd_notify import tell_systemd
from wharf_metrics.program import Program


def main(arguments):
    if len(arguments) != 1:
        return "usage: metrics SETTINGS"
    try:
        with open(arguments[0], encoding="utf-8") as file:
            program = Program(json.load(file))
    except BlockingIOError:
        return "wharf-registry: another one of this program runs with this state"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"wharf-registry: {arguments[0]}, or a directory that it names, can't be used: {error!r}"
    signal.signal(signal.SIGTERM, lambda *_signal: program.stop())
    signal.signal(signal.SIGINT, lambda *_signal: program.stop())
    program.run(lambda: tell_systemd("READY=1"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
