# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: credentials
short_description: Users with generated passwords that are kept in a file on the control node
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Reads a YAML file whose key C(users) maps each name to its C(password) and C(access), and returns the users asked
    for. Users that are not in it yet get a password of 32 letters and digits from the system's source of randomness,
    and are added.
  - The file is written with mode 0600, in one step, and locked against a second run. Like
    P(ansible.builtin.password#lookup) it is written in check mode too, since what follows needs the passwords.
  - A file that does not parse is an error that leaves it as it was.
options:
  _terms:
    description: Path of the file. One only. Its directory is made, with mode 0700, where it is missing.
    required: true
    type: list
    elements: path
  users:
    description: Names of the users, each with what it may do (V(pull), V(push) or V(admin)).
    required: true
    type: dict
notes:
  - Meant for a quick start and for tests. In production keep passwords in a vault.
"""

EXAMPLES = r"""
- name: Users of a registry that is only for this machine
  ansible.builtin.set_fact:
    reverse_proxy_users: "{{ lookup('wharf.registry.credentials', '/root/credentials.yml', users={'ci': 'push'}) }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: The users asked for, in that order.
  type: list
  elements: dict
  contains:
    name: {description: Name of the user., type: str}
    password: {description: The password., type: str}
    access: {description: What the user may do., type: str}
"""

import fcntl
import os
import secrets
import string
import tempfile
from pathlib import Path

import yaml
from ansible.errors import AnsibleLookupError
from ansible.parsing.yaml.dumper import AnsibleDumper
from ansible.plugins.lookup import LookupBase

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 32


def _read(path):
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"users": {}}
    except (OSError, ValueError, yaml.YAMLError) as error:
        # The error of the parser shows the line, which may hold a password.
        reason = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise AnsibleLookupError(
            f"can't read the credentials in {path}: {reason}; mend the file or remove it"
        ) from None
    users = content.get("users") if isinstance(content, dict) else None
    if not isinstance(users, dict) or not all(
        isinstance(user, dict) and isinstance(user.get("password"), str) for user in users.values()
    ):
        raise AnsibleLookupError(
            f"the credentials in {path} are not of the form {{users: {{NAME: {{password: …, access: …}}}}}}; "
            "mend the file or remove it"
        )
    return content


def _write(path, content):
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".credentials.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            # Names come from the inventory as strings of Ansible's own types.
            yaml.dump(content, file, Dumper=AnsibleDumper, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink()
        raise


def credentials(path, wanted):
    """Returns the users of the file, and adds those that are not in it yet."""
    path = Path(path).expanduser().absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise AnsibleLookupError(f"can't keep credentials in {path.parent}: {error.strerror}") from None
    try:
        # Every host of a play is templated in a process of its own.
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = _read(path)
        users = content["users"]
        before = {name: dict(user) for name, user in users.items()}
        for name, access in wanted.items():
            user = users.setdefault(name, {"password": "".join(secrets.choice(_ALPHABET) for _each in range(_LENGTH))})
            user["access"] = access
        if users != before:
            try:
                _write(path, content)
            except OSError as error:
                raise AnsibleLookupError(f"can't keep credentials in {path}: {error.strerror}") from None
    finally:
        os.close(lock)
    return [{"name": name, "password": users[name]["password"], "access": access} for name, access in wanted.items()]


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 1:
            raise AnsibleLookupError("the lookup wharf.registry.credentials takes the path of one file")
        return [credentials(terms[0], self.get_option("users"))]
