# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a rollout, host by host, and the table that the playbook `rollout.yml` shows of it."""

from __future__ import annotations

import re

_HEAD = ("HOST", "BATCH", "ENGINE", "OUTCOME", "SECONDS", "CHANGED")
_BAD = ("rolled_back", "failed", "unreachable")
# What every Docker Engine uses without TLS: the host itself.
_LOOPBACK = ("127.0.0.0/8", "::1/128")


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
        raise ValueError(f"rollout_batches has {text!r}: give numbers of hosts, or percents as '10%'") from None


def describe(host, batch, done, said=None):
    """The row of one host: `done` is its client_result, and `said` what a task that failed has said."""
    engine, *others = _engines(done) or [""]
    row = {"host": host, "batch": batch, "engine": engine, "other_engines": others, "changes": [], "said": ""}
    row["trust"] = ""
    seconds = done.get("seconds")
    row["seconds"] = None if seconds is None else float(seconds)
    if said is not None:
        row["said"] = " ".join(str(said).split())
        row["outcome"] = _failed(done)
    elif "trust" not in done:
        row["outcome"] = "skipped"
    else:
        row["changes"] = _changes(done)
        row["trust"] = _trust(done)
        row["outcome"] = "changed" if row["changes"] else "ok"
    return row


def _failed(done):
    if done.get("unreachable"):
        return "unreachable"
    # It says itself what it could not take back. What failed elsewhere, as the installation of an engine, is not known.
    return "rolled_back" if done.get("failed") and done.get("unrestored_files") == [] else "failed"


def _engines(done):
    """The engines that were told, with their versions: the one that has pulled first."""
    engines = done.get("trust", {}).get("engine") or {}
    there = [name for name in engines if engines[name].get("running", engines[name].get("installed"))]
    proven = done.get("check", {}).get("engine")
    names = dict.fromkeys([*([proven] if proven else []), *there])
    # Of a package, what its distribution has added to the version is of no use here.
    versions = {name: re.split(r"[+~]", str((engines.get(name) or {}).get("version") or ""))[0] for name in names}
    of_accounts = [
        f"{engine} of {account['user']}" for account in done.get("accounts") or [] for engine in _engines(account)
    ]
    return [f"{name} {version}".strip() for name, version in versions.items()] + of_accounts


def _trust(done):
    """What a host trusts, in words: the registry and the proof of it, and what the inventory or others have added."""
    check, docker = done.get("check") or {}, (done["trust"].get("engine") or {}).get("docker") or {}
    proof = f"proven by {check.get('engine') or 'a login'}" if check.get("verified") else "not proven"
    unchecked = [one for one in docker.get("insecure_registries") or [] if one not in _LOOPBACK]
    signed = [one["scope"] for one in done.get("policies") or []]
    told = {
        "without TLS checks": unchecked,
        "mirrors of Docker Hub": docker.get("mirrors") or [],
        "only signed images of": signed,
    }
    first = [f"{check['registry']} ({proof})"] if check.get("registry") else []
    return "; ".join(first + [f"{what}: {', '.join(names)}" for what, names in told.items() if names])


def _changes(done):
    changes = list(done["trust"]["changed_files"])
    for account in done.get("accounts") or []:
        changes += account["trust"].get("changed_files", [])
    changes += [login["config_path"] or "login" for login in done["logins"] if login["changed"]]
    notes = {"engine-installed": done.get("engine_installed"), "engine-reloaded": done["trust"]["reloaded"]}
    return changes + [note for note, holds in notes.items() if holds]


def _lines(rows):
    cells = [_HEAD]
    for row in rows:
        cells.append(
            (
                row["host"],
                str(row["batch"]),
                row["engine"] or "-",
                row["outcome"],
                "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
                # Where lines are shown as YAML, a long one is broken at single spaces.
                ",".join(row["changes"]) or "-",
            )
        )
        # A line for each engine.
        cells += [("", "", engine, "", "", "") for engine in row["other_engines"]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)), line[-1]]).rstrip()
        for line in cells
    ]


def rollout_report(hosts, batches, limit=0):
    """Of hosts, in the order of the play, as {host: (client_result, what a task that failed has said, or None)}."""
    rows, stopped = [], False
    for number, batch in enumerate(split(hosts, batches), 1):
        done = [describe(host, number, *hosts[host]) for host in batch]
        failures = sum(row["outcome"] in _BAD for row in done)
        stopped = stopped or failures * 100 > float(limit) * len(batch)
        rows += done
    return {
        "rows": rows,
        "lines": _lines(rows),
        "failed": {row["host"]: row["said"] for row in rows if row["outcome"] in _BAD},
        "stopped": stopped,
    }
