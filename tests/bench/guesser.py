"""Asks with a right password again and again, and with wrong ones at a rate. Prints how long the right ones took.

Runs in the container `tools`. On its input: a document with host, authorization, seconds and guesses (a second).
"""

from __future__ import annotations

import base64
import collections
import http.client
import json
import ssl
import sys
import threading
import time

GUESSERS = 8


def connect(host: str) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(host, context=ssl.create_default_context(), timeout=60)


def ask(connection: http.client.HTTPSConnection, authorization: str) -> int:
    connection.request("GET", "/v2/", headers={"Authorization": authorization})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def guess(host: str, number: int, every: float, end: float, answers: collections.Counter) -> None:
    connection = connect(host)
    turn = 0
    due = time.monotonic()
    while (due := due + every) < end:
        time.sleep(max(0.0, due - time.monotonic()))
        turn += 1
        wrong = base64.b64encode(f"ci:guess-{number}-{turn}-{end}".encode()).decode()
        answers[ask(connection, f"Basic {wrong}")] += 1


def main() -> None:
    options = json.load(sys.stdin)
    host, seconds = options["host"], options["seconds"]
    connection = connect(host)
    # Remembered from here on.
    status = ask(connection, options["authorization"])
    if status != 200:
        sys.exit(f"the right password was answered by {status}")
    end = time.monotonic() + seconds
    answers: collections.Counter = collections.Counter()
    guessers = [
        threading.Thread(target=guess, args=(host, number, GUESSERS / options["guesses"], end, answers))
        for number in range(GUESSERS if options["guesses"] else 0)
    ]
    for guesser in guessers:
        guesser.start()
    times = []
    while time.monotonic() < end:
        began = time.monotonic()
        if ask(connection, options["authorization"]) != 200:
            sys.exit("a right password was refused")
        times.append(time.monotonic() - began)
        # As a client that has something to do in between.
        time.sleep(0.01)
    for guesser in guessers:
        guesser.join()
    times.sort()
    print(
        json.dumps(
            {
                "p50": times[len(times) // 2],
                "p95": times[len(times) * 95 // 100],
                "guesses": sum(answers.values()) / seconds,
                "answers": {str(status): number for status, number in answers.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
