# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: regexp_problems
short_description: What is wrong with the regular expressions of a variable
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Looks at a list of regular expressions that a program written in Go is to read, such as the registry, which does not
    start with one that it does not understand.
  - Go has no lookaround, no references to groups, no possessive or atomic groups, and repeats at most 1000 times.
    Beyond that, what Python does not understand is refused as well.
positional: variable
options:
  _input:
    description: The value of the variable.
    type: raw
    required: true
  variable:
    description: The name of the variable, for the sentences.
    type: string
    required: true
"""

EXAMPLES = r"""
- name: The registry must understand the patterns
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ registry_manifest_urls_allow | wharf.registry.regexp_problems('registry_manifest_urls_allow') }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem, which names the variable and the expression.
  type: list
  elements: str
"""

import re
import warnings

# What Python understands and Go does not, each with its name. Escaped characters and classes are passed over before.
_NOT_IN_GO = (
    (r"\(\?<?[=!]", "lookaround"),
    (r"\(\?P=|\\[1-9]", "a reference to a group"),
    (r"\(\?\(", "a condition"),
    (r"\(\?#", "a comment"),
    (r"\(\?>|(?<!\\)(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\+", "an atomic or possessive part"),
    (r"\(\?[-aimsLux]*[aLux]", "a flag"),
    (r"\\[ZNuU]", "an escape"),
)
_ESCAPED = re.compile(r"\\[^1-9ZNuUdDsSwWbBA]")
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
_REPEAT = re.compile(r"\{([0-9]*)(?:,([0-9]*))?\}")
_MOST_REPEATS = 1000


def regexp_problems(value, variable):
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        return [f"{variable} is no list: give a list of regular expressions."]
    problems = {repr(pattern): _problem(pattern) for pattern in value}
    return [f"{variable} has {pattern}: {problem}" for pattern, problem in problems.items() if problem]


def _problem(pattern):
    """What is wrong with one, as the rest of a sentence, or an empty string."""
    if not isinstance(pattern, str):
        return "give a text, in quotes."
    if not pattern:
        return "an empty one matches everything; remove it, or give '.' where that is meant."
    if re.search(r"[\x00-\x20\x7f]", pattern):
        return "it has white space, which no address has; remove it, such as a line feed at the end."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"it is no regular expression ({error})."
    return _not_in_go(pattern)


def _not_in_go(pattern):
    bare = _CLASS.sub("x", _ESCAPED.sub("x", pattern))
    for found, name in _NOT_IN_GO:
        if re.search(found, bare):
            return f"it has {name}, which the regular expressions of Go do not have."
    counts = [int(count) for counted in _REPEAT.findall(bare) for count in counted if count]
    if any(count > _MOST_REPEATS for count in counts):
        return f"it repeats more than {_MOST_REPEATS} times, which Go does not do."
    return ""


class FilterModule:
    def filters(self):
        return {"regexp_problems": regexp_problems}
