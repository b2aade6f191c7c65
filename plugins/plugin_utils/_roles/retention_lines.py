# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tags that a retention removes, a line each."""

from __future__ import annotations


def retention_lines(repositories):
    """The lines, in the order of the repositories."""
    lines = [
        f"{repository['name']}:{deleted['tag']} - {deleted['reason']}"
        for repository in repositories
        for deleted in repository["deleted"]
    ]
    return lines or ["No tag: the rules keep all of them."]
