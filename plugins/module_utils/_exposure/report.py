# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report and the page need of an exposure: bounded, since the whole may have a hundred thousand findings.

Pure. Private to this collection.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._exposure.exposure import of_platform
from ansible_collections.wharf.registry.plugins.module_utils._exposure.places import CURRENT, MOVED
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean
from ansible_collections.wharf.registry.plugins.module_utils._gate.policy import BLOCKS

# Of all hosts together.
_MOST_CONTAINERS = 20000
_MOST_IMAGES = 5000
_MOST_FINDINGS = 2000
# Hosts that are named beside a finding.
_MOST_NAMED = 5


def report_of(document):
    """Of the document of an Exposure: {"hosts", "images", "new", "left_off"}, all of them lists but the last.

    hosts: name, seen, problem, runs (container, image, repository, digest, since, state, said, moved) and findings
    ({severity: how many that count}). images: image, findings, problem, and on how many hosts it runs. new: a finding
    with its image, and where it is. left_off: {what: how many more there are than are told}.
    """
    rows = {}
    for row in document["containers"]:
        rows.setdefault(row["host"], []).append(row)
    severities = _Severities(document["images"])
    images, new = document["images"], [_new(group, one) for group in document["new"] for one in group["findings"]]
    running = _running(document["containers"])
    hosts, room = [], _MOST_CONTAINERS
    for host in document["hosts"]:
        mine = rows.get(host["name"], [])
        hosts.append(_host(host, mine[: max(room, 0)], severities.of(host, mine)))
        room -= len(mine)
    left = {"runs": -room, "images": len(images) - _MOST_IMAGES, "new": len(new) - _MOST_FINDINGS}
    return {
        "hosts": hosts,
        "images": [_image(one, severities, running) for one in images[:_MOST_IMAGES]],
        "new": new[:_MOST_FINDINGS],
        "left_off": {name: number for name, number in left.items() if number > 0},
    }


class _Severities:
    """Counts the findings that count, of an image on the hosts of a platform, and of all that a host runs."""

    def __init__(self, images):
        self._images = {one["image"]: one for one in images}
        self._found = {}

    def keys(self, image, platform):
        """{(id, package): severity}. Most hosts run the same."""
        if (image, platform) not in self._found:
            result = self._images.get(image)
            found = [] if result is None else result["findings"] if platform is None else of_platform(result, platform)
            counted = {(one["id"], one["package"]): one["severity"] for one in found if one["decision"] == BLOCKS}
            self._found[image, platform] = counted
        return self._found[image, platform]

    def of(self, host, rows):
        """None where nothing that runs there was judged."""
        judged = {f"{row['repository']}@{row['digest']}" for row in rows if row["judged"]}
        if not judged:
            return None
        found = {}
        for image in judged:
            found.update(self.keys(image, host["platform"]))
        return counted(found.values())


def counted(severities):
    """{severity: how many}"""
    numbers = {}
    for one in severities:
        numbers[one] = numbers.get(one, 0) + 1
    return numbers


def _running(containers):
    """{image: the names of its hosts}"""
    found = {}
    for row in containers:
        if row["repository"]:
            found.setdefault(f"{row['repository']}@{row['digest']}", set()).add(row["host"])
    return found


def _host(host, rows, findings):
    return {
        "name": host["name"],
        "seen": host["seen"],
        "problem": clean(host["problem"]),
        "findings": findings,
        "runs": [_run(row) for row in rows],
    }


def _run(row):
    told = {name: row[name] for name in ("container", "image", "repository", "digest", "state", "said")}
    # Beside the two states of what is there by its digest, an image may be of another registry, or of none.
    return {**told, "since": row.get("since", ""), "moved": row["state"] == MOVED, "odd": row["state"] != CURRENT}


def _image(one, severities, running):
    return {
        "image": one["image"],
        "findings": counted(severities.keys(one["image"], None).values()) if not one["problems"] else None,
        "problem": clean(one["problems"][0]) if one["problems"] else "",
        "hosts": len(running.get(one["image"], ())),
    }


def _new(group, finding):
    hosts = sorted({one["host"] for one in group["where"]})
    told = {name: finding[name] for name in ("id", "severity", "package", "installed", "fixed")}
    return {**told, "image": group["image"], "hosts": len(hosts), "named": hosts[:_MOST_NAMED]}
