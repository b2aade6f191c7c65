"""One attacker. Reads a plan (one line of JSON) from standard input, and says "on" when it is under way.

When that input ends it says what it was answered, and ends, too: so it never outlives the tests. It is a process of its
own, which runs at a low priority: the bench measures what the server withstands, and not who gets the processor.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time

import http1
import http2
from common import Plan

KINDS = {"flood": http1.flood, "hold": http1.hold, "streams": http2.streams, "frames": http2.frames}


def stop(plan: Plan) -> None:
    sys.stdin.read()
    plan.end = 0


def main() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.stack_size(256 * 1024)
    plan = Plan(**json.loads(sys.stdin.readline()))
    threading.Thread(target=stop, args=(plan,), daemon=True).start()
    threads = [
        threading.Thread(target=KINDS[plan.kind], args=(plan, number), daemon=True)
        for number in range(plan.options["connections"])
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + plan.options.get("ready", 3)
    while len(plan.engaged) < len(threads) and time.monotonic() < until:
        time.sleep(0.05)
    print("on", flush=True)
    while not plan.over():
        time.sleep(0.05)
    with plan.lock:
        print(json.dumps(plan.answers), flush=True)
    # Its connections end with it.


if __name__ == "__main__":
    main()
