# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes an S3 storage for what a registry needs of it, and judges. Private to this collection.

probe() is for the module and for programs without Ansible. What is checked stands in the files beside this one, whose
names begin with probe_, as functions and a table of what each is for.
"""

from __future__ import annotations

import re
import secrets
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._storage import (
    probe_access,
    probe_consistency,
    probe_lists,
    probe_objects,
    probe_parts,
    probe_sharing,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import FlawError, Room
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

# Without the first, the others have nothing to say.
CHECKS = (
    *probe_access.CHECKS,
    *probe_consistency.CHECKS,
    *probe_objects.CHECKS,
    *probe_lists.CHECKS,
    *probe_parts.CHECKS,
    *probe_sharing.CHECKS,
    *probe_access.LAST,
)
# What is checked where nothing may be written.
READING = (*(check for check in CHECKS if check.reads_only), *probe_access.READING_LAST)

_PREFIX = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*\Z")
_LONGEST_PREFIX = 200
# Of the checks behind the first that failed, in one sentence.
_MOST_TOLD = 6
# Of what could not be removed.
_MOST_LEFT = 20


class Probe:
    """One probe of a bucket. `result` is complete after a failure as well.

    prefix is that of a directory of its own for the time of the probe. With reads_only, nothing is written.
    """

    def __init__(self, access, prefix="wharf-probe", repetitions=200, *, reads_only=False, attempts=3):
        prefix = prefix.strip("/")
        if not _PREFIX.match(prefix) or len(prefix) > _LONGEST_PREFIX:
            raise InputError(f"prefix is {prefix!r}", "Give a name of letters, digits and ._- with / between its parts")
        self._reads_only = reads_only
        self._room = Room(access, f"{prefix}/{secrets.token_hex(8)}/", repetitions, attempts)
        self._checks = READING if reads_only else CHECKS
        self.result = {
            "endpoint": access.endpoint,
            "bucket": access.bucket,
            "prefix": self._room.prefix,
            "checks": [],
            "verdict": "unknown",
            "sentence": "",
            "latency": {},
            "left": [],
        }

    def run(self):
        """Runs all checks, removes what they made, and returns the result. What interrupts it is raised after that."""
        try:
            self._run_checks()
        finally:
            self._clean()
        self.result["latency"] = getattr(self._room, "latency", {})
        self.result["verdict"], self.result["sentence"] = judged(self.result, self._reads_only)
        return self.result

    def _run_checks(self):
        for number, check in enumerate(self._checks):
            outcome = _outcome(check, self._room)
            self.result["checks"].append(outcome)
            if outcome["status"] != "passed" and not self._goes_on(number):
                # What was not checked is no yes.
                outcome["status"] = "failed"
                return

    def _goes_on(self, number):
        """Whether the others can be run after one that is not passed."""
        if number:
            try:
                self._room.client.head_bucket()
            except S3Error as error:
                # Without any answer, each of the others would wait as long for it.
                return bool(error.status)
        elif self.result["checks"][0]["status"] == "failed":
            # That of the clock needs an answer of any kind.
            self.result["checks"] += [_outcome(one, self._room) for one in self._checks if one.needs_no_access]
            return False
        return True

    def _clean(self):
        try:
            if self.result["checks"] and self.result["checks"][0]["status"] != "failed" and not self._reads_only:
                left = self._room.empty()
                more = [f"{len(left) - _MOST_LEFT} more"] if len(left) > _MOST_LEFT else []
                self.result["left"] = left[:_MOST_LEFT] + more
        finally:
            self._room.close()


def probe(access, prefix="wharf-probe", repetitions=200, *, reads_only=False):
    """The result of a probe of the bucket of an S3Access: checks, verdict, sentence, latency, left."""
    return Probe(access, prefix, repetitions, reads_only=reads_only).run()


def _outcome(check, room):
    began = time.monotonic()
    told = {"name": check.name, "status": "passed", "seen": "", "breaks": "", "cure": ""}
    try:
        told["seen"] = check.run(room)
    except FlawError as flaw:
        told["status"] = "warning" if flaw.warning or check.only_warns else "failed"
        told.update(seen=flaw.seen, breaks=check.breaks, cure=check.cure)
    except S3Error as error:
        told["status"] = "warning" if check.only_warns else "failed"
        told.update(seen=error.message, breaks=check.breaks, cure=error.cure or check.cure)
    told["seconds"] = round(time.monotonic() - began, 3)
    return told


def judged(result, reads_only):
    """(verdict, sentence) of a result."""
    where = f"The bucket {result['bucket']} at {result['endpoint']}"
    failed = [check for check in result["checks"] if check["status"] == "failed"]
    warned = [check for check in result["checks"] if check["status"] == "warning"]
    left = f" The probe could not remove all that it made: {'; '.join(result['left'])}." if result["left"] else ""
    if failed and failed[0]["name"] == CHECKS[0].name:
        # Nothing is known of the storage itself.
        return "unknown", _sentences(f"{where} can't be probed", failed[:1])
    if failed:
        return "unsuitable", _sentences(f"{where} is not suitable for a registry", failed) + left
    if reads_only:
        return "unknown", f"{where} can be reached. Only a probe that writes can tell whether it is suitable."
    if warned:
        many = "a warning" if len(warned) == 1 else f"{len(warned)} warnings"
        return "suitable", _sentences(f"{where} is suitable for a registry, with {many}", warned) + left
    return "suitable", f"{where} is suitable for a registry.{left}"


def _sentences(begin, checks):
    """The first of them in full, and of the others what was seen."""
    first, *others = checks
    parts = [part.strip().rstrip(".") + "." for part in (first["seen"], first["breaks"], first["cure"]) if part]
    told = "; ".join(f"{check['name']} ({check['seen']})" for check in others[:_MOST_TOLD])
    more = f", and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
    return f"{begin}: {' '.join(parts)}" + (f" Also: {told}{more}." if others else "")
