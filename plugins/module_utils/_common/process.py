# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host, and the text of its files: what is not there says nothing. Private to this collection."""

from __future__ import annotations

import os
import shutil
import subprocess

# What an account that is not root, or a service, may not have on its PATH.
_MORE = os.pathsep.join(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin"])


def find(name):
    """The path of a program, or None."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), _MORE]))


def run(command, timeout=30, given=b"", *, env=None, cwd=None):
    """(exit status, standard output, standard error). What can't be started, or does not end, has the status 127.

    given are the bytes of its standard input. env is all of its environment, by default that of this process. cwd is
    the directory in which it runs.
    """
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**(os.environ if env is None else env), "LC_ALL": "C.UTF-8"},
            cwd=cwd,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, *(stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))


def told_version(program, timeout):
    """The third word of what a program says to --version, or an empty string.

    k3s version v1.31.2+k3s1 (6da20424), containerd github.com/containerd/containerd 1.7.24~ds1 ...
    """
    words = run([program, "--version"], timeout)[1].split() if program and find(program) else []
    return words[2] if len(words) > 2 else ""


def read_text(path):
    """The text of a file, empty where it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
