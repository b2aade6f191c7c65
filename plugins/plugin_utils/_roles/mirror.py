# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role mirror makes of its rules, and what it tells of its runs."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
_BESIDE = frozenset(["name"])


def mirror_settings(mirrors, destination, state):
    """The settings of the program: each mirror with the options of registry_sync."""
    found = [{"name": one["name"], "options": _options(one, destination)} for one in mirrors]
    return {"state": state, "mirrors": found}


def _options(mirror, destination):
    return {"destination": destination, **{name: value for name, value in mirror.items() if name not in _BESIDE}}


def mirror_problems(mirrors, destination):
    """Sentences on what is wrong with the rules. None shows a password."""
    # Nothing else of the collection's filters needs it, and each process that uses one loads them all.
    from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError  # noqa: PLC0415
    from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import completed  # noqa: PLC0415
    from ansible_collections.wharf.registry.plugins.module_utils._modules.sync_run import (  # noqa: PLC0415
        SYNC_OPTIONS,
        parse_options,
    )

    if not isinstance(mirrors, list):
        return ["mirror_sync is not a list: give a list of mirrors."]
    problems, names = [], set()
    for number, mirror in enumerate(mirrors, 1):
        name = mirror.get("name") if isinstance(mirror, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            problems.append(
                f"Entry {number} of mirror_sync has no name: give one of lower-case letters, digits and hyphens, such "
                "as docker-hub."
            )
            continue
        if name in names:
            problems.append(f"mirror_sync has two entries of the name {name}: give each its own.")
        names.add(name)
        try:
            parse_options(completed(_options(mirror, destination), SYNC_OPTIONS))
        except RegistryError as error:
            problems.append(f"mirror_sync, {name}: {error}")
    return problems


def mirror_foretold(results):
    """What would become of each mirror, a line for each and one for each image that would be copied.

    results are those of registry_sync in check mode.
    """
    lines = []
    for result in results:
        name = result["item"]["name"]
        images = [one for one in result.get("images", []) if one["changed"]]
        removed = sum(map(len, result.get("removed", {}).values()))
        line = f"{name}: {len(images)} of {len(result.get('images', []))} images would be copied"
        line += f", {result.get('copied_bytes', 0)} bytes" if images else ""
        line += f", and {removed} tags removed" if removed else ""
        lines.append(f"{line}. {result['msg']}" if result.get("msg") else line)
        lines += [f"  {one['repository']}:{one['tag']} to {one['to']}: {one['copied_bytes']} bytes" for one in images]
    return lines or ["Nothing: mirror_sync has no entry."]


def mirror_lines(state):
    """What became of each mirror, a line each."""
    lines = []
    for name, mirror in sorted(state.items()):
        line = f"{name}: {mirror['images'] - mirror['failed']} of {mirror['images']} images are here"
        line += f", {mirror['copied_bytes']} bytes were copied"
        if mirror["remaining"] >= 0:
            line += f", {mirror['remaining']} pulls are left"
        if mirror["stale_since"]:
            line += f"; stale since {mirror['stale_since']}"
        lines.append(line)
    return lines or ["Nothing: mirror_sync has no entry."]
