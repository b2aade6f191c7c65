# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of scanners, by whatever tool and in whatever form, read into one. Private to this collection.

Trivy and Grype write JSON of their own; SARIF and CycloneDX are written by many. Nothing in a report is believed to be
of its type: its parts come of the files of an image.
"""

from __future__ import annotations

import re
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import read_object
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import Finding, Report
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import parse_created

# States of CycloneDX by which a vulnerability does not count.
_DISMISSED = frozenset(["not_affected", "false_positive", "resolved", "resolved_with_pedigree"])
_SARIF_FIELD = re.compile(r"^(Package|Installed Version|Fixed Version|Severity): (.*)$", re.MULTILINE)
_GRYPE_SARIF = re.compile(r"in (?:the )?\S+ package: ([^,]+), version (\S+)")
# The bounds of CVSS, which SARIF's security-severity is in.
_SCORES = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
_LEVELS = {"error": "high", "warning": "medium", "note": "low"}
# More would be a report that no one can act on, or one that is made to fill the memory.
MOST_FINDINGS = 100000


def parse_report(content, name, *, listed=False):
    """The Report in the bytes of a file, whose name is for messages. Raises InputError.

    listed says that it has to be one of Trivy that lists all packages, as those are that are made here: what has none
    was not recognised, whatever it calls itself.
    """
    document = read_object(content)
    if document is None:
        raise InputError(f"{name} is not a JSON object", "Give a report of Trivy, Grype, SARIF or CycloneDX, as JSON")
    for known, parse in _FORMATS[:1] if listed else _FORMATS:
        if known(document):
            report = parse(document)
            if listed:
                report.recognized = _has_packages(document)
            if len(report.findings) > MOST_FINDINGS:
                raise InputError(f"{name} has more than {MOST_FINDINGS} findings", "Check how it was made")
            return report
    raise InputError(
        f"{name} is no report that is known here", "Give a report of Trivy, Grype, SARIF or CycloneDX, as JSON"
    )


# --- values of any type ---------------------------------------------------------------------------------------------


def _dict(value, *names):
    """The object that lies at the end of these names, an empty one for anything else."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value, *names):
    """The objects of the list that lies at the end of these names."""
    *before, last = names
    found = _dict(value, *before).get(last)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _texts(value, *names):
    *before, last = names
    found = _dict(value, *before).get(last)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _text(value, *names):
    *before, last = names
    found = _dict(value, *before).get(last)
    return found if isinstance(found, str) else ""


def _digests(*texts):
    """The digests in texts such as registry.example.com/apps/web@sha256:..."""
    found = (text.rpartition("@")[2] for text in texts)
    return frozenset(one for one in found if fits_digest(one))


def _words(*texts):
    return " ".join(text for text in texts if text)


# --- the formats ----------------------------------------------------------------------------------------------------


def _trivy(document):
    metadata = _dict(document, "Metadata")
    system = _dict(metadata, "OS")
    report = Report(
        "trivy",
        _text(document, "Trivy", "Version"),
        digests=_digests(*_texts(metadata, "RepoDigests"), _text(metadata, "ImageID")),
        created=parse_created(_text(document, "CreatedAt")),
        system=_words(_text(system, "Family"), _text(system, "Name")),
    )
    report.end_of_life = system.get("EOSL") is True
    kinds = {_text(result, "Class") for result in _list(document, "Results")}
    # Of a system that it does not know, Trivy tells the name, and compares nothing.
    report.recognized = bool(report.system) and "os-pkgs" in kinds
    for result in _list(document, "Results"):
        for one in _list(result, "Vulnerabilities"):
            state = _text(one, "Status")
            report.findings.append(
                Finding(
                    _text(one, "VulnerabilityID"),
                    _text(one, "PkgName"),
                    _text(one, "InstalledVersion"),
                    _text(one, "FixedVersion"),
                    _text(one, "Severity"),
                    title=_text(one, "Title"),
                    location=_text(one, "PkgPath") or _place(result, document),
                    layer=_text(one, "Layer", "DiffID") or _text(one, "Layer", "Digest"),
                    dismissed=state if state in _DISMISSED else "",
                    aliases=_texts(one, "VendorIDs"),
                )
            )
    return report


def _has_packages(document):
    """Whether packages of an operating system were found and compared, by a report that lists all."""
    results = _list(document, "Results")
    return _dict(document, "Metadata").get("Compared") is not False and any(
        _text(one, "Class") == "os-pkgs" and _list(one, "Packages") for one in results
    )


def _place(result, document):
    """The file that has the packages, or the operating system: the target is named after the image there."""
    target, image = _text(result, "Target"), _text(document, "ArtifactName")
    return target[len(image) :].strip(" ()") if image and target.startswith(image) else target


def _grype(document):
    target, descriptor = _dict(document, "source", "target"), _dict(document, "descriptor")
    distro = _dict(document, "distro")
    built = _text(descriptor, "db", "status", "built") or _text(descriptor, "db", "built")
    report = Report(
        "grype",
        _text(descriptor, "version"),
        digests=_digests(*_texts(target, "repoDigests"), _text(target, "manifestDigest"), _text(target, "imageID")),
        created=parse_created(_text(descriptor, "timestamp")),
        database_date=parse_created(built),
        system=_words(_text(distro, "name"), _text(distro, "version")),
    )
    for match in _list(document, "matches"):
        found, package = _dict(match, "vulnerability"), _dict(match, "artifact")
        places = _list(package, "locations")
        report.findings.append(
            Finding(
                _text(found, "id"),
                _text(package, "name"),
                _text(package, "version"),
                _fix_of_grype(_dict(found, "fix")),
                _text(found, "severity"),
                title=_text(found, "description"),
                location=_text(places[0], "path") if places else "",
                layer=_text(places[0], "layerID") if places else "",
                aliases=[_text(one, "id") for one in _list(match, "relatedVulnerabilities")],
            )
        )
    report.recognized = bool(report.system)
    return report


def _fix_of_grype(fix):
    versions = ", ".join(_texts(fix, "versions"))
    return versions if versions or _text(fix, "state") in ("not-fixed", "wont-fix") else None


def _sarif(document):
    runs = _list(document, "runs")
    first = runs[0] if runs else {}
    driver, invocations = _dict(first, "tool", "driver"), [_list(run, "invocations") for run in runs]
    dates = [parse_created(_text(one[0], "endTimeUtc")) if one else None for one in invocations]
    named = [_digests(*_texts(run, "properties", "repoDigests"), _text(run, "properties", "imageID")) for run in runs]
    report = Report(
        _text(driver, "name"),
        _text(driver, "version") or _text(driver, "semanticVersion"),
        # What all of its runs are of, and the oldest of them.
        digests=frozenset.intersection(*named) if named else frozenset(),
        created=None if None in dates or not dates else min(dates),
    )
    for run in runs:
        rules = {_text(rule, "id"): rule for rule in _list(run, "tool", "driver", "rules")}
        report.findings += [_of_sarif(one, rules) for one in _list(run, "results")]
    # SARIF says nothing of what was recognised: results are all that there is to go by.
    report.recognized = bool(report.findings)
    return report


def _of_sarif(result, rules):
    identifier = _text(result, "ruleId")
    rule, message = rules.get(identifier, {}), _text(result, "message", "text")
    fields = dict(_SARIF_FIELD.findall(message))
    grype = _GRYPE_SARIF.search(message)
    package, version = grype.groups() if grype else ("", "")
    package = fields.get("Package") or package
    places = _list(result, "locations")
    # Grype puts the package after the identifier, so that rules are unique.
    identifier = identifier[: -len(package) - 1] if package and identifier.endswith(f"-{package}") else identifier
    return Finding(
        identifier,
        package,
        fields.get("Installed Version") or version,
        fields.get("Fixed Version"),
        # A package chooses its version, and so what stands in the message: the worse of the two words is taken.
        _worst([fields.get("Severity", ""), _by_score(_dict(rule, "properties").get("security-severity"))])
        or _LEVELS.get(_text(result, "level") or _text(rule, "defaultConfiguration", "level"), ""),
        title=_text(rule, "shortDescription", "text"),
        location=_text(places[0], "physicalLocation", "artifactLocation", "uri") if places else "",
        dismissed="it is suppressed" if _is_suppressed(_list(result, "suppressions")) else "",
    )


def _is_suppressed(suppressions):
    """Whether all of them were accepted: one that is under review or rejected is none."""
    return bool(suppressions) and all(_text(one, "status") == "accepted" for one in suppressions)


def _by_score(value):
    try:
        score = float(value)
    except (TypeError, ValueError):
        return ""
    return next((word for least, word in _SCORES if score >= least), "")


def _cyclonedx(document):
    subject = _dict(document, "metadata", "component")
    properties = {_text(one, "name"): _text(one, "value") for one in _list(subject, "properties")}
    # pkg:oci/web@sha256%3A9f86...?repository_url=...
    purl = urllib.parse.unquote(_text(subject, "purl").partition("?")[0])
    named = [purl, *(value for name, value in properties.items() if name.endswith((":RepoDigest", ":ImageID")))]
    tools = _list(document, "metadata", "tools", "components") or _list(document, "metadata", "tools")
    tool = tools[0] if tools else {}
    components = {_text(one, "bom-ref"): one for one in _list(document, "components")}
    systems = [one for one in components.values() if _text(one, "type") == "operating-system"]
    report = Report(
        _text(tool, "name") or "CycloneDX",
        _text(tool, "version"),
        digests=_digests(*named),
        created=parse_created(_text(document, "metadata", "timestamp")),
        system=_words(_text(systems[0], "name"), _text(systems[0], "version")) if systems else "",
    )
    # A list of packages alone compares nothing.
    report.recognized = bool(components) and isinstance(document.get("vulnerabilities"), list)
    for one in _list(document, "vulnerabilities"):
        state = _text(one, "analysis", "state")
        why = _words(state, _text(one, "analysis", "justification")) if state in _DISMISSED else ""
        for affected in _list(one, "affects") or [{}]:
            package = components.get(_text(affected, "ref"), {})
            report.findings.append(
                Finding(
                    _text(one, "id"),
                    _text(package, "name") or _text(affected, "ref"),
                    _text(package, "version"),
                    _fixed_in(one, affected),
                    _worst(_severities_of_ratings(one)),
                    title=_text(one, "description"),
                    dismissed=why,
                )
            )
    return report


def _severities_of_ratings(vulnerability):
    ratings = _list(vulnerability, "ratings")
    return [_text(rating, "severity") or _by_score(rating.get("score")) for rating in ratings]


def _worst(words):
    """The worst of the severities that several sources give, of which none is known to be right. Empty for none."""
    findings = [Finding("", "", severity=word) for word in words if word]
    return min(findings, key=lambda one: one.rank).severity if findings else ""


def _fixed_in(vulnerability, affected):
    """The version that mends it. Trivy writes it into the recommendation: Upgrade libssl3 to version 3.0.15-1."""
    fixed = [_text(one, "version") for one in _list(affected, "versions") if _text(one, "status") == "unaffected"]
    if fixed:
        return ", ".join(fixed)
    versions = re.findall(r"\bto version ([^;\s]+)", _text(vulnerability, "recommendation"))
    # Without one, it does not tell.
    return ", ".join(dict.fromkeys(versions)) or None


_FORMATS = (
    (lambda document: "SchemaVersion" in document and "ArtifactName" in document, _trivy),
    (lambda document: "matches" in document and "descriptor" in document, _grype),
    (lambda document: isinstance(document.get("runs"), list), _sarif),
    (lambda document: document.get("bomFormat") == "CycloneDX", _cyclonedx),
)
