# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_result
short_description: What came of a rollout, host by host
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Reads what the play of the playbook C(rollout.yml) has left in the variables of its hosts, and puts them into their
    batches as Ansible does it by C(serial).
positional: hostvars, batches, limit
options:
  _input:
    description: Names of all hosts of the play, in its order.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
  batches:
    description: The sizes of the batches, as C(serial) takes them.
    type: list
    required: true
  limit:
    description: How many percent of a batch may fail for the rollout to go on.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Stop where too many have failed
  ansible.builtin.meta: end_play
  when: (ansible_play_hosts_all | wharf.registry.rollout_result(hostvars, [1, '10%', '100%'])).stopped
"""

RETURN = r"""
_value:
  description: What came of it.
  type: dict
  contains:
    rows:
      description:
        - For each host C(host), C(batch), C(engine), C(outcome), C(seconds), C(changes) and C(said). One that failed
          and has what it had before has no changes.
        - The outcome is V(ok), V(changed), V(rolled_back) (failed, and has what it had before), V(failed) (and has
          not), V(unreachable) or V(skipped) (its turn did not come).
      type: list
      elements: dict
    lines:
      description: The same as lines of a table, but for what was said.
      type: list
      elements: str
    failed:
      description: The hosts that failed, and what they said.
      type: dict
    stopped:
      description: Whether a batch had more failures than it may have.
      type: bool
"""

import re

from ansible.errors import AnsibleFilterError

_HEAD = ("HOST", "BATCH", "ENGINE", "OUTCOME", "SECONDS", "CHANGED")
_BAD = ("rolled_back", "failed", "unreachable")


def split(hosts, sizes):
    """The hosts in batches, as Ansible does it by serial."""
    sizes = list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]
    numbers = [_number(size, len(hosts)) for size in sizes] or [0]
    batches, rest = [], list(hosts)
    while rest:
        number = numbers[min(len(batches), len(numbers) - 1)]
        if number <= 0:
            number = len(rest)
        batches.append(rest[:number])
        rest = rest[number:]
    return batches


def _number(size, of):
    text = str(size).strip()
    try:
        return (int(int(text[:-1]) / 100 * of) or 1) if text.endswith("%") else int(text)
    except ValueError:
        raise AnsibleFilterError(f"rollout_batches has {text!r}: give numbers of hosts, or percents as '10%'") from None


def describe(host, batch, of_host):
    """The row of one host, by its variables."""
    done = of_host.get("__client_onboarded") or {}
    brought = of_host.get("__client_engine_seconds")
    failure = of_host.get("__rollout_failure")
    row = {"host": host, "batch": batch, "engine": _engine(done), "changes": [], "said": ""}
    seconds = [float(part) for part in (brought, done.get("seconds")) if part is not None]
    row["seconds"] = max(seconds) if seconds else None
    if failure:
        row["said"] = " ".join(str(failure["said"]).split())
        row["outcome"] = _failed(done)
    elif "trust" not in done:
        row["outcome"] = "skipped"
    else:
        row["changes"] = [*(of_host.get("__client_engine_files") or []), *_changes(done, brought)]
        row["outcome"] = "changed" if row["changes"] else "ok"
    return row


def _failed(done):
    if done.get("unreachable"):
        return "unreachable"
    # It says itself what it could not take back. What failed elsewhere, as the installation of an engine, is not known.
    return "rolled_back" if done.get("failed") and done.get("unrestored_files") == [] else "failed"


def _engine(done):
    engines = done.get("trust", {}).get("engine") or {}
    there = [name for name in engines if engines[name].get("running", engines[name].get("installed"))]
    name = done.get("check", {}).get("engine") or next(iter(there), "")
    # Of a package, what its distribution has added to the version is of no use here.
    version = re.split(r"[+~]", str((engines.get(name) or {}).get("version") or ""))[0]
    return f"{name} {version}".strip()


def _changes(done, brought):
    changes = list(done["trust"]["changed_files"])
    changes += [login["config_path"] or "login" for login in done["logins"] if login["changed"]]
    notes = {"engine-installed": brought is not None, "engine-reloaded": done["trust"]["reloaded"]}
    return changes + [note for note, holds in notes.items() if holds]


def _lines(rows):
    cells = [_HEAD] + [
        (
            row["host"],
            str(row["batch"]),
            row["engine"] or "-",
            row["outcome"],
            "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
            # Where lines are shown as YAML, a long one is broken at single spaces.
            ",".join(row["changes"]) or "-",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)), line[-1]])
        for line in cells
    ]


def rollout_result(hosts, hostvars, batches, limit=0):
    rows, stopped = [], False
    for number, batch in enumerate(split(hosts, batches), 1):
        done = [describe(host, number, hostvars[host]) for host in batch]
        failures = sum(row["outcome"] in _BAD for row in done)
        stopped = stopped or failures * 100 > float(limit) * len(batch)
        rows += done
    return {
        "rows": rows,
        "lines": _lines(rows),
        "failed": {row["host"]: row["said"] for row in rows if row["outcome"] in _BAD},
        "stopped": stopped,
    }


class FilterModule:
    def filters(self):
        return {"rollout_result": rollout_result}
