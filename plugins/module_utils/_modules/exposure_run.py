# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of the program exposure: what runs in a fleet is looked for and scanned. Private to this collection."""

from __future__ import annotations

import time

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._exposure.exposure import Exposure
from ansible_collections.wharf.registry.plugins.module_utils._exposure.fleet import merged_hosts
from ansible_collections.wharf.registry.plugins.module_utils._exposure.places import Facts, Place
from ansible_collections.wharf.registry.plugins.module_utils._gate.kept_reports import KeptReports
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import CONNECTION_OPTIONS, completed
from ansible_collections.wharf.registry.plugins.module_utils._modules.scan_run import (
    SCAN_OPTIONS,
    Scanner,
    ScanRun,
    read_again,
)

_PORT = ":443"
# Seconds in which a finding stays known after the last container with it has ended.
_REMEMBERED = 30 * 86400


class _FleetScanner(Scanner):
    """Keeps reports on this host: each night makes new ones, which no one would remove from the registry."""

    def __init__(self, kept, *arguments):
        super().__init__(*arguments)
        self._kept = kept

    def report(self, api, repository, image):
        stored = self._kept.find(image.manifest.digest, self.is_fresh)
        if stored is not None:
            return read_again(stored)
        made = super().report(api, repository, image)
        self._kept.put(image.manifest.digest, made.content, made.facts)
        return made


class _FleetScan(ScanRun):
    def __init__(self, kept, *arguments):
        super().__init__(*arguments)
        self._kept = kept

    def _scanner(self, pool, layout):
        return _FleetScanner(self._kept, pool, self._params, self._policy, self._now, layout)


class ExposureRun:
    """connection and scan: options of registry_scan. reports: a directory of this host for reports that stay good.

    Afterwards, warnings holds sentences. Raises InputError.
    """

    def __init__(self, connection, scan, reports):
        self._connection = Connection(completed(connection, CONNECTION_OPTIONS))
        self._scan = {**completed(scan, SCAN_OPTIONS), "store": False}
        self._reports = reports
        self.warnings = []

    def run(self, look, former, dry_run):
        """The document of an Exposure, by a look at hosts and the document before, or None. Raises RegistryError."""
        hosts = merged_hosts(look, former["hosts"] if former else [])
        name = self._connection.registry().name.lower()
        short = name[: -len(_PORT)] if name.endswith(_PORT) else name
        names = {short, f"{short}{_PORT}" if ":" not in short else short}
        places = [Place(one, names, host["mirrors"]) for host in hosts for one in host["containers"]]
        facts = self._facts(places)
        images = sorted(f"{repository}@{digest}" for (repository, digest), there in facts.images.items() if there)
        results = self._results(images, dry_run)
        now = time.time()
        exposure = Exposure(hosts, names, facts, results, former=former, now=_told(now))
        return exposure.document(look["looked"], _told(now - _REMEMBERED))

    def _facts(self, places):
        tags = {tag for place in places for tag in place.tags}
        images = {image for place in places for image in place.images}
        facts = Facts({}, {}, {})
        with Pool(self._connection.apis()) as pool:
            for asked, digest in pool.map(_asked, sorted(tags | images)):
                if isinstance(digest, RegistryError):
                    facts.problems[asked] = str(digest).rstrip(".")
                elif asked in images:
                    facts.images[asked] = bool(digest)
                else:
                    facts.tags[asked] = digest
        return facts

    def _results(self, images, dry_run):
        if not images:
            return {}
        kept = KeptReports(self._reports, dry_run)
        scan = _FleetScan(kept, {**self._scan, "images": images}, dry_run)
        results = scan.run(self._connection)
        kept.forget_others()
        self.warnings += scan.warnings
        return {one["image"]: one for one in results}


def _told(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _asked(api, asked):
    """(what was asked for, its digest, an empty string, or a RegistryError that concerns it alone)."""
    try:
        found = api.head(*asked)
    except RegistryError as error:
        if concerns_all(error):
            raise
        return asked, error
    return asked, "" if found is None else found.digest
