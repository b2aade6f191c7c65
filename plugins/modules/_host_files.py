#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _host_files
short_description: Place the files and directories of a role in one run (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice; use M(ansible.builtin.copy) and
    M(ansible.builtin.file) in playbooks of your own.
  - Gives paths their content, owner and mode, in the order of the list and in one run on the host. To start a module
    costs more than to write a file, and the roles have many files.
  - Each file is replaced in one step. A new file never has a wider mode than it is to have.
options:
  paths:
    description: What is to be there, or not.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The path.
        type: path
        required: true
      state:
        description:
          - V(file) needs one of O(paths[].content), O(paths[].json), O(paths[].secret) and O(paths[].copy_of).
          - V(absent) removes a directory with all that is in it.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description: The content of the file, as text. Before ansible-core 2.19, text that is JSON arrives as data.
        type: raw
      json:
        description: Data that the file holds as JSON, with sorted keys and an indentation of four.
        type: raw
      secret:
        description: Text for a file that holds a secret. Neither the log nor the diff shows it.
        type: raw
      copy_of:
        description:
          - A file of the host whose content the file is to have. The diff does not show it.
          - In check mode it need not be there yet.
        type: path
      create_only:
        description: Whether a file that exists keeps its content.
        type: bool
        default: false
      owner:
        description: Name of the owner.
        type: str
        default: root
      group:
        description: Name of the group.
        type: str
        default: root
      mode:
        description: The permissions, in octal digits. By default C(0644) for files, and C(0755) for directories.
        type: str
      validate:
        description:
          - A command that reads the new file before it is put in place, with V(%s) for its path. If the command fails,
            the file stays as it was.
        type: list
        elements: str
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.full
"""

EXAMPLES = r"""
- name: Place the configuration
  wharf.registry._host_files:
    paths:
      - {path: /etc/wharf, state: directory}
      - {path: /etc/wharf/settings.json, content: "{{ settings | to_nice_json }}\n", mode: "0600"}
"""

RETURN = r"""
changed_paths:
  description: The paths that were changed.
  type: list
  elements: str
  returned: always
checksums:
  description: The SHA-256 of the content of each file, as it is in the end, by its path.
  type: dict
  returned: always
stderr:
  description: What the command of O(paths[].validate) said.
  type: str
  returned: if it failed
"""

import json
import os
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.placement import (
    PlacedDirectory,
    PlacedFile,
    PlacedNothing,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.process import run as run_program
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule

SOURCES = ("content", "json", "secret", "copy_of")
PATH_OPTIONS = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
    "content": {"type": "raw"},
    "json": {"type": "raw"},
    "secret": {"type": "raw", "no_log": True},
    "copy_of": {"type": "path"},
    "create_only": {"type": "bool", "default": False},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "validate": {"type": "list", "elements": "str"},
}


def mode_of(wanted, default):
    if wanted["mode"] is None:
        return default
    try:
        return int(wanted["mode"], 8)
    except ValueError:
        raise InputError(f"{wanted['path']}: mode is {wanted['mode']}", "Give octal digits, such as 0644") from None


def text_of(value):
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def content_of(module, wanted):
    if wanted["json"] is not None:
        return (json.dumps(wanted["json"], sort_keys=True, indent=4) + "\n").encode()
    if wanted["copy_of"] is None:
        return text_of(wanted["content"] if wanted["secret"] is None else wanted["secret"]).encode()
    content = File(wanted["copy_of"]).load()
    if content is None and not module.check_mode:
        raise InputError(f"{wanted['copy_of']}, to be copied to {wanted['path']}, does not exist", "Create it")
    return content or b""


def checked_by(module, wanted):
    """What PlacedFile calls to have content validated, or None."""
    command = wanted["validate"]
    if not command:
        return None

    def check(content):
        with tempfile.NamedTemporaryFile(dir=module.tmpdir) as file:
            file.write(content)
            file.flush()
            status, out, said = run_program([part.replace("%s", file.name) for part in command], timeout=120)
            if status:
                message = f"{wanted['path']} stays as it was: {os.path.basename(command[0])} refuses the new one."
                module.fail_json(msg=f"{message} It said: {(said or out).strip()}", stdout=out, stderr=said, rc=status)

    return check


def placed(module, wanted):
    owner = (wanted["owner"], wanted["group"])
    if wanted["state"] == "absent":
        return PlacedNothing(wanted["path"])
    if wanted["state"] == "directory":
        return PlacedDirectory(wanted["path"], owner, mode_of(wanted, 0o755))
    return PlacedFile(
        wanted["path"],
        content_of(module, wanted),
        owner,
        mode_of(wanted, 0o644),
        create_only=wanted["create_only"],
        secret=wanted["content"] is None and wanted["json"] is None,
        check=checked_by(module, wanted),
    )


def main():
    rules = {"mutually_exclusive": [SOURCES], "required_if": [("state", "file", SOURCES, True)]}
    module = BaseModule(
        {"paths": {"type": "list", "elements": "dict", "required": True, "options": PATH_OPTIONS, **rules}}
    )
    changed = []
    checksums = {}
    diffs = []
    with module.errors_explained():
        for wanted in module.params["paths"]:
            path = placed(module, wanted)
            if path.changed:
                if not module.check_mode:
                    path.apply()
                changed.append(path.path)
                diffs.append(path.diff())
            if path.checksum:
                checksums[path.path] = path.checksum
    module.exit_json(changed=bool(changed), changed_paths=changed, checksums=checksums, diff=diffs)


if __name__ == "__main__":
    main()
