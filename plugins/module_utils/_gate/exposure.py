# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a fleet, and what is known of it. Pure: facts are given to it. Private to this collection.

A look is what hosts told: {"looked", "hosts": [{"name", "platform", "mirrors", "problem", "containers", "unknown"}]}.
One without containers was not reached. An exposure is what is made of it, and of the exposure before.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean
from ansible_collections.wharf.registry.plugins.module_utils._gate.policy import BLOCKS
from ansible_collections.wharf.registry.plugins.module_utils._gate.subject import covers, normalized

# The state of a container's image. Only the first two are in the registry under their digest.
CURRENT, MOVED, ABSENT, ELSEWHERE, LOCAL, UNKNOWN = "current", "moved", "absent", "elsewhere", "local", "unknown"
FORMAT = 1
_NOT_LOOKED_AT = "it was not looked at in this run"
# The most rows of the table that one container gets.
_MOST_ROWS = 5
_HEAD = ("HOST", "CONTAINER", "IMAGE", "WHAT", "FIXED IN")


def is_exposure(document):
    """Whether it is the document of an Exposure, as far as the next one needs it."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return False
    lists = [document.get("hosts"), document.get("containers")]
    return all(isinstance(one, list) and all(isinstance(entry, dict) for entry in one) for one in lists)


def merged_hosts(look, former):
    """The hosts of a look. What one ran when it was last seen stands for one, or for an engine, that was not asked."""
    known = {one["name"]: one for one in (former or {}).get("hosts", [])}
    return [_merged(host, known.get(host["name"]), look["looked"]) for host in look["hosts"]]


def _merged(host, known, looked):
    entry = {"name": host["name"], "platform": host.get("platform") or "", "mirrors": host.get("mirrors") or {}}
    before = known["containers"] if known else []
    if host.get("containers") is None:
        problem = host.get("problem") or _NOT_LOOKED_AT
        return {**entry, "seen": known["seen"] if known else "", "problem": problem, "containers": before}
    unknown = host.get("unknown") or []
    silent = {(one["engine"], one.get("account", "")) for one in unknown}
    kept = [one for one in before if (one["engine"], one.get("account", "")) in silent]
    problem = "; ".join(f"{one['engine']}: {one['said']}" for one in unknown)
    return {**entry, "seen": looked, "problem": problem, "containers": [*host["containers"], *kept]}


class Place:
    """Where the image of a container may be in the registry.

    tags: [(repository, tag)] by the name that it was started with. images: [(repository, digest)]. origin: the registry
    of its name where that is another one, or an empty string.
    """

    def __init__(self, container, names, mirrors):
        """names: those of the registry. mirrors: {another registry: paths below which its images lie in this one}."""
        started, known = _parsed(container["image"]), [_parsed(one) for one in container["digests"]]
        self.tags = [] if started is None or not started.tag else _within(started, names, mirrors, started.tag)
        self.images = []
        for reference in filter(None, known):
            self.images += _within(reference, names, mirrors, reference.digest)
        # The repository that it was started from comes first: others may have the same image.
        first = {repository for repository, _tag in self.tags}
        self.images.sort(key=lambda image: image[0] not in first)
        others = sorted({one.registry.name for one in known if one is not None and one.registry.name not in names})
        self.has_digests = any(known)
        self.origin = others[0] if others else ""


def _parsed(name):
    try:
        return parse_reference(name)
    except InputError:
        return None


def _within(reference, names, mirrors, last):
    if reference.registry.name in names:
        return [(reference.repository, last)]
    below = mirrors.get(reference.registry.name) or []
    return [(f"{path.strip('/')}/{reference.repository}".lstrip("/"), last) for path in below]


class Facts:
    """What the registry says. tags: {(repository, tag): its digest, or ""}. images: {(repository, digest): a bool}.

    problems: {(repository, reference): a sentence} on what it does not tell.
    """

    def __init__(self, tags, images, problems):
        self.tags = tags
        self.images = images
        self.problems = problems


def placed(place, facts):
    """(state, repository, digest, a sentence or "") of the image of a Place."""
    if not place.has_digests:
        return LOCAL, "", "", "no registry knows it: it was built or loaded on the host"
    if not place.images:
        return ELSEWHERE, "", "", f"it comes from {place.origin}"
    there = [image for image in place.images if facts.images.get(image)]
    if not there:
        problems = [facts.problems[image] for image in place.images if image in facts.problems]
        repository, digest = place.images[0]
        if problems:
            return UNKNOWN, repository, digest, problems[0]
        return ABSENT, repository, digest, "it is no longer in the registry, and no host could pull it again"
    current = {(repository, facts.tags.get((repository, tag))) for repository, tag in place.tags}
    repository, digest = next((image for image in there if image in current), there[0])
    if (repository, digest) in current or not any(tag in facts.tags for tag in place.tags):
        return CURRENT, repository, digest, ""
    (named, tag), now = next((one, facts.tags[one]) for one in place.tags if one in facts.tags)
    said = f"{named}:{tag} is {now} now" if now else f"the tag {named}:{tag} is gone"
    return MOVED, repository, digest, said


def of_platform(findings, platform):
    """The findings of an image that concern a host. Where none of its platforms is the host's, all of them do."""
    host = normalized(platform)
    own = [one for one in findings if any(_concerns(host, name) for name in one["platforms"])]
    return own or findings


def _concerns(host, platform):
    # Behind a blank stands the digest, where two images are for one platform.
    named = normalized(platform.partition(" ")[0])
    return not named or covers(named, host) or covers(host, named)


class Exposure:
    """The exposure of the hosts of merged_hosts(), and of none before or the document `former`.

    names: those of the registry. facts: what it says of their images. results: {"repository@digest": a result of
    registry_scan}. now: the time as RFC 3339, of which the dates of new findings are.
    """

    def __init__(self, hosts, names, facts, results, *, former, now):
        self._results = results
        self._former = _known_findings(former)
        self._now = now
        self.is_first = former is None
        self.hosts = hosts
        self.containers, self.new = [], []
        # What a collection has to keep: all that runs and may be in the registry.
        self._kept = set()
        for host in hosts:
            for container in host["containers"]:
                place = Place(container, names, host["mirrors"])
                self._kept.update(digest for _repository, digest in place.images)
                self._add(host, container, placed(place, facts))

    def _add(self, host, container, found):
        state, repository, digest, said = found
        result = self._results.get(f"{repository}@{digest}")
        judged = result is not None and not result["problems"]
        row = {
            "host": host["name"],
            "engine": container["engine"],
            "account": container.get("account", ""),
            "container": clean(container["container"]),
            "image": clean(container["image"]),
            "repository": repository,
            "digest": digest,
            "state": state,
            "said": clean(said),
            "judged": judged,
        }
        findings = [] if result is None else of_platform(result["findings"], host["platform"])
        blocking = [one for one in findings if one["decision"] == BLOCKS]
        since = self._former.get((host["name"], repository), {})
        # Of an image that could not be judged, what was known is not new when it can be judged again.
        dates = {} if judged else dict(since)
        dates.update((_key(one), since.get(_key(one), self._now)) for one in blocking)
        row["findings"] = [{"id": key[0], "package": key[1], "since": date} for key, date in dates.items()]
        new = [one for one in blocking if _key(one) not in since]
        row["new"] = len(new)
        self.containers.append(row)
        where = {name: row[name] for name in ("host", "container", "image", "repository", "digest")}
        told = ("id", "package", "installed", "fixed", "severity", "origin")
        self.new += [{**where, **{name: one[name] for name in told}} for one in new]

    def document(self):
        """All of it, for a file."""
        images = [{**one, "image": name} for name, one in sorted(self._results.items())]
        dates = sorted({report["database_date"] for one in images for report in one["reports"]} - {""})
        return {
            "format": FORMAT,
            "created": self._now,
            "first": self.is_first,
            "database_date": dates[0] if dates else "",
            "hosts": self.hosts,
            "containers": self.containers,
            "images": images,
            "new": self.new,
            "keep_digests": sorted(self._kept),
        }


def _key(finding):
    return finding["id"], finding["package"]


def _known_findings(former):
    """{(host, repository): {(id, package): since when}} of an exposure."""
    known = {}
    for row in (former or {}).get("containers", []):
        of_image = known.setdefault((row["host"], row["repository"]), {})
        for one in row["findings"]:
            of_image[_key(one)] = one["since"]
    return known


def why_nothing_was_judged(document):
    """A sentence on why no image of the document of an Exposure was judged, or an empty string."""
    problems = [one["problems"][0] for one in document["images"] if one["problems"]]
    none = bool(problems) and len(problems) == len(document["images"])
    return f"no image was judged: {clean(problems[0])}" if none else ""


# --- for people -------------------------------------------------------------------------------------------------------


def lines_of(document):
    """An exposure as lines of text: a sentence, what is not known, a table of what is new, and what is left."""
    rows = document["containers"]
    images, judged = len(document["images"]), sum(1 for one in document["images"] if not one["problems"])
    counted = _count(images, "image") if judged == images else f"{judged} of {_count(images, 'image')}"
    dated = f" by the database of {document['database_date']}" if document["database_date"] else ""
    fleet = f"{_count(len(document['hosts']), 'host')}, {_count(len(rows), 'container')}"
    lines = [f"{fleet}; {counted} of the registry scanned{dated}."]
    lines += [f"{one['name']}: {_of_host(one)}" for one in document["hosts"] if one["problem"]]
    lines += _problems(document["images"])
    table = [_HEAD]
    news = {}
    for one in document["new"]:
        news.setdefault((one["host"], one["container"]), []).append(one)
    for row in rows:
        table += _rows(row, news.get((row["host"], row["container"]), []))
    if len(table) > 1:
        lines += ["", *_aligned(table), ""]
    quiet = sum(1 for row in rows if row["judged"] and not row["new"] and row["state"] == CURRENT)
    # As new ones are counted: once for a host and a repository.
    old = {(row["host"], row["repository"], *_key(one)) for row in rows for one in row["findings"]}
    new = {(one["host"], one["repository"], *_key(one)) for one in document["new"]}
    lines.append(
        f"{_count(len(new), 'new finding')}{' (this is the first run)' if document['first'] else ''}; "
        f"{_count(len(old - new), 'finding')} known from before. {_count(quiet, 'container')} with nothing new."
    )
    return lines


def _of_host(host):
    seen = f"; what it ran at {host['seen']} stands for it" if host["seen"] and host["containers"] else ""
    return f"{clean(host['problem'])}{seen}"


def _problems(images):
    """A line for each problem, which many images may have."""
    found = {}
    for one in images:
        for problem in one["problems"]:
            found.setdefault(clean(problem), []).append(one["image"])
    return [
        f"Not judged: {names[0] if len(names) == 1 else _count(len(names), 'image')}: {problem}"
        for problem, names in sorted(found.items())
    ]


def _rows(row, news):
    where = (row["host"], row["container"], row["image"])
    rows = [(*where, row["said"], "")] if row["said"] else []
    rows += [
        (*where, f"{one['id']} ({one['severity']}) in {one['package']} {one['installed']}", one["fixed"])
        for one in news[:_MOST_ROWS]
    ]
    if len(news) > _MOST_ROWS:
        rows.append((*where, f"{len(news) - _MOST_ROWS} more, see the file", ""))
    return rows


def _aligned(table):
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in table]


def _count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"
