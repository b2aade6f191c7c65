# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of each mirror, in a file for people and other programs.

{"mirrors": {NAME: {"began", "ended", "succeeded", "stale_since", "problem", "images", "failed", "copied", "present",
"skipped", "changed", "copied_bytes", "remaining"}}}. Of the images, some were copied, were here, or are left out. Times
are those of RFC 3339 in UTC, and empty where there was none. The last run that copied all succeeded; after a failure,
images are stale since then.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

# Said of an image that need not be copied.
_IS_HERE = ("", "unchanged")
_NEVER = {
    "began": "",
    "ended": "",
    "succeeded": "",
    "stale_since": "",
    "problem": "",
    "images": 0,
    "failed": 0,
    "copied": 0,
    "present": 0,
    "skipped": 0,
    "changed": False,
    "copied_bytes": 0,
    "remaining": -1,
}


class State:
    """The state of the mirrors of these names. A damaged one begins anew: nothing is decided by it."""

    def __init__(self, path, names):
        self._path = path
        found = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(path, encoding="utf-8") as file:
            found = json.load(file)["mirrors"]
        self._mirrors = {name: {**_NEVER, **_known(found, name)} for name in names}

    def begin(self, name):
        self._mirrors[name]["began"] = _now()
        self._write()

    def end(self, name, result, problem):
        """What a run has done: the result of registry_sync, empty where it did not come so far."""
        now, mirror, images = _now(), self._mirrors[name], result.get("images", [])
        failed = sum(1 for image in images if image["error"])
        copied = sum(1 for image in images if image["changed"] and not image["error"])
        skipped = sum(
            1 for image in images if not image["changed"] and not image["error"] and image["skipped"] not in _IS_HERE
        )
        mirror.update(
            ended=now,
            problem=problem,
            images=len(images),
            failed=failed,
            copied=copied,
            present=len(images) - failed - copied - skipped,
            skipped=skipped,
            changed=bool(result.get("changed")),
            copied_bytes=result.get("copied_bytes", 0),
            remaining=result.get("remaining", -1),
        )
        if problem:
            # Since the last success, or since the first run where there was none.
            mirror["stale_since"] = mirror["stale_since"] or mirror["succeeded"] or mirror["began"]
        else:
            mirror.update(succeeded=now, stale_since="")
        self._write()

    def stale_since(self, name):
        return self._mirrors[name]["stale_since"]

    def _write(self):
        new = f"{self._path}.new"
        with open(new, "w", encoding="utf-8") as file:
            json.dump({"mirrors": self._mirrors}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, 0o644)
        os.replace(new, self._path)


def _known(found, name):
    one = found.get(name) if isinstance(found, dict) else None
    return {key: value for key, value in one.items() if key in _NEVER} if isinstance(one, dict) else {}


def _now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
