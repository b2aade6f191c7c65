# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of registry_scan: reports are found, made or taken, and judged. Private to this collection."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import is_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import read_object
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._gate.database import (
    Database,
    cache_of_run,
    check_cache_dir,
)
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean
from ansible_collections.wharf.registry.plugins.module_utils._gate.layers import check_layers
from ansible_collections.wharf.registry.plugins.module_utils._gate.policy import Policy, judge, sentence_of
from ansible_collections.wharf.registry.plugins.module_utils._gate.report_store import Facts, ReportStore, seal_key
from ansible_collections.wharf.registry.plugins.module_utils._gate.reports import parse_report
from ansible_collections.wharf.registry.plugins.module_utils._gate.subject import Subject, parse_image
from ansible_collections.wharf.registry.plugins.module_utils._gate.trivy import ScanError, Trivy, field
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import SECOND, parse_created
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_mover import BlobMover
from ansible_collections.wharf.registry.plugins.module_utils._transfer.layout import Layout

POLICY_OPTIONS = {
    "severities": {"type": "list", "elements": "str", "default": ["critical", "high"]},
    "unfixed_severities": {"type": "list", "elements": "str", "default": []},
    "deny": {"type": "list", "elements": "str", "default": []},
    "max_database_age": {"type": "str", "default": "3d"},
    "max_report_age": {"type": "str", "default": "1d"},
    "allow_unrecognized": {"type": "bool", "default": False},
    "allow_end_of_life": {"type": "bool", "default": True},
}
WAIVER_OPTIONS = {
    "id": {"type": "str", "required": True},
    "package": {"type": "str"},
    "owner": {"type": "str", "required": True},
    "reason": {"type": "str", "required": True},
    "expires": {"type": "str", "required": True},
}
SCANNER_OPTIONS = {
    "program": {"type": "str", "default": "trivy"},
    "image": {"type": "str"},
    "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    "server": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "cache_dir": {"type": "path"},
    "timeout": {"type": "int", "default": 600},
}
DATABASE_OPTIONS = {
    "repository": {"type": "str"},
    "java_repository": {"type": "str"},
    "updated": {"type": "str"},
}
SCAN_OPTIONS = {
    "image": {"type": "str"},
    "images": {"type": "list", "elements": "str"},
    "platforms": {"type": "list", "elements": "str", "default": []},
    "scanner": {"type": "dict", "apply_defaults": True, "options": SCANNER_OPTIONS},
    "report": {"type": "list", "elements": "path"},
    "database": {"type": "dict", "apply_defaults": True, "options": DATABASE_OPTIONS},
    "policy": {"type": "dict", "apply_defaults": True, "options": POLICY_OPTIONS},
    "baseline": {"type": "str"},
    "waivers": {"type": "list", "elements": "dict", "default": [], "options": WAIVER_OPTIONS},
    "store": {"type": "bool", "default": True},
    "sbom": {"type": "str", "choices": ["none", "cyclonedx", "spdx"], "default": "none"},
}
_LARGEST_REPORT = 256 << 20


def default_cache_dir():
    """Of root, the cache of the host; of another account, its own."""
    if os.geteuid() == 0:
        return "/var/cache/wharf-registry/trivy"
    return os.path.join(os.path.expanduser("~"), ".cache", "wharf-registry", "trivy")


class Made:
    """A report on one platform of an image, its bytes and its Facts.

    stored: its digest in the registry, empty where it is not there. reused: whether it was there before this run.
    """

    def __init__(self, report, facts, content, *, stored="", reused=False):
        self.report = report
        self.facts = facts
        self.content = content
        self.stored = stored
        self.reused = reused


def read_again(stored):
    """The Made of a Stored report, which was made before."""
    report = parse_report(stored.content, f"the report {stored.digest}", listed=True)
    report.database_date = parse_created(stored.facts.database_date)
    return Made(report, stored.facts, stored.content, stored=stored.digest, reused=True)


class Scanner:
    """Gives reports on images: those that are in the registry and young enough, or new ones by Trivy.

    pool is one of the registry. layout and cache are directories of this run alone. key is that of the seals.
    """

    def __init__(self, pool, params, policy, now, layout):
        self._pool = pool
        self._policy = policy
        self._now = now
        self._layout = layout
        options = params["scanner"]
        self.cache_dir = options["cache_dir"] or default_cache_dir()
        check_cache_dir(self.cache_dir)
        self._trivy = Trivy(options, self.cache_dir)
        self._is_client = bool(options["server"])
        self._database = params["database"]
        self._key = seal_key(self.cache_dir)
        self._cache = self._date = None
        self._digests = self._name = ""

    def store(self, api, repository):
        return ReportStore(api, repository, self._key)

    def prepare(self, registry, stack):
        """Finds out by which database it scans. What that needs is undone by an ExitStack. Raises RegistryError."""
        if self._cache is not None:
            return
        found = {} if self._is_client else self._databases(registry)
        cache = stack.enter_context(cache_of_run(self.cache_dir, {kind: one.directory for kind, one in found.items()}))
        about = self._trivy.server_version() if self._is_client else self._trivy.version(cache)
        dates = [parse_created(clean(field(about, "VulnerabilityDB", "UpdatedAt")))]
        if not self._is_client and self._database["java_repository"]:
            dates.append(parse_created(clean(field(about, "JavaDB", "UpdatedAt"))))
        if None in dates:
            where = "The Trivy server" if self._is_client else self.cache_dir
            raise ScanError(
                f"{where} has no vulnerability database",
                "Give database.repository, the copy of trivy-db in your registry",
            )
        # The older one decides. Without fractions of a second, as the annotations of reports have it.
        self._date = min(dates) // SECOND * SECOND
        self._digests = " ".join(one.digest for one in found.values())
        self._name = f"trivy {clean(field(about, 'Version'))}"
        self._cache = cache

    def _databases(self, registry):
        found = {}
        for option, kind in (("repository", "db"), ("java_repository", "java-db")):
            database = Database(self.cache_dir, kind)
            if self._database[option]:
                database.take(self._pool, parse_image(self._database[option], registry))
            if database.is_there:
                found[kind] = database
        return found

    def is_fresh(self, facts):
        """Whether a report of these Facts need not be made again."""
        created = parse_created(facts.created)
        same = parse_created(facts.database_date) == self._date and facts.database_digest == self._digests
        ours = facts.scanned and facts.scanner == self._name and same
        return ours and created is not None and 0 <= self._now - created <= self._policy.max_report_age

    def report(self, api, repository, image):
        """The Made of a PlatformImage. Raises RegistryError."""
        stored = self.store(api, repository).find(image.manifest.digest, self.is_fresh)
        if stored is not None:
            return read_again(stored)
        name = f"{api.registry.name}/{repository}@{image.manifest.digest}"
        content = renamed(*self._scan(repository, image, "report"), name)
        report = parse_report(content, "the report of Trivy", listed=True)
        report.database_date = self._date
        dates = [_date(one) for one in (report.created or self._now, self._date)]
        return Made(report, Facts(dates[0], self._name, dates[1], self._digests, scanned=True), content)

    def sbom(self, repository, image, form):
        return self._scan(repository, image, form)[0]

    def _scan(self, repository, image, form):
        layout = Layout(self._layout, create=True)
        if image.content is not None:
            layout.upload_blob(repository, image.manifest.config["digest"], len(image.content), [image.content])
        mover = BlobMover(self._pool, Pool(lambda: layout, 1))
        for blob in image.manifest.blobs:
            mover.move(repository, repository, blob)
        if self._is_client:
            check_layers(layout.blobs, image)
        layout.put_manifest(repository, image.manifest.digest.replace(":", "-"), image.manifest)
        return self._trivy.scan(self._cache, self._layout, image.manifest.digest, form)


def renamed(content, compared, name):
    """A report of Trivy that names the image, and not the directory in which it lay. Raises ScanError.

    compared says whether Trivy had data of the operating system, which stands nowhere in its report.
    """
    document = read_object(content) or {}
    former, results = document.get("ArtifactName"), document.get("Results") or []
    metadata = document.setdefault("Metadata", {})
    if not isinstance(former, str) or not isinstance(results, list) or not isinstance(metadata, dict):
        raise ScanError("Trivy ended well, and what it wrote is no report of an image", "Update Trivy")
    for result in results:
        if isinstance(result, dict) and isinstance(result.get("Target"), str):
            result["Target"] = result["Target"].replace(former, name, 1)
    document["ArtifactName"] = name
    metadata["RepoDigests"], metadata["Compared"] = [name], compared
    return json.dumps(document).encode()


class ScanRun:
    """One run. Afterwards, results holds what the module returns for each image, and warnings sentences."""

    def __init__(self, params, check_mode, tell=None):
        self._params = params
        self._check_mode = check_mode
        self._tell = tell or (lambda _sentence: None)
        self._now = time.time_ns()
        self._policy = Policy(params["policy"], params["waivers"])
        self._reports = [(path, _read(path)) for path in params["report"] or []]
        self.warnings = []
        self.changed = False

    def run(self, connection):
        """The results, in the order of the images. Raises RegistryError where nothing could be judged at all."""
        try:
            return self._run(connection)
        except OSError as error:
            raise InputError(
                f"{error.filename or 'The temporary directory'} can't be used: {error.strerror or error}",
                "Check the free space and the rights of the temporary directory and of cache_dir",
            ) from None

    def _run(self, connection):
        registry = connection.registry()
        names = self._params["images"] if self._params["image"] is None else [self._params["image"]]
        if not names:
            raise InputError("images is empty, and nothing would be judged", "Give an image, or leave the task out")
        sources = [parse_image(name, registry) for name in names]
        baseline = parse_image(self._params["baseline"], registry) if self._params["baseline"] else None
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(Pool(connection.apis()))
            layout = stack.enter_context(tempfile.TemporaryDirectory(prefix="wharf-scan-"))
            scanner = self._scanner(pool, layout)
            api = stack.enter_context(pool.client())
            scans = baseline is not None or not self._reports
            problem = self._prepare(scanner, registry, stack) if scans else ""
            known = None if baseline is None else self._keys(api, scanner, baseline, problem)
            results = []
            for number, source in enumerate(sources, 1):
                results.append(self._judge_one(api, scanner, source, known, "" if self._reports else problem))
                self._tell(f"{number} of {len(sources)}: {results[-1]['sentence']}")
            return results

    def _scanner(self, pool, layout):
        return Scanner(pool, self._params, self._policy, self._now, layout)

    @staticmethod
    def _prepare(scanner, registry, stack):
        """An empty string, or a sentence on why nothing can be scanned."""
        try:
            scanner.prepare(registry, stack)
        except RegistryError as error:
            if concerns_all(error):
                raise
            return str(error).rstrip(".")
        return ""

    def _keys(self, api, scanner, source, problem):
        """The keys of the findings of the image in production, or None."""
        try:
            if problem:
                raise ScanError(problem)
            subject = Subject(api, source, self._params["platforms"])
            reports = [scanner.report(api, source.repository, image).report for image in subject.images]
        except RegistryError as error:
            if concerns_all(error):
                raise
            self.warnings.append(f"the baseline is not counted, so that all findings are new: {error}")
            return None
        return {finding.key for report in reports for finding in report.findings}

    def _judge_one(self, api, scanner, source, known, problem):
        """The result of an image. Of a list, one that can't be read is refused, and the others are judged."""
        try:
            return self._judge(api, scanner, source, known, problem)
        except RegistryError as error:
            if self._params["image"] is not None or concerns_all(error):
                raise
            verdict = judge({"": str(error).rstrip(".")}, self._policy, self._now, known)
        digest = source.reference if is_digest(source.reference) else ""
        return _result(source, digest, verdict, {}, [])

    def _judge(self, api, scanner, source, known, problem):
        subject = Subject(api, source, self._params["platforms"])
        reports, made = dict(subject.problems), {}
        for image in subject.images:
            found = problem or self._report(api, scanner, subject, image)
            if isinstance(found, Made):
                made[image.platform] = found
            reports[image.platform] = found.report if isinstance(found, Made) else found
        verdict = judge(reports, self._policy, self._now, known)
        origins = {image.platform: image.origin for image in subject.images}
        listed = [
            self._store(api, scanner, source.repository, image, made[image.platform])
            for image in subject.images
            if image.platform in made
        ]
        return _result(source, subject.manifest.digest, verdict, origins, listed)

    def _report(self, api, scanner, subject, image):
        """The Made of an image, or a sentence on why there is none."""
        try:
            if self._reports:
                return self._given(subject, image)
            return scanner.report(api, subject.source.repository, image)
        except RegistryError as error:
            if concerns_all(error):
                raise
            return str(error).rstrip(".")

    def _given(self, subject, image):
        """The Made of the report that is of an image, of those that the options give."""
        for path, content in self._reports:
            report = parse_report(content, path)
            if not report.digests:
                raise InputError(
                    f"{path} does not name the image that it is of", "Make the report of the image by its digest"
                )
            if subject.is_named_by(report.digests, image):
                return self._taken(report, content)
        raise InputError(
            f"no report is of {image.manifest.digest}", "Give the report of this image, made of it by its digest"
        )

    def _taken(self, report, content):
        updated = self._params["database"]["updated"]
        if updated and report.database_date is None:
            report.database_date = parse_created(updated)
            if report.database_date is None:
                raise InputError(f"database.updated is {updated!r}", "Give a time, as 2026-11-30T06:00:00Z")
        dates = [_date(one) for one in (report.created, report.database_date)]
        return Made(report, Facts(dates[0], f"{report.scanner} {report.version}".strip(), dates[1]), content)

    def _store(self, api, scanner, repository, image, made):
        """What is told of one report, which is in the registry afterwards where it is to be."""
        sboms, store = {}, scanner.store(api, repository)
        if self._params["store"] and not made.reused:
            self.changed = self.changed or not store.has(image.manifest, made.content, made.facts)
        if self._params["store"] and not self._check_mode:
            form = self._params["sbom"]
            if form != "none" and not made.reused:
                sboms[form] = store.put(image.manifest, scanner.sbom(repository, image, form), made.facts, form)
            if not made.stored:
                made.stored = store.put(image.manifest, made.content, made.facts)
        return {
            "platform": image.platform,
            "digest": image.manifest.digest,
            "report_digest": made.stored,
            "sbom_digest": sboms.get(self._params["sbom"], ""),
            "scanner": made.facts.scanner,
            "created": made.facts.created,
            "database_date": made.facts.database_date,
            "reused": made.reused,
        }


def _result(source, digest, verdict, origins, listed):
    return {
        "image": str(source),
        "digest": digest,
        "verdict": verdict.verdict,
        "sentence": sentence_of(str(source), verdict, lambda one: _origin(one, verdict, origins)),
        "problems": verdict.problems,
        "findings": [_told(one, origins) for one in verdict.findings],
        "report_digest": listed[0]["report_digest"] if listed else "",
        "reports": listed,
    }


def _date(nanoseconds):
    return "" if nanoseconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(nanoseconds // SECOND))


def _read(path):
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_REPORT + 1)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", "Give the path of a report on this host") from None
    if len(content) > _LARGEST_REPORT:
        raise InputError(f"{path} has more than {_LARGEST_REPORT} bytes", "Check how it was made")
    return content


def _origin(finding, verdict, origins):
    judged = next(one for one in verdict.findings if one.finding is finding)
    return next(filter(None, (origins[one](finding.layer) for one in judged.platforms if one in origins)), "")


def _told(judged, origins):
    one = judged.finding
    return {
        "id": one.id,
        "package": one.package,
        "installed": one.installed,
        "fixed": one.fixed,
        "severity": one.severity,
        "title": one.title,
        "location": one.location,
        "origin": next(filter(None, (origins[name](one.layer) for name in judged.platforms if name in origins)), ""),
        "platforms": judged.platforms,
        "decision": judged.decision,
        "reason": judged.reason,
    }
