# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: htpasswd
short_description: The text of an htpasswd file with bcrypt hashes
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Makes one line for each user. A hash of the current text is kept while it is of the same cost and the password still
    matches it, so the text changes only when a user, a password or the cost does.
  - Runs on the control node, with the Python library C(bcrypt) there. The hosts need nothing.
options:
  _input:
    description: Users, each with C(name) and C(password); other keys are ignored.
    type: list
    elements: dictionary
    required: true
  current:
    description: The text of the file as it is, empty where there is none.
    type: string
    default: ""
  cost:
    description: Cost of bcrypt, 4 to 31; one more doubles the time that a check takes.
    type: int
    default: 12
"""

EXAMPLES = r"""
- name: Write the users of a proxy
  ansible.builtin.copy:
    content: "{{ users | wharf.registry.htpasswd(current=current.content | b64decode, cost=12) }}"
    dest: /etc/nginx/htpasswd
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The text, with a line feed after each user, in the order of the users.
  type: string
"""

import re

from ansible.errors import AnsibleFilterError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.password import check_hashed_password

try:
    import bcrypt
except ImportError:
    bcrypt = None

# What a password file, an nginx map and a URL can all hold without quoting.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


def _fits(user, line):
    """Whether a line holds the hash of the user's password."""
    return bool(_HASH.fullmatch(line)) and bcrypt.checkpw(str(user["password"]).encode("utf-8"), line.encode("ascii"))


def _line(user, known, cost):
    name, line = user["name"], known.get(user["name"], "")
    found = _HASH.fullmatch(line)
    if found and int(found.group(1)) == cost and _fits(user, line):
        return f"{name}:{line}\n"
    made = bcrypt.hashpw(str(user["password"]).encode("utf-8"), bcrypt.gensalt(rounds=cost))
    return f"{name}:{made.decode('ascii')}\n"


def _checked(users):
    """The users as a list. Raises AnsibleFilterError for one that can't be written."""
    if bcrypt is None:
        raise AnsibleFilterError(
            "the filter wharf.registry.htpasswd needs the Python library bcrypt on the control node: pip install bcrypt"
        )
    users, seen = list(users), set()
    for user in users:
        name = str(user.get("name") or "")
        if not _NAME.fullmatch(name):
            raise AnsibleFilterError(
                f"user name {name!r} is not allowed: letters, digits and . _ @ - only, the first a letter or a digit"
            )
        if name in seen:
            raise AnsibleFilterError(f"user {name!r} is listed twice")
        seen.add(name)
        password = user.get("password")
        if password is None:
            raise AnsibleFilterError(f"user {name!r} has no password")
        try:
            check_hashed_password(str(password), f"the password of user {name!r}")
        except InputError as error:
            raise AnsibleFilterError(str(error)) from None
    return users


def _each(function, users):
    """The lines of all users as one text."""
    # As in _doctor_report.
    from concurrent.futures import ThreadPoolExecutor

    # bcrypt lets go of the interpreter while it computes, and a fleet can have hundreds of users.
    with ThreadPoolExecutor() as pool:
        return "".join(pool.map(function, users))


def htpasswd(users, current="", cost=12):
    users, known = _checked(users), _lines(current)
    return _each(lambda user: _line(user, known, cost), users)


def htpasswd_former(users, current="", former=""):
    """The lines that another password replaces, and those of `former` whose users have not got a newer one."""
    users, now, before = _checked(users), _lines(current), _lines(former)

    def kept(user):
        name, line, other = user["name"], now.get(user["name"], ""), before.get(user["name"], "")
        if not _HASH.fullmatch(line) or _fits(user, line):
            return f"{name}:{other}\n" if other else ""
        if other and not _fits(user, other):
            raise AnsibleFilterError(
                f"the password of user {name!r} is changed again while the one before the last change is valid: put "
                "back the last one and end that rotation first, or let all former ones end by the playbook site.yml"
            )
        return f"{name}:{line}\n"

    return _each(kept, users)


def _lines(text):
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


class FilterModule:
    def filters(self):
        return {"htpasswd": htpasswd, "htpasswd_former": htpasswd_former}
