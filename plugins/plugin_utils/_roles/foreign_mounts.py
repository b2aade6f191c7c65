# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts of containers that come from directories of another inventory."""

from __future__ import annotations

import posixpath


def foreign_mounts(containers, directories):
    """The foreign mounts, each with its source and what this inventory has instead."""
    mounts = [mount for container in containers if container for mount in container.get("Mounts") or []]
    return [
        {"source": mount["Source"], "here": f"{mine['path']} ({mine['variable']})"}
        for mount in mounts
        for mine in directories
        if mine["target"] == mount["Destination"] and not _is_within(mount["Source"], mine["path"])
    ]


def _is_within(path, directory):
    return f"{path}/".startswith(f"{posixpath.normpath(directory)}/")
