#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _host_look
short_description: Check what a role needs to know of a host in one run (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice; use M(ansible.builtin.stat),
    M(ansible.builtin.slurp) and the modules of C(community.docker) in playbooks of your own.
  - Reads paths, files, accounts, units, programs and the containers and images of a Docker Engine in one run on the
    host. To start a module costs more than to look.
  - What does not exist is no error.
options:
  paths:
    description: Paths to look at. Symbolic links are followed.
    type: list
    elements: path
    default: []
  digests:
    description: Files whose SHA-256 is wanted, at most 16 MiB each.
    type: list
    elements: path
    default: []
  read:
    description: Files to read, at most 16 MiB each. Use C(no_log) for a task that reads a secret.
    type: list
    elements: path
    default: []
  accounts:
    description: Names of users.
    type: list
    elements: str
    default: []
  groups:
    description: Names of groups.
    type: list
    elements: str
    default: []
  python_modules:
    description: Names of Python modules that the Python of Ansible on this host is to find.
    type: list
    elements: str
    default: []
  programs:
    description: Names of programs, looked for where root finds them.
    type: list
    elements: str
    default: []
  units:
    description: Names of units of systemd.
    type: list
    elements: str
    default: []
  engine:
    description: Whether to ask the Docker Engine.
    type: bool
    default: false
  label:
    description: Containers with this label, C(NAME) or C(NAME=VALUE), are returned. Needs O(engine).
    type: str
  containers:
    description: Names of containers to return. Needs O(engine).
    type: list
    elements: str
    default: []
  images:
    description: Names or IDs of images to look for. Needs O(engine).
    type: list
    elements: str
    default: []
  socket:
    description: The socket of the Docker Engine.
    type: path
    default: /var/run/docker.sock
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.info_module
"""

EXAMPLES = r"""
- name: Look for the engine
  wharf.registry._host_look:
    paths: [/usr/bin/dockerd]
    python_modules: [requests]
    engine: true
  register: host
"""

RETURN = r"""
paths:
  description:
    - By path, V(null) where it does not exist, else C(kind), which is V(file), V(directory) or V(other), C(uid), C(gid)
      and C(mode).
  type: dict
  returned: always
digests:
  description: By path, the SHA-256 of the file in hexadecimal digits, V(null) where it does not exist or can't be read.
  type: dict
  returned: always
texts:
  description: By path, the text of the file, V(null) where it does not exist or can't be read.
  type: dict
  returned: always
accounts:
  description: By name, V(null) where it does not exist, else C(uid), C(gid), C(home) and C(shell).
  type: dict
  returned: always
groups:
  description: By name, its number, V(null) where it does not exist.
  type: dict
  returned: always
python_modules:
  description: By name, whether it is found.
  type: dict
  returned: always
programs:
  description: By name, the path of the program, or an empty string.
  type: dict
  returned: always
units:
  description: By name, whether it is C(enabled) and C(active).
  type: dict
  returned: always
processors:
  description: How many processors a process can use.
  type: int
  returned: always
engine:
  description: What the Docker Engine says.
  type: dict
  returned: always
  contains:
    answers:
      description: Whether it answers.
      type: bool
    label:
      description: The label that was given.
      type: str
    containers:
      description: By name, what it says of a container in full, V(null) where there is none.
      type: dict
    images:
      description: By name as given, what it says of an image in full, V(null) where there is none.
      type: dict
"""

import grp
import hashlib
import importlib.util
import os
import pwd
import stat

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find
from ansible_collections.wharf.registry.plugins.module_utils._common.process import run as run_program
from ansible_collections.wharf.registry.plugins.module_utils._engine.containers import Containers
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule

NAMES = {"type": "list", "elements": "str", "default": []}
PATHS = {"type": "list", "elements": "path", "default": []}
# Seconds in which an engine has to answer.
ENGINE_SECONDS = 30
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory"}


def path_facts(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return {
        "kind": KINDS.get(stat.S_IFMT(found.st_mode), "other"),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
    }


def content_of(path):
    try:
        return File(path).load()
    except InputError:
        return None


def text_of(path):
    content = content_of(path)
    return None if content is None else content.decode("utf-8", "replace")


def digest_of(path):
    content = content_of(path)
    return None if content is None else hashlib.sha256(content).hexdigest()


def account_facts(name):
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return {"uid": entry.pw_uid, "gid": entry.pw_gid, "home": entry.pw_dir, "shell": entry.pw_shell}


def group_number(name):
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def module_is_found(name):
    """Whether this Python finds a module, which is not imported: some do much when they are."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def unit_facts(name):
    return {
        state: run_program(["systemctl", f"is-{state}", "--quiet", name])[0] == 0 for state in ("enabled", "active")
    }


def engine_facts(options):
    """What a Docker Engine says. One that does not answer knows of no container and no image."""
    facts = {
        "answers": False,
        "label": options["label"] or "",
        "containers": dict.fromkeys(options["containers"]),
        "images": dict.fromkeys(options["images"]),
    }
    if not options["engine"]:
        return facts
    engine = Containers(options["socket"], patience=ENGINE_SECONDS)
    try:
        engine.ping()
        names = options["containers"] + (engine.with_label(options["label"]) if options["label"] else [])
        return {
            **facts,
            "answers": True,
            "containers": {name: engine.inspect(name) for name in names},
            "images": {name: engine.image(name) for name in options["images"]},
        }
    except RegistryError:
        return facts


def main():
    module = BaseModule(
        {
            "paths": PATHS,
            "digests": PATHS,
            "read": PATHS,
            "accounts": NAMES,
            "groups": NAMES,
            "python_modules": NAMES,
            "programs": NAMES,
            "units": NAMES,
            "engine": {"type": "bool", "default": False},
            "label": {"type": "str"},
            "containers": NAMES,
            "images": NAMES,
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        }
    )
    options = module.params
    module.exit_json(
        changed=False,
        paths={path: path_facts(path) for path in options["paths"]},
        digests={path: digest_of(path) for path in options["digests"]},
        texts={path: text_of(path) for path in options["read"]},
        accounts={name: account_facts(name) for name in options["accounts"]},
        groups={name: group_number(name) for name in options["groups"]},
        python_modules={name: module_is_found(name) for name in options["python_modules"]},
        programs={name: find(name) or "" for name in options["programs"]},
        units={name: unit_facts(name) for name in options["units"]},
        processors=len(os.sched_getaffinity(0)),
        engine=engine_facts(options),
    )


if __name__ == "__main__":
    main()
