# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of what containers mount, on hosts whose engine uses SELinux. Private to this collection.

What Docker does for the suffix `:z` of a bind mount, which the mounts of its API do not have, with one difference: a
directory that has the label already is not walked whole at each start, since a registry can hold millions of files.
"""

from __future__ import annotations

import errno
import itertools
import os

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

_ATTRIBUTE = "security.selinux"
# What a container may read and write, of any container of the host: a registry's replicas share their storage.
_TYPE = "container_file_t"
_LABEL = f"system_u:object_r:{_TYPE}:s0"
# How much of a directory that has the label is looked at again.
_FEW = 1000
# What file systems without labels answer, as NFS may, and what a file that was removed meanwhile does.
_PASSED_OVER = (errno.ENOTSUP, errno.ENOENT)
# Docker relabels none of these either: services of the host read them under the labels that they have.
_OF_THE_HOST = frozenset(
    f"/{name}"
    for name in (
        "",
        "bin",
        "boot",
        "dev",
        "etc",
        "home",
        "lib",
        "lib64",
        "media",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "sbin",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var",
        "var/lib",
        "var/log",
    )
)


def is_used(info):
    """Whether the containers of an engine are confined by SELinux, by its answer to GET /info."""
    return any("name=selinux" in option.split(",") for option in info.get("SecurityOptions") or [])


def label(path):
    """Gives what lies at a path the label that containers may use. Raises InputError for a directory of the host."""
    path = os.path.realpath(path)
    if path in _OF_THE_HOST:
        raise InputError(
            f"{path} is a directory of the host, and SELinux has to let containers use what they mount",
            "Give a directory of its own below it",
        )
    below = _below(path)
    if _type_of(path) == _TYPE:
        # Some may have come with another label, as files that Ansible moves there. Of many, containers have made the
        # rest, and given it theirs.
        below = [one for one in itertools.islice(below, _FEW) if _type_of(one) != _TYPE]
    for one in below:
        _set(one)
    # Last, so that a walk that did not end is begun again.
    _set(path)


def _below(path):
    """All that lies below a path, what is in a directory before the directory."""
    for folder, _folders, files in os.walk(path):
        yield from (os.path.join(folder, name) for name in files)
        if folder != path:
            yield folder


def _type_of(path):
    try:
        fields = os.getxattr(path, _ATTRIBUTE, follow_symlinks=False).decode("ascii", "replace").rstrip("\0").split(":")
    except OSError:
        return ""
    return fields[2] if len(fields) > 2 else ""


def _set(path):
    try:
        os.setxattr(path, _ATTRIBUTE, f"{_LABEL}\0".encode(), follow_symlinks=False)
    except OSError as error:
        if error.errno not in _PASSED_OVER:
            raise InputError(f"{path} cannot be labelled for SELinux: {error.strerror}", f"Label it {_LABEL}") from None
