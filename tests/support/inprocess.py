"""Runs a module in this process, with the options as Ansible hands them over and the result as Ansible reads it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.common import warnings

try:
    from ansible.module_utils import _internal, testing
except ImportError:
    # Before ansible-core 2.19.
    testing = None


@contextlib.contextmanager
def arguments(values):
    """A module that is made meanwhile takes these for its options."""
    if testing is None:
        with mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": values}).encode()):
            yield
        return
    # Where plugins were imported before, this process passes for a control node, which shows warnings at once.
    with mock.patch.object(_internal, "is_controller", new=False), testing.patch_module_args(values):
        yield


def run_module(name, options, *, check=False, diff=True, log=False):
    """The result of a module of the collection, whether it succeeded or failed."""
    module = importlib.import_module(f"ansible_collections.wharf.registry.plugins.modules.{name}")
    # Nothing goes to the log of this machine, which takes no NUL character since Python 3.12.
    settings = {
        "_ansible_no_log": not log,
        "_ansible_check_mode": check,
        "_ansible_diff": diff,
        "_ansible_remote_tmp": "/nonexistent",
    }
    # A process is that of one module, and keeps its warnings.
    warnings._global_warnings.clear()
    output = io.StringIO()
    with (
        arguments(options | settings),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    return json.loads(output.getvalue())
