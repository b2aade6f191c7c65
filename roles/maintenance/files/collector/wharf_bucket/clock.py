# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time by S3. The clock of a host may be off by up to 15 minutes, which S3 takes, and would tell ages wrong."""

from __future__ import annotations

import datetime
import re
import time

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)\Z")
_UTC = datetime.timezone.utc


def seconds_of(listed):
    """When an object was written. Servers cut fractions off: it counts as a second younger."""
    found = _STAMP.match(listed.modified or "")
    if found is None:
        raise S3Error(
            f"The storage lists {listed.key} without the time of its change, and nothing more is removed",
            "Look for a newer version of the storage, or use another one",
        )
    return datetime.datetime.fromisoformat(found[1]).replace(tzinfo=_UTC).timestamp() + 1


def now_by(client):
    """Now, as the last answer has told it, which has just come."""
    if client.clock_ahead is None:
        raise S3Error(
            "The storage does not tell its time, and nothing more is removed: ages of objects are told by it",
            "Let no proxy between this host and the storage remove the header Date",
        )
    return time.time() - client.clock_ahead
