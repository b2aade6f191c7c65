"""Runs a module in this process, with the options as Ansible hands them over and the result as Ansible reads it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from unittest import mock

from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args


def run_module(name, options, *, check=False, diff=True):
    """The result of a module of the collection, whether it succeeded or failed."""
    module = importlib.import_module(f"ansible_collections.wharf.registry.plugins.modules.{name}")
    settings = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/nonexistent"}
    # A process is that of one module, and keeps its warnings.
    warnings._global_warnings.clear()
    output = io.StringIO()
    # Where plugins were imported before, this process passes for a control node, which shows warnings at once.
    with (
        mock.patch.object(_internal, "is_controller", new=False),
        patch_module_args(options | settings),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    return json.loads(output.getvalue())
