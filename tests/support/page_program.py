"""The program that keeps the data of the page up to date, run on the storage of a Front as its unit runs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import programs
from ansible_collections.wharf.registry.plugins.filter.access_rules import access_rules
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.page_policies import page_policies
from engine import wait_for
from front import ACCOUNT
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from front import Front

ROLES = ROOT / "roles"
PROGRAM = ROLES / "reverse_proxy" / "files" / "page_index"
COLLECTOR = ROLES / "maintenance" / "files" / "collector"


def install(place: Path) -> Path:
    """The program as the role installs it, with what it imports."""
    return programs.install(PROGRAM, place, **{name: COLLECTOR / name for name in ("wharf_storage", "wharf_bucket")})


class PageProgram:
    """What the unit starts. Settings may be given beside those that the role would write."""

    def __init__(self, front: Front, users: list[dict], python: str = sys.executable, **settings: object) -> None:
        self.front = front
        self.python = python
        self.place = install(front.directory / "page-program")
        self.state = front.directory / "page-state"
        self.state.mkdir(exist_ok=True)
        self.data = front.directory / "page" / "data"
        self.data.mkdir(exist_ok=True)
        self.data.chmod(0o2750)
        os.chown(self.data, -1, ACCOUNT)
        self.process: subprocess.Popen | None = None
        self.errors = front.directory / "page-errors"
        access = access_rules(users, front.options.get("reverse_proxy_anonymous_pull", ()))
        self.settings = {
            "storage": str(front.directory / "storage"),
            "s3": "",
            "host": "here",
            "others": [],
            "log": str(front.directory / "log" / "requests.log"),
            "data": str(self.data),
            "catalog": str(self.state / "catalog.db"),
            "registry": f"localhost:{front.port}",
            "policies": list(page_policies(access).values()),
            "retention": [],
            "keep_digests": [],
            "running": str(front.directory / "running.json"),
            "gate": {"keys": [], "policy": {}, "waivers": [], "cache": ""},
            "signs": [str(front.directory / "report.json")],
            "fleet": {"name": "here", "reports": str(front.directory / "reports")},
            **settings,
        }

    def start(self, **settings: object) -> None:
        self.settings.update(settings)
        path = self.front.directory / "page.json"
        path.write_text(json.dumps(self.settings))
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen([self.python, "-B", str(self.place), str(path)], stderr=errors)

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(timeout=20)
            self.process = None

    def complained(self) -> str:
        return self.errors.read_text()

    # ---- what a browser gets -----------------------------------------------------------------------------------------

    def get(self, user: str, path: str) -> object | None:
        """The document at a path below /page/data/, or None where there is none for this user."""
        answer = self.front.client(user).ask("GET", f"/page/data/{path}")
        return json.loads(answer.body) if answer.status == 200 else None

    def rows(self, user: str) -> dict[str, dict]:
        """The repositories that a page would show, by name."""
        index = self.get(user, "index.json")
        if index is None:
            return {}
        base = self.get(user, index["base"]) or {"columns": [], "rows": []}
        rows = {row[0]: dict(zip(base["columns"], row, strict=True)) for row in base["rows"]}
        for change in index["changes"]:
            if isinstance(change, dict):
                rows.pop(change["gone"], None)
            else:
                rows[change[0]] = dict(zip(base["columns"], change, strict=True))
        return rows

    def details(self, user: str, repository: str) -> dict | None:
        return self.get(user, f"repositories/{repository}.json")

    def wait_until_complete(self, user: str) -> None:
        wait_for("an index", lambda: (self.get(user, "index.json") or {}).get("complete"))


@contextlib.contextmanager
def running(front: Front, users: list[dict], **options: object) -> Iterator[PageProgram]:
    """The program, which has looked at all of the storage, stopped in the end."""
    program = PageProgram(front, users, **options)
    program.start()
    try:
        yield program
    finally:
        program.stop()
