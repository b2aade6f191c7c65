"""Requests that no library would send, the users who send them, and the secret that they are after."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from front import Front

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "access": "push"},
    {"name": "ci2", "access": "push"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull", "push"]}]},
    {"name": "guest"},
]
SECRET = b"a layer that the team may not have"


def told(proxy: Front, method: str, target: str, *headers: str, body: str = "") -> bytes:
    """What a request is answered that no library would send."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return proxy.raw("\r\n".join([*lines, "", body]).encode("latin-1"), seconds=8)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
