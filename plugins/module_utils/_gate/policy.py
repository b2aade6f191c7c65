# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an image may be promoted, by what scanners found. Pure: facts are given to it. Private to this collection."""

from __future__ import annotations

import datetime
import fnmatch

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import SEVERITIES
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import SECOND, parse_duration

PASSED = "passed"
REFUSED = "refused"
# What becomes of a finding. Only "blocks" refuses an image.
BLOCKS, WAIVED, KNOWN, DISMISSED, ALLOWED = "blocks", "waived", "known", "dismissed", "allowed"
# A report of tomorrow comes of a clock that is wrong.
_AHEAD = 86400 * SECOND


class Waiver:
    """A finding that somebody answers for, until the end of a day (UTC)."""

    def __init__(self, number, options):
        self.id = options["id"]
        self.package = options["package"] or "*"
        self.owner = options["owner"]
        self.reason = options["reason"]
        self.expires = options["expires"]
        where = f"waivers[{number}]"
        for name in ("id", "owner", "reason"):
            if not options[name].strip():
                raise InputError(f"{where}.{name} is empty", f"Give {name}: a waiver tells who answers for it, and why")
        try:
            day = datetime.datetime.strptime(self.expires, "%Y-%m-%d").replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            raise InputError(
                f"{where}.expires is {self.expires!r}, which is no date", "Give a day, as '2027-03-31', in quotes"
            ) from None
        self.ends = (int(day.timestamp()) + 86400) * SECOND

    def names(self, finding):
        return self.id in finding.names and fnmatch.fnmatchcase(finding.package, self.package)


class Policy:
    """What the options of a gate say. Raises InputError."""

    def __init__(self, options, waivers=()):
        self.severities = frozenset(options["severities"])
        self.unfixed_severities = frozenset(options["unfixed_severities"])
        for name, chosen in (("severities", self.severities), ("unfixed_severities", self.unfixed_severities)):
            unknown = sorted(chosen.difference(SEVERITIES))
            if unknown:
                raise InputError(f"policy.{name} has {unknown[0]!r}", f"Give some of {', '.join(SEVERITIES)}")
        self.deny = tuple(options["deny"])
        self.max_database_age = parse_duration(options["max_database_age"])
        self.max_report_age = parse_duration(options["max_report_age"])
        self.allow_unrecognized = options["allow_unrecognized"]
        self.allow_end_of_life = options["allow_end_of_life"]
        self.waivers = [Waiver(number, one) for number, one in enumerate(waivers, 1)]

    def chosen(self, finding):
        """The severities that block a finding. Of one whose report does not tell of fixes, those of both kinds do."""
        if finding.untold:
            return self.severities | self.unfixed_severities
        return self.severities if finding.fixed else self.unfixed_severities

    def stale(self, report, now):
        """Why a report is not to be relied on, or an empty string."""
        for what, when, limit, name in (
            ("the database of the scanner", report.database_date, self.max_database_age, "max_database_age"),
            ("the report", report.created, self.max_report_age, "max_report_age"),
        ):
            if when is None:
                return f"{what} does not tell its date"
            if when > now + _AHEAD:
                return f"{what} is of {day_of(when)}, which is in the future"
            if now - when > limit:
                return f"{what} is of {day_of(when)}, older than {name} allows"
        return ""


def day_of(nanoseconds):
    try:
        when = datetime.datetime.fromtimestamp(nanoseconds // SECOND, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return "no year that calendars know"
    return when.strftime("%Y-%m-%d %H:%M UTC")


class Judged:
    """A finding, what becomes of it, and why. platforms: those of the image that have it."""

    __slots__ = ("decision", "finding", "platforms", "reason")

    def __init__(self, finding, decision, reason, platforms=()):
        self.finding = finding
        self.decision = decision
        self.reason = reason
        self.platforms = list(platforms)


class Verdict:
    """The result: verdict (PASSED or REFUSED), findings (Judged, the worst first), and problems.

    Problems are sentences on what kept the image from being judged; each of them refuses it.
    """

    def __init__(self, findings, problems):
        self.findings = sorted(findings, key=lambda one: (one.decision != BLOCKS, one.finding.rank, one.platforms))
        self.problems = problems
        self.blocking = [one for one in self.findings if one.decision == BLOCKS]
        self.verdict = REFUSED if problems or self.blocking else PASSED

    def count(self, decision):
        return sum(one.decision == decision for one in self.findings)


def judge(reports, policy, now, baseline=None):
    """The Verdict on an image.

    reports: {platform: Report, or a sentence on why there is none}. baseline: the keys of the findings of the image
    that runs in production now, or None. now: nanoseconds since 1970.
    """
    problems, judged = [], {}
    if not reports:
        problems.append("there is no report")
    for platform, report in sorted(reports.items()):
        if isinstance(report, str):
            problems.append(f"{platform}: {report}" if platform else report)
            continue
        problem = _problem(report, policy, now)
        if problem:
            problems.append(f"{platform}: {problem}" if platform else problem)
        for finding in report.findings:
            key = (finding.key, finding.installed, finding.fixed, finding.severity, finding.layer, finding.dismissed)
            if key not in judged:
                judged[key] = Judged(finding, *_decide(finding, policy, baseline, now))
            if platform not in judged[key].platforms:
                judged[key].platforms.append(platform)
    return Verdict(judged.values(), problems)


def _problem(report, policy, now):
    stale = policy.stale(report, now)
    if stale:
        return stale
    if not report.recognized and not policy.allow_unrecognized:
        return "the scanner recognised no operating system and no packages, so that nothing was compared"
    if report.end_of_life and not policy.allow_end_of_life:
        return f"{report.system} gets no security updates any more"
    return ""


def _decide(finding, policy, baseline, now):
    """(decision, reason) of a finding."""
    if any(fnmatch.fnmatchcase(name, pattern) for name in finding.names for pattern in policy.deny):
        return BLOCKS, "is denied by the policy"
    if finding.dismissed:
        return DISMISSED, f"the report says {finding.dismissed}"
    told, chosen = f"{finding.severity} {'with' if finding.fixed else 'without'} a fix", policy.chosen(finding)
    if finding.severity not in chosen and not (finding.unrated and chosen):
        return ALLOWED, f"{told} does not block"
    return _excuse(finding, policy, baseline, now) or (BLOCKS, told)


def _excuse(finding, policy, baseline, now):
    """(decision, reason) of a finding that blocks by its severity, where there is something to say for it, or None."""
    waivers = [one for one in policy.waivers if one.names(finding)]
    valid = [one for one in waivers if one.ends > now]
    if valid:
        return WAIVED, f"waived by {valid[0].owner} until {valid[0].expires}: {valid[0].reason}"
    if waivers:
        # The one that ended last: its owner has to say whether it goes on.
        last = max(waivers, key=lambda one: one.ends)
        return BLOCKS, f"the waiver of {last.owner} expired on {last.expires}"
    if baseline is not None and finding.key in baseline:
        return KNOWN, "is in the baseline, too"
    return None


def sentence_of(image, verdict, origin=lambda _finding: ""):
    """The verdict in one sentence that a person can act on: what is wrong, where it comes from, and what mends it.

    origin(finding) tells which layer brought the package, or an empty string.
    """
    if verdict.problems:
        more = len(verdict.problems) + len(verdict.blocking) - 1
        return f"{image} is refused: {verdict.problems[0]}{_and_more(more)}."
    if verdict.verdict == PASSED:
        counts = [f"{verdict.count(one)} {word}" for one, word in _COUNTED if verdict.count(one)]
        found = f"{len(verdict.findings)} findings, none of which blocks" if verdict.findings else "nothing was found"
        return f"{image} passes: {found}{' (' + ', '.join(counts) + ')' if counts else ''}."
    first = verdict.blocking[0]
    one = first.finding
    where = f" {one.installed}" if one.installed else ""
    unfixed = "of which the report tells no fix" if one.untold else "not fixed yet"
    fix = f"fixed in {one.fixed}" if one.fixed else unfixed
    parts = [f"{one.id} ({one.severity}) in {one.package or 'an unnamed package'}{where}", fix]
    parts += [text for text in (origin(one), *_special(first)) if text]
    return f"{image} is refused: {', '.join(parts)}{_and_more(len(verdict.blocking) - 1)}."


_COUNTED = ((WAIVED, "waived"), (KNOWN, "in the baseline, too"), (DISMISSED, "dismissed by the report"))


def _special(judged):
    """What else there is to say of a blocking finding, where it does not block by its severity alone."""
    return [judged.reason] if "waiver" in judged.reason or "denied" in judged.reason else []


def _and_more(count):
    return f"; {count} more block{'s' if count == 1 else ''} it" if count > 0 else ""
