"""Runs registry_info again and again in one process, and says how often, in how many seconds, and what it found.

Usage: listing.py SECONDS < {"ANSIBLE_MODULE_ARGS": {...}}

Each time it does all that the module does: it reads the CAs, connects, logs in, asks, and closes its connections. Only
the start of Python and the reading of the arguments are outside of the time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("managed")))


def main() -> None:
    from ansible.module_utils import basic
    from ansible_collections.wharf.registry.plugins.modules import registry_info

    basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
    basic._ANSIBLE_PROFILE = "legacy"
    run, budget = registry_info.run, float(sys.argv[1])

    def again_and_again(module: basic.AnsibleModule) -> None:
        results = []
        module.exit_json = lambda **result: results.append(result)
        run(module)
        results.clear()
        began = time.monotonic()
        while time.monotonic() < began + budget:
            run(module)
        seconds = time.monotonic() - began
        found = results[0]["repositories"]
        assert all(result["repositories"] == found for result in results), "two listings differ"
        print(json.dumps({"times": len(results), "seconds": seconds, "repositories": found}))

    registry_info.run = again_and_again
    registry_info.main()


if __name__ == "__main__":
    main()
