"""Reads the tables of small files that clients judge."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

AUTH = base64.b64encode(b"ci:geheim-4711").decode()
_OURS = f'"r.example.com": {{"auth": "{AUTH}"}}'


def cases(table: str) -> list[dict]:
    """The rows of a table, each with the bytes of its file under `raw`."""
    rows = yaml.safe_load((Path(__file__).parent / table).read_text(encoding="utf-8"))
    for row in rows:
        text = row["text"].replace("OURS", _OURS)
        row["raw"] = text.encode(row.get("encoding", "utf-8"))
    return rows
