# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _program_files
short_description: The files of a program that a role installs (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Returns what M(wharf.registry._host_files) takes to install a program, which is its directories and its files
    with their content.
options:
  _terms:
    description: A directory below C(files) of the role.
    required: true
    type: list
    elements: string
  to:
    description: The directory on the host.
    required: true
    type: path
  suffixes:
    description: What the names of its files end with.
    type: list
    elements: string
    default: [.py]
"""

EXAMPLES = r"""
- name: Install the collector
  wharf.registry._host_files:
    paths: "{{ lookup('wharf.registry._program_files', 'collector', to='/usr/local/lib/collector') }}"
"""

RETURN = r"""
_raw:
  description: A list of C(path), C(state), C(content) and C(mode), directories before what is in them.
  type: list
  elements: list
"""

from pathlib import Path

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase


def program_files(source, target, suffixes=(".py",)):
    """What is to be placed at `target` for the files below `source`, a Path, that have one of the suffixes."""
    placed = [{"path": target, "state": "directory", "mode": "0755"}]
    # A directory without such files, such as one of compiled ones, is no part of a program.
    files = sorted(file for file in source.rglob("*") if file.suffix in suffixes)
    folders = sorted({file.parent.relative_to(source) for file in files} - {Path()})
    placed += [{"path": f"{target}/{folder}", "state": "directory", "mode": "0755"} for folder in folders]
    placed += [
        {
            "path": f"{target}/{file.relative_to(source)}",
            "state": "file",
            "content": file.read_text(encoding="utf-8"),
            "mode": "0644",
        }
        for file in files
    ]
    return placed


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        found = []
        for term in terms:
            source = self.find_file_in_search_path(variables, "files", term)
            if not source:
                raise AnsibleLookupError(f"There is no directory {term} among the files of the role.")
            found.append(program_files(Path(source), self.get_option("to"), self.get_option("suffixes")))
        return found
