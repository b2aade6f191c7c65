# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _library_files
short_description: The files of the collection that a program on a host imports (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Returns what M(wharf.registry._host_files) takes to give a program the modules of C(plugins/module_utils) that it
    imports, and those that they import in turn, below C(ansible_collections) beside the program. They import nothing of
    Ansible.
options:
  _terms:
    description: A directory below C(files) of the role, whose Python files are the program.
    required: true
    type: list
    elements: string
  to:
    description: The directory of the program on the host.
    required: true
    type: path
"""

EXAMPLES = r"""
- name: Install the program and what it imports
  wharf.registry._host_files:
    paths: >-
      {{ lookup('wharf.registry._program_files', 'mirror', to='/usr/local/lib/mirror')
      + lookup('wharf.registry._library_files', 'mirror', to='/usr/local/lib/mirror') }}
"""

RETURN = r"""
_raw:
  description: A list of C(path), C(state), C(content) and C(mode), directories before what is in them.
  type: list
  elements: list
"""

import ast
from pathlib import Path

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

PREFIX = "ansible_collections.wharf.registry.plugins.module_utils."
ROOT = Path(__file__).parents[1] / "module_utils"


def imported(source):
    """The modules of the collection that the text of a Python file imports, as paths below ROOT."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            found.add(Path(*node.module[len(PREFIX) :].split(".")).with_suffix(".py"))
    return found


def library_files(program, target):
    """What is to be placed at `target` for the imports of the Python files below `program`, a Path."""
    waiting = set().union(*(imported(file.read_text(encoding="utf-8")) for file in program.rglob("*.py")))
    texts = {}
    while waiting:
        path = waiting.pop()
        texts[path] = (ROOT / path).read_text(encoding="utf-8")
        waiting |= imported(texts[path]) - texts.keys()
    base = Path(target, *PREFIX.rstrip(".").split("."))
    # Packages without an __init__.py are namespaces to Python, as those of Ansible are.
    folders = {folder for path in texts for folder in (base / path).parents if folder.is_relative_to(target)}
    placed = [
        {"path": str(folder), "state": "directory", "mode": "0755"} for folder in sorted(folders - {Path(target)})
    ]
    return placed + [
        {"path": str(base / path), "state": "file", "content": texts[path], "mode": "0644"} for path in sorted(texts)
    ]


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        found = []
        for term in terms:
            program = self.find_file_in_search_path(variables, "files", term)
            if not program:
                raise AnsibleLookupError(f"There is no directory {term} among the files of the role.")
            found.append(library_files(Path(program), self.get_option("to")))
        return found
