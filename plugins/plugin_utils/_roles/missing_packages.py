# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host lacks, where the roles do not install packages."""

from __future__ import annotations


def missing_packages(missing, host, facts, known):
    """A message that names what a host lacks and the packages that have it, by the data of the role engine."""
    packages, sources = known["packages"], known["sources"]

    def named(need):
        names = packages.get(need)
        if not names:
            return known["titles"][need]
        source = f" from {sources[need]}" if sources.get(need) else ""
        return f"{known['titles'][need]} ({'package' if len(names) == 1 else 'packages'} {', '.join(names)}{source})"

    supported = " and ".join(f"{name} {release}" for name, release in sorted(known["installs_on"].items()))
    return (
        f"{host} lacks {' and '.join(named(need) for need in missing)}. It runs {facts['distribution']} "
        f"{facts['distribution_version']}, and packages are installed on {supported} or later only. "
        "Install what is missing, and run the playbook again."
    )
