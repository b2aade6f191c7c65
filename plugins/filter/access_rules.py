# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: access_rules
short_description: Convert users into access rules for nginx
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Turns the users of the role P(wharf.registry.reverse_proxy#role) into few policies, and each policy into regular
    expressions of the kind that nginx has (PCRE). Users that may do the same share a policy.
  - Says what is wrong with the users before anything is written.
positional: anonymous
options:
  _input:
    description:
      - Users, each with C(name), and with C(access), C(rules), C(catalog) and C(allowed_networks) as the role documents
        them.
    type: list
    elements: dictionary
    required: true
  anonymous:
    description: Names or globs of repositories that can be pulled without a login.
    type: list
    elements: string
    default: []
  immutable:
    description:
      - Globs of tags, or of repositories and tags as C(repository:tag), that no push may replace. Tags of signatures
        and other referrers, such as C(sha256-<hex>.sig), are none of these, whatever a glob matches.
    type: list
    elements: string
    default: []
"""

EXAMPLES = r"""
- name: Show the rules of a registry
  ansible.builtin.debug:
    msg: "{{ reverse_proxy_users | wharf.registry.access_rules(reverse_proxy_anonymous_pull) }}"
"""

RETURN = r"""
_value:
  description: The rules.
  type: dictionary
  contains:
    policies:
      description: The number of the policy of each user who may do anything, by the name of the user.
      type: dict
    rules:
      description:
        - What policies allow, each with C(policies), an expression for their numbers, C(action), and C(repositories),
          one for names of repositories. C(encoded) is the same for a name in a query, where slashes may be C(%2F).
          What is too long for one expression is in several.
      type: list
      elements: dict
    anonymous:
      description: Whether anything can be pulled without a login.
      type: bool
    catalog:
      description: The numbers of the policies that may read the catalogue.
      type: list
      elements: int
    immutable:
      description: Expressions for C(repository:tag).
      type: list
      elements: str
    referring:
      description: An expression for the tags of referrers, which clients write anew.
      type: str
    networks:
      description: Lists of networks, for the users who are let in from there alone.
      type: list
      elements: list
    homes:
      description: Which of C(networks) counts for a user, from 0, by the name of the user.
      type: dict
"""

import ipaddress
import re

from ansible.errors import AnsibleFilterError

ACTIONS = ("pull", "push", "delete")
_ACCESS = {"pull": ("pull",), "push": ("pull", "push"), "admin": ACTIONS}
# What is pulled without a login, users without access may pull, too.
_ANYBODY = "[a-z0-9]+"
_TAG = re.compile(r"(?:[A-Za-z0-9._*?-]|\[!?[A-Za-z0-9._-]+\])+")
_GLOB = re.compile(r"(?:[a-z0-9._/*?-]|\[!?[a-z0-9._/-]+\])+")
# Where clients keep the signatures and other referrers of a manifest: its digest, with a suffix or without one, which
# they write anew for each that is added. A tag has 128 characters at most, and clients cut longer digests to 64.
_REFERRING = r"(?:(?:sha256|sha512|blake3)-[0-9a-f]{64}|sha384-[0-9a-f]{64}(?:[0-9a-f]{32})?)(?:\.[A-Za-z0-9_-]+)*"
_REFERRING_ALONE = re.compile(r"(?:sha256|sha384|sha512|blake3)-")
# Bytes of the names in one expression, which has those of policies besides.
_LONGEST = 1500
_PARTS = re.compile(r"\*+|\?|\[[^\]]+\]|[^*?\[]+")


def _fail(message):
    raise AnsibleFilterError(f"reverse_proxy_users: {message}")


def expression(glob, encoded=False):
    """A regular expression for what a glob means, as fnmatch understands it. encoded: a slash may be %2F."""
    slash = "(?:/|%2[Ff])" if encoded else "/"
    # What is encoded is one character, of which no part is taken for another one.
    any_one = "(?:%2[Ff]|[^%])" if encoded else "."

    def translated(part):
        if part.startswith("*"):
            return f"{any_one}*"
        if part == "?":
            return any_one
        if not part.startswith("["):
            return slash.join(re.escape(piece) for piece in part.split("/"))
        # In a class, a minus is a range as in the glob.
        negated, members = part[1] == "!", part[1:-1].lstrip("!")
        if not encoded:
            return f"[{'^' if negated else ''}{members}]"
        if negated:
            return f"[^%{members}]" if _holds_slash(members) else f"(?:%2[Ff]|[^%{members}])"
        return f"(?:%2[Ff]|[{members}])" if _holds_slash(members) else f"[{members}]"

    return "".join(translated(part) for part in _PARTS.findall(glob))


def _holds_slash(members):
    return re.fullmatch(f"[{members}]", "/") is not None


def _globs(globs, whose):
    if isinstance(globs, str) or not all(isinstance(glob, str) for glob in globs):
        _fail(f"{whose} has repositories that are no list of names; write a list such as [team/*]")
    for glob in globs:
        if not _GLOB.fullmatch(glob):
            _fail(
                f"{whose} has the repository {glob!r}: use names of repositories, in lower case, with * ? and [abc], "
                "and without the registry's own name"
            )
        if not _compiles(glob):
            _fail(f"{whose} has the repository {glob!r}, whose range goes backwards")
    return sorted(set(globs))


def _compiles(glob):
    try:
        return bool(re.compile(expression(glob)) and re.compile(expression(glob, encoded=True)))
    except re.error:
        return False


def _immutable(pattern):
    repository, separator, tag = pattern.rpartition(":")
    if not (_TAG.fullmatch(tag) and (not separator or _GLOB.fullmatch(repository)) and _compiles(pattern)):
        raise AnsibleFilterError(
            f"reverse_proxy_immutable_tags has {pattern!r}; write a glob of tags such as v*, or one of repositories "
            "and tags such as apps/*:v*"
        )
    if _REFERRING_ALONE.match(tag):
        raise AnsibleFilterError(
            f"reverse_proxy_immutable_tags has {pattern!r}, which is for tags of signatures and other referrers; "
            "clients write those anew for each one that they add, so remove it"
        )
    return f"{expression(repository or '*')}:{expression(tag)}"


def _networks(networks, whose):
    try:
        return tuple(sorted({str(ipaddress.ip_network(str(network))) for network in networks}))
    except ValueError as error:
        return _fail(f"{whose} has an invalid network ({error}); write it as 192.0.2.0/24 or 2001:db8::/32")


def _policy(user):
    """{action: [globs]} and whether the catalogue is open."""
    name = user["name"]
    whose = f"the user {name}"
    access = user.get("access") or None
    if access is not None and access not in _ACCESS:
        _fail(f"{whose} has access {access!r}; use {', '.join(_ACCESS)}")
    allowed = {action: ["*"] for action in _ACCESS.get(access, ())}
    for rule in user.get("rules") or []:
        unknown = sorted(set(rule) - {"repositories", "actions"})
        if unknown or not rule.get("repositories") or not rule.get("actions"):
            _fail(f"{whose} has a rule that is not {{repositories: [globs], actions: [pull, push, delete]}}")
        wrong = [action for action in rule["actions"] if action not in ACTIONS]
        if isinstance(rule["actions"], str) or wrong:
            _fail(f"{whose} has the actions {rule['actions']!r}; use a list of {', '.join(ACTIONS)}")
        for action in rule["actions"]:
            allowed.setdefault(action, []).extend(_globs(rule["repositories"], whose))
    allowed = {action: ("*",) if "*" in globs else tuple(sorted(set(globs))) for action, globs in allowed.items()}
    catalog = user.get("catalog")
    return tuple(sorted(allowed.items())), access == "admin" if catalog is None else bool(catalog)


def _pieces(texts):
    """The same in lists that are short enough: nginx takes no expression of more than 4096 bytes."""
    pieces, size = [], 0
    for text in texts:
        size += len(expression(text, encoded=True)) + 1
        if not pieces or size > _LONGEST:
            pieces.append([])
            size = len(expression(text, encoded=True)) + 1
        pieces[-1].append(text)
    return pieces


def access_rules(users, anonymous=(), immutable=()):
    users = list(users)
    folded = {}
    for user in users:
        other = folded.setdefault(str(user.get("name")).lower(), user.get("name"))
        if other != user.get("name"):
            # nginx compares them without regard to case where it looks up what a user may do.
            _fail(f"{other} and {user['name']} differ in case only; give one of them another name")
    numbers, policies, homes, networks = {}, {}, {}, {}
    for user in users:
        policy = _policy(user)
        if policy != ((), False):
            policies[user["name"]] = numbers.setdefault(policy, len(numbers) + 1)
        if user.get("allowed_networks"):
            known = _networks(user["allowed_networks"], f"the user {user['name']}")
            homes[user["name"]] = networks.setdefault(known, len(networks))
    wanted = {}
    for (allowed, _catalog), number in numbers.items():
        for action, globs in allowed:
            wanted.setdefault((action, globs), []).append(str(number))
    rules = [
        (f"(?:{'|'.join(some)})", action, globs) for (action, globs), who in wanted.items() for some in _pieces(who)
    ]
    if anonymous:
        rules.append((_ANYBODY, "pull", _globs(anonymous, "reverse_proxy_anonymous_pull")))
    return {
        "policies": policies,
        "rules": [
            {
                "policies": who,
                "action": action,
                "repositories": f"(?:{'|'.join(expression(glob) for glob in some)})",
                "encoded": f"(?:{'|'.join(expression(glob, encoded=True) for glob in some)})",
            }
            for who, action, globs in rules
            for some in _pieces(globs)
        ],
        "anonymous": bool(anonymous),
        "catalog": [number for (_allowed, catalog), number in numbers.items() if catalog],
        "immutable": [_immutable(pattern) for pattern in immutable],
        "referring": _REFERRING,
        "networks": [list(known) for known in networks],
        "homes": homes,
    }


class FilterModule:
    def filters(self):
        return {"access_rules": access_rules}
