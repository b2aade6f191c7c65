# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the files of a report on the control node, each as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile


class ReportError(Exception):
    """A sentence on why a report could not be written, with the cure."""


def directory_of(wanted, started_in):
    """The path of a directory that may be relative to where Ansible was started."""
    return os.path.normpath(os.path.join(started_in, os.path.expanduser(wanted)))


def write(directory, files):
    """files: {name: text}. The directory is made for its owner alone, as the files are. Raises ReportError."""
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        for name, text in files.items():
            _replace(directory, name, text)
    except OSError as error:
        raise ReportError(
            f"The report can't be written into {directory}: {error.strerror}. "
            "Give a directory that you may write to by -e report=DIR."
        ) from None


def _replace(directory, name, text):
    # For its owner alone from the first moment.
    descriptor, new = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, os.path.join(directory, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
