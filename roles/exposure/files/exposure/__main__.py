# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scans what runs in the fleet, by the settings of the role exposure: exposure run|look SETTINGS.

What the hosts told lies in a file that playbooks/exposure.yml writes. `run` writes the exposure and a summary of it
beside it. `look` takes what they tell from its standard input, and writes a summary to its standard output and nothing
else. Ends with status 1 where no image could be judged. Needs Python 3.8 and Trivy.
"""

from __future__ import annotations

import json
import os
import sys

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._exposure.exposure import (
    is_document,
    why_nothing_was_judged,
)
from ansible_collections.wharf.registry.plugins.module_utils._exposure.lines import lines_of
from ansible_collections.wharf.registry.plugins.module_utils._exposure.report import report_of
from ansible_collections.wharf.registry.plugins.module_utils._modules.exposure_run import ExposureRun

# What a play needs of it.
_SUMMARY = ("created", "complete", "keep_digests")


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in ("run", "look"):
        return "usage: exposure run|look SETTINGS"
    looks = arguments[0] == "look"
    try:
        settings = _read(arguments[1])
        look = json.load(sys.stdin) if looks else _read(settings["look"])
        exposure = ExposureRun(settings["connection"], settings["scan"], settings["reports"])
        document = exposure.run(look, _former(settings["exposure"]), looks)
        summary = {name: document[name] for name in _SUMMARY}
        summary.update(lines=lines_of(document), warnings=exposure.warnings, new=len(document["new"]))
        summary["report"] = report_of(document)
        summary["failure"] = why_nothing_was_judged(document)
        if looks:
            print(json.dumps(summary))
            return 0
        _write(settings["exposure"], document)
        _write(settings["summary"], summary)
    except RegistryError as error:
        return f"wharf-registry: exposure: {error}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"wharf-registry: {arguments[1]} or what it names can't be used: {error!r}. Run exposure.yml again."
    # Before the sentence on why it failed, which would overtake them.
    print("\n".join([*summary["lines"], *(f"Warning: {one}" for one in exposure.warnings)]), flush=True)
    return f"wharf-registry: exposure: {summary['failure']}" if summary["failure"] else 0


def _read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _former(path):
    """The exposure before, or None. A damaged one begins anew."""
    try:
        found = _read(path)
    except (OSError, ValueError):
        return None
    return found if is_document(found) else None


def _write(path, document):
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
