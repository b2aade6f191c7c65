# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other programs of the host leave behind, as samples: [(family, values of labels, number)].

Each function raises FileNotFoundError where there is nothing to tell, and another error where it is damaged.
"""

from __future__ import annotations

import base64
import calendar
import http.client
import json
import re
import socket
import subprocess
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import validity

from .families import is_amount, label

_MOST_BYTES = 64 << 20
_MOST_SERIES = 200
_REPLICA_SECONDS = 3
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


def _document(path):
    with open(path, encoding="utf-8") as stream:
        text = stream.read(_MOST_BYTES)
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("it is no object")
    return found


def _seconds(text):
    """Seconds since 1970 of a time as the programs write it; 0 where there was none."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) if text else 0


def _amount(value):
    if not is_amount(value):
        raise ValueError(f"{value!r} is no amount")
    return value


def collection(path):
    report = _document(path)
    return [
        ("wharf_collection_timestamp_seconds", (), _seconds(report["time"])),
        ("wharf_collection_duration_seconds", (), _amount(report["seconds"])),
        ("wharf_collection_held_seconds", (), _amount(report["held_seconds"])),
        ("wharf_collection_freed_bytes", (), _amount(report["freed"])),
        ("wharf_collection_problems", (), len(report["problems"])),
    ]


def backup(path):
    report = _document(path)
    if not isinstance(report["outcome"], str):
        raise TypeError("its outcome is no text")
    samples = [
        ("wharf_backup_timestamp_seconds", (), _seconds(report.get("succeeded", ""))),
        ("wharf_backup_succeeded", (), int(report["outcome"] in ("ok", "running"))),
        ("wharf_backup_problems", (), len(report.get("problems", []))),
    ]
    checked, restored = _amount(report.get("checked", 0)), _seconds(report.get("proven", ""))
    if checked:
        samples.append(("wharf_backup_checked_timestamp_seconds", (), checked))
    if restored:
        samples.append(("wharf_backup_restored_timestamp_seconds", (), restored))
    if "seconds" in report:
        samples.append(("wharf_backup_duration_seconds", (), _amount(report["seconds"])))
    return samples


def mirror(path):
    samples = []
    for name, one in sorted(_document(path)["mirrors"].items())[:_MOST_SERIES]:
        values = (label(name),)
        stale, succeeded = _seconds(one["stale_since"]), _seconds(one["succeeded"])
        samples.append(("wharf_mirror_lag_seconds", values, max(0, int(time.time()) - stale) if stale else 0))
        samples.append(("wharf_mirror_timestamp_seconds", values, succeeded))
        samples.append(("wharf_mirror_failed_images", values, _amount(one["failed"])))
        if one["remaining"] >= 0:
            samples.append(("wharf_mirror_pulls_remaining", values, _amount(one["remaining"])))
    return samples


def cache(path):
    report = _document(path)
    samples = [
        ("wharf_cache_bytes", (), _amount(report["bytes"])),
        ("wharf_cache_limit_bytes", (), _amount(report["limit"])),
    ]
    for name, one in sorted(report["upstreams"].items())[:_MOST_SERIES]:
        values = (label(name),)
        samples += [
            ("wharf_cache_requests_total", (*values, result), _amount(one[kept]))
            for result, kept in (("hit", "hits"), ("miss", "misses"), ("stale", "stale"))
        ]
        samples.append(("wharf_cache_upstream_up", values, int(not one["away_since"])))
        if one["remaining"] >= 0:
            samples.append(("wharf_cache_pulls_remaining", values, _amount(one["remaining"])))
    return samples


def rollout(path):
    report = _document(path)
    counts = {}
    for one in report["data"]["hosts"].values():
        outcome = label(one["outcome"])
        if outcome not in counts and len(counts) >= _MOST_SERIES:
            outcome = "other"
        counts[outcome] = counts.get(outcome, 0) + 1
    return [
        ("wharf_rollout_timestamp_seconds", (), _seconds(report["made"])),
        *(("wharf_rollout_hosts", (outcome,), number) for outcome, number in counts.items()),
    ]


def exposure(paths):
    """paths: of the kept report of the playbook, and of the summary of the timer. The newer one counts."""
    found = []
    for path in paths:
        try:
            report = _document(path)
        except FileNotFoundError:
            continue
        scanned = "report" in report
        hosts = report["report"]["hosts"] if scanned else list(report["data"]["hosts"].values())
        found.append((_seconds(report["created" if scanned else "made"]), hosts))
    if not found:
        raise FileNotFoundError(paths)
    when, hosts = max(found, key=lambda one: one[0])
    counts = dict.fromkeys(SEVERITIES, 0)
    for one in hosts:
        for severity, number in (one["findings"] or {}).items():
            counts[severity if severity in counts else "unknown"] += _amount(number)
    return [
        ("wharf_exposure_timestamp_seconds", (), when),
        *(("wharf_exposure_findings", (severity,), number) for severity, number in counts.items()),
    ]


def certificates(paths):
    """paths: {name: path} of PEM files."""
    samples = []
    for name, path in sorted(paths.items()):
        try:
            with open(path, "rb") as stream:
                text = stream.read(_MOST_BYTES)
        except FileNotFoundError:
            continue
        ends = [validity(base64.b64decode(block), path)[1] for block in _PEM.findall(text)]
        samples.append(("wharf_certificate_expiry_timestamp_seconds", (name,), min(ends)))
    if not samples:
        raise FileNotFoundError(paths)
    return samples


def replicas(paths):
    """paths: {number: socket}. Asked as the proxy asks them."""
    return [("wharf_replica_up", (name,), int(_answers(path))) for name, path in sorted(paths.items())]


def _answers(path):
    connection = http.client.HTTPConnection("registry", timeout=_REPLICA_SECONDS)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_REPLICA_SECONDS)
        connection.sock.connect(path)
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def jobs(units):
    """units: {job: unit of systemd}."""
    try:
        done = subprocess.run(
            ["systemctl", "show", "--property=Id,LoadState,ActiveState,Result", *units.values()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=10,
        )
    except (subprocess.SubprocessError, OSError):
        # No systemd, or no bus to ask it by.
        raise FileNotFoundError("systemctl") from None
    known = {}
    for block in done.stdout.decode(errors="replace").split("\n\n"):
        told = dict(line.partition("=")[::2] for line in block.splitlines())
        if told.get("LoadState") == "loaded":
            known[told.get("Id")] = told
    return [
        ("wharf_job_failed", (job,), int(known[unit].get("Result") != "success"))
        for job, unit in sorted(units.items())
        if unit in known
    ]
