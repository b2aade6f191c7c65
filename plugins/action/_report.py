# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.document import KINDS, OF_HOSTS, now, report
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.files import ReportError, directory_of, write
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.page import page

OPTIONS = frozenset(["kind", "data", "hosts", "registry", "directory", "whole"])


class ActionModule(ActionBase):
    """Makes the report of a playbook, and writes it on the control node. What it needs of the host is one file."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = OPTIONS

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        given = self._task.args
        if given.get("kind") not in KINDS:
            raise AnsibleActionFail(f"kind is {given.get('kind')!r}: give one of {', '.join(KINDS)}")
        document = report(
            given["kind"],
            self._facts(given, task_vars or {}),
            registry=str(given.get("registry") or ""),
            made=now(),
            check=self._task.check_mode,
        )
        wanted = given.get("directory")
        files, problem = [], ""
        if wanted:
            directory = directory_of(str(wanted), os.environ.get("PWD") or os.getcwd())
            names = [f"{given['kind']}.json", f"{given['kind']}.html"]
            try:
                whole = {**self._whole(given.get("whole"), task_vars), **document}
                texts = [json.dumps(whole, indent=1) + "\n", page(document)]
                write(directory, dict(zip(names, texts, strict=True)))
                files = [os.path.join(directory, name) for name in names]
            except ReportError as error:
                problem = str(error)
        # It is long, and of no use in the output.
        hosts = (task_vars or {}).get("ansible_play_hosts") or [""]
        result["at"] = "localhost" if "localhost" in hosts else hosts[-1]
        result.update(changed=False, report=document, files=files, problem=problem, _ansible_verbose_override=True)
        return result

    def _facts(self, given, task_vars):
        if given["kind"] not in OF_HOSTS:
            return given.get("data") or {}
        reads, _function = OF_HOSTS[given["kind"]]
        hostvars = task_vars["hostvars"]
        return {
            str(host): {name: hostvars[host][name] for name in reads if name in hostvars[host]}
            for host in given.get("hosts") or []
        }

    def _whole(self, path, task_vars):
        """What a file of the host holds, for the JSON file, or nothing where there is none."""
        if not path or self._task.check_mode:
            return {}
        read = self._execute_module("ansible.builtin.slurp", {"src": path}, task_vars=task_vars)
        if read.get("failed"):
            return {}
        try:
            found = json.loads(base64.b64decode(read["content"]))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
