# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How images come in from outside: what mirrors and caches tell of themselves, as lines that `doctor.yml` shows."""

from __future__ import annotations

import textwrap

_HEAD = ("IMAGES FROM OUTSIDE", "STALE SINCE", "WHAT")


def supply_rows(hosts):
    """What is told of each mirror and cache: what, host, since and said.

    hosts are {host: {"mirrors": state, "caches": state}}.
    """
    rows = []
    for host, states in hosts.items():
        rows += [_mirror(host, name, one) for name, one in sorted((states.get("mirrors") or {}).items())]
        caches = (states.get("caches") or {}).get("upstreams") or {}
        rows += [_cache(host, name, one) for name, one in sorted(caches.items())]
    return [dict(zip(("what", "host", "since", "said"), row, strict=True)) for row in rows]


def supply_lines(hosts, width=112):
    """The same as lines of a table, none where there is none."""
    rows = [(f"{one['what']} on {one['host']}", one["since"], one["said"]) for one in supply_rows(hosts)]
    if not rows:
        return []
    first, second = (max(len(row[column]) for row in [_HEAD, *rows]) for column in (0, 1))
    lines = []
    for what, since, said in [_HEAD, *rows]:
        start = f"{what:{first}}  {since or '-':{second}}  "
        lines += textwrap.wrap(
            said,
            max(int(width), len(start) + 40),
            initial_indent=start,
            subsequent_indent=" " * len(start),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _mirror(host, name, state):
    count = f"{state['images'] - state['failed']} of {state['images']} images were copied"
    said = state["problem"] or (f"{count} at {state['succeeded']}" if state["succeeded"] else "it has not run yet")
    return f"mirror {name}", host, state["stale_since"], said + _left(state)


def _cache(host, name, state):
    served = state["hits"] + state["stale"]
    said = state["problem"] or f"{served} requests were served from here, {state['misses']} from there"
    return f"cache of {name}", host, state["away_since"], said + _left(state)


def _left(state):
    return f"; {state['remaining']} pulls are left there" if state["remaining"] >= 0 else ""
