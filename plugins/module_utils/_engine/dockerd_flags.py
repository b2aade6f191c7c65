# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags in a command line of dockerd. Pure functions. Private to this collection."""

from __future__ import annotations


def flag_values(arguments, flag):
    """The values of a flag, each of which follows it or an equals sign."""
    following = [value for argument, value in zip(arguments, arguments[1:]) if argument == flag]
    return following + [argument[len(flag) + 1 :] for argument in arguments if argument.startswith(flag + "=")]


def flag_value(arguments, flag):
    """The first value of a flag, or None."""
    return next(iter(flag_values(arguments, flag)), None)


def without_flags(arguments, flags):
    """The arguments without these flags and their values."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in flags:
            skip = True
        elif argument.partition("=")[0] not in flags:
            kept.append(argument)
    return kept
