# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tags of a repository stay, by rules. Pure: all facts are given to it. Private to this collection."""

from __future__ import annotations

import calendar
import collections
import datetime
import fnmatch
import re
import sys

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import check_digest
from ansible_collections.wharf.registry.plugins.module_utils._retention.semver import Range, parse_version

SECOND = 10**9
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
# Builders that make the same image from the same source write the year 1, 1970 or 1980 in place of a time. No image
# of a container is older than Docker.
_FIRST = calendar.timegm((2013, 1, 1, 0, 0, 0)) * SECOND
# Clocks differ, and time zones are forgotten. What was made later than that was made by a clock that is wrong.
_AHEAD = 86400 * SECOND
_IN_USE = "is in use"
_CONDITIONS = ("keep_newest", "keep_younger", "keep_matching", "keep_versions", "keep_labels")


def parse_duration(text):
    """The nanoseconds of '30d', '12h', '2w', '90m' or '45s'. Raises InputError."""
    found = _DURATION.fullmatch(text)
    if not found or not int(found.group(1)):
        raise InputError(f"{text!r} is no duration", "Give a number and a unit: 90m, 12h, 30d or 2w")
    return int(found.group(1)) * _UNITS[found.group(2)] * SECOND


def parse_created(text):
    """The nanoseconds since 1970 of a time of RFC 3339, or None where it can't be a time at which an image was made."""
    found = _TIME.fullmatch(text)
    if not found:
        return None
    fraction, sign, hours, minutes = found.groups()[6:]
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        # A leap second is the end of its minute.
        when = datetime.datetime(year, month, day, hour, minute, 59 if second == 60 else second)  # noqa: DTZ001
    except ValueError:
        return None
    away = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    created = (calendar.timegm(when.timetuple()) - away) * SECOND + int((fraction or "0")[:9].ljust(9, "0"))
    return created if created >= _FIRST else None


def parse_digests(texts):
    """The digests of what is in use, which may stand behind a name, as engines tell them. Raises InputError."""
    digests = {text.rpartition("@")[2] for text in texts}
    for digest in digests:
        check_digest(digest)
    return frozenset(digests)


class Tag:
    """A tag, and what the policy must know of what it points to.

    holds: the digests of its manifest, its children and their configurations.
    created: nanoseconds since 1970, or None where it is unknown.
    labels: (name, value) of the labels that rules ask for, of all children.
    subject: the digest of what it belongs to, for the tag of a signature and the like, else an empty string.
    abandoned: whether it was on its way to be removed when a run was killed, and leads to no image any more.
    """

    __slots__ = ("abandoned", "created", "digest", "holds", "labels", "name", "subject")

    def __init__(self, name, digest, *, holds=(), created=None, labels=(), subject="", abandoned=False):
        self.name = name
        self.digest = digest
        self.holds = holds or (digest,)
        self.created = created
        self.labels = labels
        self.subject = subject
        self.abandoned = abandoned


class Decision:
    """What becomes of a tag, and why. considered says whether a rule had a word in it."""

    __slots__ = ("considered", "kept", "reason", "tag")

    def __init__(self, tag, kept, reason, considered=True):
        self.tag = tag
        self.kept = kept
        # Thousands of tags share a few reasons.
        self.reason = sys.intern(reason)
        self.considered = considered


class Rule:
    """What is kept of the tags that it names, in each repository that it names. All else of them may go.

    A tag stays when one condition keeps it, so that a condition more never deletes more.
    """

    def __init__(
        self,
        name,
        repositories,
        tags=("*",),
        *,
        keep_newest=None,
        keep_younger=None,
        keep_matching=(),
        keep_versions=(),
        keep_labels=None,
    ):
        self.name = name
        self.repositories = tuple(repositories)
        self._tags = tuple(tags)
        self._newest = keep_newest
        self._younger = keep_younger
        self._matching = tuple(keep_matching)
        self._versions = tuple(keep_versions)
        self._labels = dict(keep_labels or {})

    @property
    def labels(self):
        """The names of the labels that it asks for."""
        return frozenset(self._labels)

    def names_repository(self, name):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.repositories)

    def names(self, tag):
        return any(fnmatch.fnmatchcase(tag, pattern) for pattern in self._tags)

    def judge(self, tags, now):
        """{name of a tag: why it is kept} of those among the tags, which it names, that a condition keeps."""
        created = {tag.name: tag.created if tag.created and tag.created <= now + _AHEAD else None for tag in tags}
        oldest = self._oldest_of_newest({tag.digest: created[tag.name] for tag in tags})
        since = None if self._younger is None else now - parse_duration(self._younger)
        kept = {}
        for tag in tags:
            why = (
                self._by_name(tag.name) or self._by_label(tag.labels) or self._by_time(created[tag.name], oldest, since)
            )
            if why:
                kept[tag.name] = f"{self.name}: {why}"
        return kept

    def _by_name(self, name):
        for pattern in self._matching:
            if pattern.search(name):
                return f"matches {pattern.pattern}"
        version = parse_version(name) if self._versions else None
        if version is not None:
            for wanted in self._versions:
                if wanted.holds(version):
                    return f"is a version in {wanted.text}"
        return ""

    def _by_label(self, labels):
        for name, value in labels:
            if name in self._labels and fnmatch.fnmatchcase(value, self._labels[name]):
                return f"has the label {name}={value}"
        return ""

    def _by_time(self, created, oldest, since):
        if self._newest in (None, 0) and since is None:
            return ""
        if created is None:
            return "its creation date is unknown"
        if oldest is not None and created >= oldest:
            return f"is one of the {self._newest} newest"
        if since is not None and created >= since:
            return f"is younger than {self._younger}"
        return ""

    def _oldest_of_newest(self, created):
        """When the last of those was made that keep_newest keeps, or None where it keeps none. created is by digest.

        Images are counted, not tags: one with three names is one. Those of the same time stay or go together, since
        nothing tells which of them is the newer.
        """
        if not self._newest:
            return None
        times = sorted((time for time in created.values() if time is not None), reverse=True)
        return times[: self._newest][-1] if times else None


def parse_rule(number, options):
    """The Rule of an option. Raises InputError for one that names nothing, or would delete all that it names."""
    name = f"rule {number}"
    given = [option for option in _CONDITIONS if options.get(option) not in (None, [], {})]
    if not given:
        raise InputError(
            f"{name} keeps nothing, and would delete every tag that it names",
            f"Give it one of {', '.join(_CONDITIONS)}; keep_newest: 0 says that all are to go",
        )
    if not options["repositories"] or not options["tags"]:
        raise InputError(f"{name} names no {'tags' if options['repositories'] else 'repositories'}", "Give it globs")
    newest = options.get("keep_newest")
    # YAML's no is a 0 to Python, and here it would have all go.
    if newest is not None and (isinstance(newest, bool) or newest < 0):
        raise InputError(f"{name} has keep_newest: {newest}", "Give a number, 0 or more")
    try:
        if options.get("keep_younger") is not None:
            parse_duration(options["keep_younger"])
        return Rule(
            name,
            options["repositories"],
            options["tags"],
            keep_newest=newest,
            keep_younger=options.get("keep_younger"),
            keep_matching=[_pattern(text) for text in options.get("keep_matching") or []],
            keep_versions=[Range(text) for text in options.get("keep_versions") or []],
            keep_labels={
                label: _label_value(label, value) for label, value in (options.get("keep_labels") or {}).items()
            },
        )
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.cure) from None


def _pattern(text):
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"{text!r} is no regular expression ({error})", "Correct it, or quote it in YAML") from None


def _label_value(label, value):
    if isinstance(value, bool):
        # YAML's true, where the label's text is meant.
        return str(value).lower()
    if isinstance(value, float):
        # 1.10 has become 1.1 before it comes here.
        raise InputError(f"the label {label} has the number {value} for its value", "Quote it in YAML")
    if not isinstance(value, (str, int)):
        raise InputError(f"the label {label} has {value!r} for its value", "Give a text or a glob; '*' is any value")
    return str(value)


def decide_images(rules, tags, in_use, now):
    """{name: Decision} of those tags of one repository that are not of signatures and the like.

    rules are those that name the repository. in_use are digests that may not lose their tags. now is the time, in
    nanoseconds since 1970. Raises nothing.
    """
    images = sorted((tag for tag in tags if not tag.subject), key=lambda tag: tag.name)
    verdicts = [(rule, rule.judge([tag for tag in images if rule.names(tag.name)], now)) for rule in rules]
    decisions = {tag.name: _decide(tag, verdicts, in_use) for tag in images}
    _explain_siblings(decisions)
    return decisions


def decide_signatures(rules, tags, images, in_use, alive):
    """The Decisions on all tags of one repository, by those on its images, in the order of their names.

    alive is {subject: why, in words} of subjects that no tag of this repository leads to, and that are needed.
    """
    decisions = dict(images)
    _follow_subjects(rules, [tag for tag in tags if tag.subject], decisions, in_use, alive)
    return [decisions[name] for name in sorted(decisions)]


def orphaned(tags):
    """The subjects of signatures and the like of one repository to which none of its tags leads."""
    held = holders(tags)
    return {tag.subject for tag in tags if tag.subject and tag.subject not in held}


def _decide(tag, verdicts, in_use):
    naming = [(rule, kept) for rule, kept in verdicts if rule.names(tag.name)]
    if not naming:
        return Decision(tag, True, "no rule names it", considered=False)
    if tag.abandoned:
        return Decision(tag, False, "its removal was begun by a run that was killed")
    used = _used(tag, in_use)
    if used:
        return Decision(tag, True, used)
    for _rule, kept in naming:
        if tag.name in kept:
            return Decision(tag, True, kept[tag.name])
    return Decision(tag, False, f"nothing in {', '.join(rule.name for rule, _kept in naming)} keeps it")


def _used(tag, in_use):
    found = next((digest for digest in tag.holds if digest in in_use), None) if in_use else None
    return f"{found} {_IN_USE}" if found else ""


def holders(tags):
    """{digest: name of the first tag that holds it}."""
    found = {}
    for tag in tags:
        for digest in tag.holds:
            found.setdefault(digest, tag.name)
    return found


def _explain_siblings(decisions):
    """Tells of a tag that goes by which other its image stays. A tag is only a name, and the image loses nothing."""
    held = holders(decision.tag for decision in decisions.values() if decision.kept)
    for decision in decisions.values():
        stays_by = None if decision.kept else held.get(decision.tag.digest)
        if stays_by:
            decision.reason = sys.intern(f"{decision.reason}; what it points to stays, as {stays_by} needs it")


def belonging(signatures, held):
    """{name of a signature's tag: by which of held it stays}. held is what `holders` returns of the others.

    A signature that stays is a subject itself: that of an attestation lives as long as the attestation.
    """
    by_subject = collections.defaultdict(list)
    for tag in signatures:
        by_subject[tag.subject].append(tag)
    stay, waiting = {}, collections.deque(held.items())
    while waiting:
        digest, holder = waiting.popleft()
        for tag in by_subject.pop(digest, ()):
            stay[tag.name] = holder
            waiting.extend((held_too, holder) for held_too in tag.holds)
    return stay


def _follow_subjects(rules, signatures, decisions, in_use, alive):
    """Decides on what belongs to another manifest. It stays and goes with that, whatever conditions say of its name."""
    images = dict(decisions)
    # Of those to whose subject no tag leads, only the names are known: the subject may have been pushed by digest.
    known = belonging(signatures, holders(decision.tag for decision in images.values()))
    for tag in signatures:
        used = _used(tag, in_use)
        if used:
            decisions[tag.name] = Decision(tag, True, used, considered=False)
        elif tag.name not in known and not any(rule.names(tag.name) for rule in rules):
            why = f"no rule names it, and no tag leads to {tag.subject}"
            decisions[tag.name] = Decision(tag, True, why, considered=False)
    held = holders(decision.tag for decision in decisions.values() if decision.kept)
    # What is in use needs its signature, whether it has a tag or not.
    held = {**dict.fromkeys(in_use, _IN_USE), **alive, **held}
    undecided = [tag for tag in signatures if tag.name not in decisions]
    stay = belonging(undecided, held)
    for tag in undecided:
        if tag.name in stay:
            holder = stay[tag.name]
            why = f"belongs to {tag.subject}, which {f'{holder} needs' if holder in decisions else holder}"
            # As its image: what can't go anyway must not make room for more below a cap.
            considered = holder in images and images[holder].considered
            decisions[tag.name] = Decision(tag, True, why, considered)
        else:
            decisions[tag.name] = Decision(tag, False, f"belongs to {tag.subject}, which no tag that stays needs")


class CapError(RegistryError):
    """The rules would delete more than they may."""


def check_cap(deleted, considered, most, most_percent):
    """Raises CapError where more tags would go than may in one run, in number or of those that the rules consider."""
    if deleted > most:
        raise CapError(
            f"The rules would delete {deleted} of the {considered} tags that they consider, and max_delete is {most}. "
            "Nothing was deleted",
            f"Check the reasons; where they are right, set max_delete to {deleted} for this run",
        )
    if deleted * 100 > most_percent * considered:
        percent = -(-deleted * 100 // considered)
        raise CapError(
            f"The rules would delete {deleted} of the {considered} tags that they consider ({percent} %), and "
            f"max_delete_percent is {most_percent}. Nothing was deleted",
            f"Check the reasons; where they are right, set max_delete_percent to {percent} for this run",
        )
