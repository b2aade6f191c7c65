# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a playbook as one document, which is written as JSON and as a page, and kept on the registry hosts."""

from __future__ import annotations

import re
import time

from ansible_collections.wharf.registry.plugins.plugin_utils._reports import backup, exposure, maintain, mirror
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.doctor import of_doctor
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.rollout import of_rollout

VERSION = 1
# What a playbook has as data, and what it has as results of the roles of its hosts.
OF_DATA = {"rollout": of_rollout, "doctor": of_doctor}
OF_HOSTS = {
    "maintain": (maintain.READS, maintain.of_maintain),
    "mirror": (mirror.READS, mirror.of_mirror),
    "backup": (backup.READS, backup.of_backup),
    "exposure": (exposure.READS, lambda facts, when, _check: exposure.of_exposure(facts, when)),
}
KINDS = (*OF_DATA, *OF_HOSTS)
# The password of an address, wherever one is said.
_USERINFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s@]+@")


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def report(kind, facts, *, registry, made, check=False):
    """The document. facts: see the function of its kind."""
    if kind in OF_DATA:
        found = OF_DATA[kind](facts, made)
    else:
        _reads, function = OF_HOSTS[kind]
        found = function(facts, made, check)
    return _plain(
        {
            "version": VERSION,
            "kind": kind,
            "made": made,
            "registry": registry,
            "check": bool(check),
            "outcome": found["outcome"],
            "summary": f"Foretold by check mode: {found['summary']}" if check else found["summary"],
            "sections": found["sections"],
            "lines": [str(line) for line in found["lines"]],
            "data": {"hosts": found["hosts"]},
        }
    )


def _plain(value):
    """What JSON can hold, of what Ansible hands over, without passwords within addresses."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return _USERINFO.sub(r"\1:...@", str(value))
