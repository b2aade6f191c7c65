# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are signed and verified by ssh-keygen, each with its signature beside it. Private to this collection."""

from __future__ import annotations

import os
import re
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run

# What a signature is for: one of another purpose does not count.
_NAMESPACE = "wharf.registry"
_PRINCIPAL = "bundle"
_PUBLIC_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+=*(?: [^\r\n]*)?")


class SignatureError(RegistryError):
    """A signature that is missing, or is not by one of the trusted keys."""


def signature_path(path):
    return f"{path}.sig"


def check_keys(keys):
    """Raises InputError where one is no public key in a line, as ssh-keygen writes it."""
    for number, key in enumerate(keys, 1):
        if not _PUBLIC_KEY.fullmatch(key.strip()):
            raise InputError(
                f"trusted_keys[{number}] is no public key of SSH", "Give the content of a file such as id_ed25519.pub"
            )


def write_signed(path, content, key):
    """Replaces a file and its signature. The signature is replaced first: a file without its own is not taken.

    key is the path of a private key. Raises RegistryError.
    """
    signature = _signature(content, key)
    for place, text in ((signature_path(path), signature), (path, content)):
        file = File(place)
        with file.locked():
            file.load()
            file.replace(text)


def _signature(content, key):
    done = _ssh_keygen("-Y", "sign", "-q", "-f", key, "-n", _NAMESPACE, given=content)
    if done[0] != 0:
        raise InputError(
            f"ssh-keygen can't sign with {key}: {_said(done)}",
            "Give a private key without a passphrase, which this account can read",
        )
    return done[1].encode()


def read_signed(path, keys):
    """The bytes of a file that one of the public keys has signed. Raises SignatureError and InputError."""
    content = File(path).load()
    if content is None:
        raise InputError(f"{path} does not exist", "Check the path and the medium")
    if not os.path.isfile(signature_path(path)):
        raise SignatureError(f"{path} has no signature", "Copy the file with the ending .sig, too")
    check_keys(keys)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as signers:
        signers.writelines(f"{_PRINCIPAL} {key.strip()}\n" for key in keys)
        signers.flush()
        trust = ("-f", signers.name, "-I", _PRINCIPAL, "-n", _NAMESPACE)
        done = _ssh_keygen("-Y", "verify", "-q", *trust, "-s", signature_path(path), given=content)
    if done[0] != 0:
        raise SignatureError(
            f"{path} is not signed by a key of trusted_keys, or was changed since",
            "Copy it again, or add the public key of its origin to trusted_keys where that is right",
        )
    return content


def public_key(key):
    """The public key of a private one. Raises InputError."""
    done = _ssh_keygen("-y", "-P", "", "-f", key, given=b"")
    if done[0] != 0:
        raise InputError(
            f"{key} is no private key that can be used: {_said(done)}",
            "Give a private key of SSH without a passphrase, which this account can read",
        )
    return done[1].strip()


def _ssh_keygen(*arguments, given):
    program = find("ssh-keygen")
    if program is None:
        raise InputError("There is no ssh-keygen here", "Install openssh-client")
    return run([program, *arguments], given=given)


def _said(done):
    lines = (done[2] or done[1]).strip().splitlines()
    return lines[-1] if lines else f"it ended with {done[0]}"
