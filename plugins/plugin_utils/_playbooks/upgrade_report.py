# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image each container runs after an upgrade, and which it ran before."""

from __future__ import annotations


def _named(container):
    """An image by its name and the beginning of its id: a name may come to stand for another image."""
    return f"{container['Config']['Image']} ({container['Image'].removeprefix('sha256:')[:12]})"


def upgrade_report(before, after):
    """A line for each container. Both are results of community.docker.docker_container_info, in the same order."""
    lines = []
    for then, now in zip(before, after, strict=True):
        if not then["exists"] or not now["exists"]:
            continue
        old, new = then["container"], now["container"]
        same = old["Image"] == new["Image"]
        change = f"{new['Config']['Image']}, as before" if same else f"{_named(old)} -> {_named(new)}"
        lines.append(f"{now['item']}: {change}")
    return lines
