# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts of a container as arguments of docker run."""

from __future__ import annotations


def mount_arguments(mounts):
    """The arguments, two for a mount. The paths have no comma: `setting_problems` refuses one."""
    return [
        argument
        for mount in mounts
        for argument in (
            "--mount",
            f"type=bind,src={mount['source']},dst={mount['target']}{',readonly' if mount['read_only'] else ''}",
        )
    ]
