# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a fleet, by what they told last. Private to this collection.

A look is what a play hears: {"looked": a time, "hosts": [{"name", "platform", "mirrors", "problem", "containers",
"unknown"}]}. containers is null of a host that was not reached. Any host may lie, and concerns no other one by that.
"""

from __future__ import annotations

_NOT_LOOKED_AT = "it was not looked at in this run"
_ODD = "what it tells is not understood: check whether its engines are what they claim to be"
# Stands for all engines of an account.
ALL_ENGINES = "engines"
# Of one host. Kubernetes takes 110 pods by default.
_MOST_CONTAINERS = 2000
_MOST_DIGESTS = 100
_LONGEST = 2000


def merged_hosts(look, former):
    """The hosts of a look, beside those of the one before.

    What a host ran when it was last seen stands for it, or for an engine of it, that was not asked. seen is when that
    was, an empty text where it never was.
    """
    known = {one["name"]: one for one in former}
    return [_merged(host, known.get(host["name"]), look["looked"]) for host in look["hosts"]]


def _merged(host, known, looked):
    entry = {"name": host["name"], "platform": host.get("platform") or "", "mirrors": host.get("mirrors") or {}}
    before = known["containers"] if known else []
    told, unknown = host.get("containers"), host.get("unknown") or []
    problem = host.get("problem") or _NOT_LOOKED_AT
    if told is not None and not (_are_containers(told) and _are_unknown(unknown)):
        told, problem = None, _ODD
    if told is None:
        return {**entry, "seen": known["seen"] if known else "", "problem": problem, "containers": before}
    silent = {(one["engine"], one.get("account", "")) for one in unknown}
    kept = [one for one in before if {(one["engine"], _account(one)), (ALL_ENGINES, _account(one))} & silent]
    problem = "; ".join(f"{one['engine']}: {one['said']}" for one in unknown)
    return {**entry, "seen": looked, "problem": problem, "containers": [*told, *kept]}


def _account(container):
    return container.get("account", "")


def _are_containers(told):
    """Whether it is a list of containers as hosts tell of them."""
    return isinstance(told, list) and len(told) <= _MOST_CONTAINERS and all(map(_is_container, told))


def _is_container(one):
    if not isinstance(one, dict) or not isinstance(one.get("digests"), list) or len(one["digests"]) > _MOST_DIGESTS:
        return False
    texts = [
        one.get("engine"),
        one.get("container"),
        one.get("image"),
        _account(one),
        one.get("since", ""),
        *one["digests"],
    ]
    return all(isinstance(text, str) and len(text) <= _LONGEST for text in texts)


def _are_unknown(told):
    return isinstance(told, list) and all(
        isinstance(one, dict)
        and all(isinstance(text, str) for text in (one.get("engine"), one.get("said"), one.get("account", "")))
        for one in told
    )


def are_hosts(told):
    """Whether it is a list that merged_hosts() returned."""
    return isinstance(told, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("seen"), str)
        and isinstance(one.get("containers"), list)
        and all(map(_is_container, one["containers"]))
        for one in told
    )
