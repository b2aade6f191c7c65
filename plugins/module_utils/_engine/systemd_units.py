# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd as they are on disk, which systemd itself may not have read yet. Private to this collection."""

from __future__ import annotations

import glob
import os
import re
import shlex

from ansible_collections.wharf.registry.plugins.module_utils._common.process import read_text

# Where systemd looks for units and their drop-ins. Of two files with the same name, the first one counts.
UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def exists(unit, folders):
    return any(os.path.exists(os.path.join(folder, unit)) for folder in folders)


def names(folders):
    """The names of all services, in the order of the directories."""
    paths = [path for folder in folders for path in sorted(glob.glob(os.path.join(folder, "*.service")))]
    return [*dict.fromkeys(os.path.basename(path) for path in paths)]


def commands(unit, folders):
    """The command lines of a unit, each as a list of words, which may contain variables."""
    return [_split(line) for line in _read(unit, folders)["ExecStart"]]


def arguments(unit, folders):
    """The arguments of the program that a unit starts, or None where it starts none."""
    settings = _read(unit, folders)
    if not settings["ExecStart"]:
        return None
    variables = environment(settings["Environment"], settings["EnvironmentFile"])
    found = []
    for word in _split(settings["ExecStart"][-1])[1:]:
        alone = _VARIABLE.fullmatch(word) if "{" not in word else None
        # As in systemd, a variable without braces that is a word of its own is split into words.
        found += (
            _split(variables.get(alone.group(1), ""))
            if alone
            else [_VARIABLE.sub(lambda name: variables.get(name.group(1), ""), word)]
        )
    return found


def _read(unit, folders):
    """The settings of a unit with its drop-ins."""
    units = [os.path.join(folder, unit) for folder in folders]
    drop_ins = {}
    for path in [path for one in units for path in glob.glob(os.path.join(glob.escape(one) + ".d", "*.conf"))]:
        drop_ins.setdefault(os.path.basename(path), path)
    paths = [one for one in units if os.path.exists(one)][:1] + [drop_ins[name] for name in sorted(drop_ins)]
    return _settings("\n".join(read_text(path) for path in paths))


def _settings(text):
    """The settings in a unit file followed by its drop-ins. An empty value resets the list of values."""
    found = {"ExecStart": [], "Environment": [], "EnvironmentFile": []}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.strip() in found:
            items = found[name.strip()]
            if value.strip():
                items.append(value.strip())
            else:
                items.clear()
    return found


def environment(assignments, files):
    variables = {}
    for words in assignments:
        variables.update(word.partition("=")[::2] for word in _split(words) if "=" in word)
    for name in files:
        for line in read_text(name.lstrip("-")).splitlines():
            if line.lstrip().startswith(("#", ";")):
                continue
            key, equals, value = line.strip().replace("export ", "", 1).partition("=")
            if equals:
                variables[key.strip()] = " ".join(_split(value))
    return variables


def _split(text):
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
