# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which passwords clients send as they are. Pure functions. Private to this collection.

tests/integration/client/test_passwords.py asks the clients: they send any byte, and leave out a line feed at the end
alone. JSON keys have line feeds inside.
"""

from __future__ import annotations

import base64

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

# bcrypt ignores what is beyond, so that two passwords would be one.
LONGEST_HASHED = 72


def check_password(password, what="password"):
    """Raises InputError, which does not show the password, where no client could send it."""
    for is_it, problem, cure in (
        (not password, "is empty", "Give the password of the user"),
        (
            password.endswith(("\n", "\r")),
            f"ends with a {'line feed' if password.endswith(chr(10)) else 'carriage return'}, which no client sends",
            "Remove it: write the password in one line, or with |- in place of |, also in a vault",
        ),
        ("\0" in password, "holds a NUL character, at which servers stop reading it", "Give another password"),
        (not _is_text(password), "holds what is not text", "Give it in UTF-8"),
    ):
        if is_it:
            raise InputError(f"{what} {problem}", cure)


def check_hashed_password(password, what="password"):
    """Raises InputError as well where bcrypt would take another password for it."""
    check_password(password, what)
    length = len(password.encode("utf-8"))
    if length > LONGEST_HASHED:
        raise InputError(
            f"{what} is longer than the {LONGEST_HASHED} bytes of bcrypt, which would take all that begins with those",
            f"Give one of up to {LONGEST_HASHED} bytes",
        )


def encoded_pair(username, password):
    """A user and a password as they stand in an Authorization header and in the auth field of config.json."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def _is_text(password):
    try:
        return bool(password.encode("utf-8"))
    except UnicodeEncodeError:
        return False
