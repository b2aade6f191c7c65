# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a collection tells: lines for people, and a file for what comes after it."""

from __future__ import annotations

import json
import os
import time

_MOST_REPOSITORIES = 10


def of(result, place, seconds):
    """The report, as a document. Bytes, seconds and per cent."""
    name, figures = place.figures()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 1),
        "freed": result.freed,
        "removed": {
            "tags": result.tags,
            "manifests": result.manifests,
            "layers": result.links,
            "blobs": result.blobs,
            "repositories": result.repositories,
        },
        "held_seconds": round(result.held_seconds, 2),
        "refused": result.refused,
        "problems": result.left.problems,
        "warnings": result.left.warnings,
        "stored": result.left.bytes,
        "repositories": [usage._asdict() for usage in sorted(result.left.usage, key=lambda usage: -usage.bytes)],
        name: figures,
    }


def lines(report, settings, did=True):
    """The report in lines of plain text."""
    removed = report["removed"]
    told = [
        (
            f"{'Freed ' if did else 'To free'} {size(report['freed'])}: {removed['tags']} tags without a manifest, "
            f"{removed['manifests']} manifests, {removed['layers']} layers of repositories, {removed['blobs']} blobs, "
            f"{removed['repositories']} repositories"
        )
    ]
    if did:
        told.append(
            f"Held   {report['held_seconds']} s of {report['seconds']} s; {report['refused']} requests had to return"
        )
    told.append(f"Stored {size(report['stored'])} in {len(report['repositories'])} repositories")
    told += [
        f"       {size(one['bytes'])} {one['name']} ({one['tags']} tags)"
        for one in report["repositories"][:_MOST_REPOSITORIES]
    ]
    told += _bucket_lines(report["bucket"]) if "bucket" in report else _disk_lines(report["disk"], settings)
    told += [f"WARNING: {warning}" for warning in report["warnings"]]
    return told + [f"PROBLEM: {problem}" for problem in report["problems"]]


def _disk_lines(disk, settings):
    told = [f"Disk   {disk['used_percent']} % used, {size(disk['free'])} free of {size(disk['size'])}"]
    if disk["full"]:
        told.append(
            f"WARNING: the disk of {disk['path']} is {disk['used_percent']} % full, over {settings.warn_percent} %. "
            "Uploads fail when it is full: remove tags (registry_retention), or give it a larger disk"
        )
    return told


def _bucket_lines(bucket):
    """How full it is, no bucket says."""
    return [f"Bucket {bucket['name']} at {bucket['endpoint']}: {bucket['objects']} objects, {size(bucket['size'])}"]


def size(count):
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def write(report, path):
    """Replaces the file of the last report, whole or not at all."""
    temporary = f"{path}.new"
    # The names of repositories are not for everybody.
    with open(temporary, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        json.dump(report, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
