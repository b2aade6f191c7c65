# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scanners find in an image, in one form for all of them. Private to this collection."""

from __future__ import annotations

import re
import unicodedata

# The words of scanners, from the least to the worst. Negligible is a word of Debian and of Grype.
SEVERITIES = ("unknown", "negligible", "low", "medium", "high", "critical")
_OTHER_WORDS = {"info": "negligible", "none": "negligible", "moderate": "medium", "important": "high"}
_LONGEST = 300
# What a terminal, a page or a reader of a log could take for more than text, and line breaks.
_HOSTILE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_HOSTILE_CATEGORIES = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])


def clean(value):
    """A text of a report in one line of characters that only show, an empty string for what is no text.

    A report is made of the files of an image, so that the image's author chooses what stands there.
    """
    if not isinstance(value, str):
        return ""
    plain = _HOSTILE.sub("", value[: 4 * _LONGEST])
    plain = "".join(" " if one.isspace() else one for one in plain)
    plain = "".join(one for one in plain if unicodedata.category(one) not in _HOSTILE_CATEGORIES)
    plain = " ".join(plain.split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 3]}..."


def severity_of(value):
    """One of SEVERITIES. A word that is not known is unknown."""
    word = clean(value).lower()
    word = _OTHER_WORDS.get(word, word)
    return word if word in SEVERITIES else "unknown"


class Finding:
    """One vulnerability of one package.

    fixed: the versions that mend it, as the scanner names them, empty where there is none, and None where the report
    does not tell whether there is one. severity: empty where the report tells none. aliases: other names of it.
    layer: the digest of the layer, compressed or not, that brought the package, where it is known. dismissed: why the
    report itself does not count it, as VEX says (not_affected, false_positive, resolved), else empty.
    """

    __slots__ = (
        "dismissed",
        "fixed",
        "id",
        "installed",
        "layer",
        "location",
        "names",
        "package",
        "severity",
        "title",
        "unrated",
        "untold",
    )

    def __init__(
        self,
        id,
        package,
        installed="",
        fixed="",
        severity="",
        *,
        title="",
        location="",
        layer="",
        dismissed="",
        aliases=(),
    ):
        self.id = clean(id)
        self.package = clean(package)
        self.installed = clean(installed)
        self.untold = fixed is None
        self.fixed = clean(fixed)
        self.unrated = not severity
        self.severity = severity_of(severity)
        self.names = frozenset([self.id, *map(clean, aliases)])
        self.title = clean(title)
        self.location = clean(location)
        self.layer = clean(layer)
        self.dismissed = clean(dismissed)

    @property
    def key(self):
        """What it is compared by, with the findings of another image."""
        return self.id, self.package

    @property
    def rank(self):
        """For sorting: the worst first, those with a fix before those without."""
        return -SEVERITIES.index(self.severity), not self.fixed, self.id, self.package, self.installed


class Report:
    """What one scanner has said of one image for one platform.

    digests: those by which the report names its image, of a manifest or of the configuration. created and
    database_date: nanoseconds since 1970, or None where the report does not tell. system: the operating system, as
    "debian 12.9", empty where the scanner recognised none. recognized: whether it recognised anything, an operating
    system or packages.
    """

    __slots__ = (
        "created",
        "database_date",
        "digests",
        "end_of_life",
        "findings",
        "recognized",
        "scanner",
        "system",
        "version",
    )

    def __init__(self, scanner, version="", *, digests=(), created=None, database_date=None, system="", findings=()):
        self.scanner = clean(scanner)
        self.version = clean(version)
        self.digests = frozenset(digests)
        self.created = created
        self.database_date = database_date
        self.system = clean(system)
        self.end_of_life = False
        self.findings = list(findings)
        self.recognized = bool(self.system or self.findings)
