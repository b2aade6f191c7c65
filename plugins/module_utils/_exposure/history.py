# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found on which host, and since when. Pure. Private to this collection.

A finding is known once for a host and a repository. It stays known for a time after its container has ended: jobs come
and go.
"""

from __future__ import annotations

_NOTHING = {}


def key_of(finding):
    return finding["id"], finding["package"]


class History:
    """The findings that are known of hosts. told: what told() returned before, or nothing."""

    def __init__(self, told=()):
        # {(host, repository): {(id, package): (since when, the number of the run that found it)}}
        self._known = {}
        self._seen = {}
        for one in told:
            found = {(id_, package): (since, run) for id_, package, since, run in one["findings"]}
            for host, seen in one["hosts"].items():
                self._known[host, one["repository"]] = found
                self._seen[host, one["repository"]] = seen

    def of(self, host, repository):
        """{(id, package): (since when, number of the run)}"""
        return self._known.get((host, repository), _NOTHING)

    def put(self, host, repository, found, now):
        self._known[host, repository] = found
        self._seen[host, repository] = now

    def told(self, hosts, oldest):
        """As a list that JSON can hold, of these hosts, without what was last seen before a time (RFC 3339).

        Hosts that know the same stand together: in a large fleet, most do.
        """
        groups, texts = {}, {}
        for (host, repository), found in sorted(self._known.items()):
            seen = self._seen[host, repository]
            if host in hosts and seen >= oldest:
                if id(found) not in texts:
                    texts[id(found)] = tuple(sorted((*key, *when) for key, when in found.items()))
                groups.setdefault((repository, texts[id(found)]), {})[host] = seen
        return [
            {"repository": repository, "findings": [list(one) for one in found], "hosts": seen}
            for (repository, found), seen in groups.items()
        ]


def is_history(told):
    """Whether it is what History.told() returned."""
    return isinstance(told, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("repository"), str)
        and isinstance(one.get("hosts"), dict)
        and all(isinstance(text, str) for pair in one["hosts"].items() for text in pair)
        and isinstance(one.get("findings"), list)
        and all(_is_finding(found) for found in one["findings"])
        for one in told
    )


def _is_finding(one):
    return (
        isinstance(one, list)
        and len(one) == 4
        and all(isinstance(text, str) for text in one[:3])
        and isinstance(one[3], int)
    )
