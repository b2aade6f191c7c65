"""Runs a module as Ansible's wrapper does on a managed host: its arguments come as JSON on standard input.

Usage: launch.py NAME < {"ANSIBLE_MODULE_ARGS": {...}}

It lies at the root of the managed tree, beside `ansible` and `ansible_collections`, and runs with any Python that
ansible-core supports on managed hosts.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    from ansible.module_utils import basic

    # The names through which ansible-core's own wrapper hands the arguments over.
    basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
    basic._ANSIBLE_PROFILE = "legacy"
    importlib.import_module("ansible_collections.wharf.registry.plugins.modules." + sys.argv[1]).main()


if __name__ == "__main__":
    main()
