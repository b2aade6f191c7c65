# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a fleet, and what is known of it. Pure: facts are given to it. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._exposure.fleet import are_hosts
from ansible_collections.wharf.registry.plugins.module_utils._exposure.history import History, is_history, key_of
from ansible_collections.wharf.registry.plugins.module_utils._exposure.places import UNKNOWN, Place, placed
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean
from ansible_collections.wharf.registry.plugins.module_utils._gate.policy import BLOCKS
from ansible_collections.wharf.registry.plugins.module_utils._gate.subject import covers, normalized

FORMAT = 1
# What tells a container from all others.
WHERE = ("host", "engine", "account", "container", "image")
_TOLD = ("id", "package", "installed", "fixed", "severity", "origin")


def is_document(found):
    """Whether it is the document of an Exposure, as far as the next one needs it."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return False
    numbers = all(isinstance(found.get(name), int) for name in ("run", "shown"))
    return (
        numbers
        and isinstance(found.get("looked"), str)
        and are_hosts(found.get("hosts"))
        and is_history(found.get("known"))
    )


def of_platform(result, platform):
    """The findings of an image that concern a host. Where it has no image for the host, all of them do."""
    host = normalized(platform)
    if not any(_concerns(host, one["platform"]) for one in result["reports"]):
        return result["findings"]
    return [one for one in result["findings"] if any(_concerns(host, name) for name in one["platforms"])]


def _concerns(host, platform):
    # Behind a blank stands the digest, where two images are for one platform.
    named = normalized(platform.partition(" ")[0])
    return not named or covers(named, host) or covers(host, named)


class Exposure:
    """The exposure of the hosts of merged_hosts().

    names: those of the registry, in lower case. facts: the Facts of their images. results: {"repository@digest": a
    result of registry_scan}. former: the document before, or None. now: the time as RFC 3339.
    """

    def __init__(self, hosts, names, facts, results, *, former, now):
        self._results = results
        self._now = now
        self._former = former or {"run": 0, "shown": 0, "looked": "", "known": []}
        self._run = self._former["run"] + 1
        self._before = History(self._former["known"])
        self._history = History(self._former["known"])
        # What runs of a repository on a host, in all of its containers.
        self._found = {}
        self._new = {}
        self._alike = {}
        self.hosts = hosts
        self.containers = []
        # What a collection has to keep: all that runs and may be in the registry.
        self._kept = set()
        for host in hosts:
            for container in host["containers"]:
                place = Place(container, names, host["mirrors"])
                self._kept.update(digest for _repository, digest in place.images)
                self._add(host, container, placed(place, facts))
        for (host, repository), found in self._found.items():
            self._history.put(host, repository, found, now)

    def _add(self, host, container, found):
        state, repository, digest, said = found
        image = f"{repository}@{digest}"
        result = self._results.get(image)
        row = {
            "host": host["name"],
            "engine": container["engine"],
            "account": container.get("account", ""),
            "container": clean(container["container"]),
            "image": clean(container["image"]),
            "since": clean(container.get("since", "")),
            "repository": repository,
            "digest": digest,
            "state": state,
            "said": clean(said),
            "judged": result is not None and not result["problems"],
        }
        where = host["name"], repository
        dated, blocking, new = self._judged(image, host["platform"], self._before.of(*where))
        if repository:
            other = self._found.setdefault(where, dated)
            # Of two images of one repository, together.
            self._found[where] = other if other is dated else {**other, **dated}
        row["findings"], row["new"] = len(blocking), len(new)
        self.containers.append(row)
        if new:
            # Many containers may run the image: its findings stand once.
            self._new.setdefault((image, tuple(map(key_of, new))), {"findings": new, "rows": []})["rows"].append(row)

    def _judged(self, image, platform, known):
        """({key: (since when, run)}, the findings that count, those of them that are new) of an image on a host."""
        # Most hosts know the same of an image. The same objects stand for all of them then.
        alike = (image, platform, id(known))
        if alike not in self._alike:
            result = self._results.get(image)
            findings = [] if result is None else of_platform(result, platform)
            blocking = [one for one in findings if one["decision"] == BLOCKS]
            # What was known of one that can't be judged is not new when it can be again.
            dated = {} if result is not None and not result["problems"] else dict(known)
            dated.update((key_of(one), known.get(key_of(one), (self._now, self._run))) for one in blocking)
            new = [one for one in blocking if dated[key_of(one)][1] > self._former["shown"]]
            self._alike[alike] = dated, blocking, new
        return self._alike[alike]

    def document(self, looked, oldest):
        """All of it, for a file. looked: when the hosts were. oldest: since when a container must have run.

        What is new is new until a play with another look has shown it: a timer takes it from no one.
        """
        images = [{**one, "image": name} for name, one in sorted(self._results.items())]
        dates = sorted({report["database_date"] for one in images for report in one["reports"]} - {""})
        shown = self._former["shown"] if looked == self._former["looked"] else self._run
        return {
            "format": FORMAT,
            "created": self._now,
            "looked": looked,
            "run": self._run,
            "shown": shown,
            "database_date": dates[0] if dates else "",
            # Whether each host was seen at some time, so that it is known of all what they run.
            "complete": all(host["seen"] for host in self.hosts),
            "hosts": self.hosts,
            "containers": self.containers,
            "images": images,
            "new": [_group(image, group) for (image, _keys), group in self._new.items()],
            "known": self._history.told({host["name"] for host in self.hosts}, oldest),
            "keep_digests": sorted(self._kept),
        }


def _group(image, group):
    return {
        "image": image,
        "findings": [{name: one[name] for name in _TOLD} for one in group["findings"]],
        "where": [{name: row[name] for name in WHERE} for row in group["rows"]],
    }


def why_nothing_was_judged(document):
    """A sentence on why no image of the document of an Exposure was judged, or an empty string."""
    images = document["images"]
    problems = [one["problems"][0] for one in images if one["problems"]]
    if problems and len(problems) == len(images):
        return f"no image was judged: {clean(problems[0])}"
    unknown = [row["said"] for row in document["containers"] if row["state"] == UNKNOWN]
    return f"no image was found: {unknown[0]}" if unknown and not images else ""
