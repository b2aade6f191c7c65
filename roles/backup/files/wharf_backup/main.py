# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of the backup."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Callable

from . import backup, verify
from .common import BackupError, Config, human, maintenance
from .restic import Restic
from .restore import Restore


def _parse(arguments: list[str], config: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Backup and restore of the registry.")
    parser.add_argument("--config", type=Path, default=config, help="another configuration than %(default)s")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="make a backup, apply the retention, and check the repository when that is due")
    commands.add_parser("status", help="what came of the last backup")
    commands.add_parser("snapshots", help="what can be restored")
    verifying = commands.add_parser("verify", help="hash all that any tag reaches, and tell what is missing or damaged")
    verifying.add_argument("--data", type=Path, help="another storage than that of the registry")
    # For the role: whether there is a repository, and to make one.
    commands.add_parser("identity", help="the ID of the repository")
    commands.add_parser("init", help="make the repository")
    accepts = commands.add_parser("accepts", help="whether a password opens the repository, where there is one")
    accepts.add_argument("password_file", type=Path)
    check = commands.add_parser("restore-check", help="whether a restore may begin; nothing is changed")
    fetch = commands.add_parser("restore-fetch", help="get a snapshot and prove it; the registry stays as it is")
    for command in (check, fetch):
        command.add_argument("--snapshot", default="latest")
        command.add_argument("--replace", action="store_true")
        command.add_argument("--without-images", action="store_true")
    fetch.add_argument("--accept-damage", action="store_true")
    for name, what in (
        ("remember", "note which containers run, before they are stopped"),
        ("swap", "put it in place, while the registry is stopped"),
        ("prove", "compare what the registry answers with its disk"),
        ("undo", "put back what was there, while the registry is stopped"),
        ("finish", "remove what was replaced, or what an undone restore has left"),
    ):
        commands.add_parser(f"restore-{name}", help=what)
    return parser.parse_args(arguments)


def _verify(config: Config, data: Path | None) -> dict[str, Any]:
    images = backup.images_of(config)
    with images, maintenance(config):
        found = images.verify(data)
    result = {**found.counts(), "problems": found.problems(), "digests": found.digests()}
    if result["problems"]:
        raise BackupError(
            f"{len(result['problems'])} images in {data or images.place} lack what they need",
            "Push them again, or restore the newest backup from before that happened",
            table=verify.table(result["problems"]),
            **result,
        )
    return result


def _init(config: Config) -> dict[str, Any]:
    restic = Restic(config)
    restic.run("init")
    return {"id": restic.identity()}


def _accepts(config: Config, password_file: Path) -> dict[str, Any]:
    try:
        return {"id": Restic(config, password_file).identity()}
    except BackupError as error:
        if error.details.get("absent"):
            return {}
        raise


def _commands(options: argparse.Namespace, config: Config) -> dict[str, Callable[[], dict[str, Any]]]:
    restore = Restore(config)
    return {
        "run": lambda: backup.run(config),
        "status": lambda: backup.status(config),
        "snapshots": lambda: {"snapshots": Restic(config).snapshots(config.hostname)},
        "verify": lambda: _verify(config, options.data),
        "identity": lambda: {"id": Restic(config).identity()},
        "init": lambda: _init(config),
        "accepts": lambda: _accepts(config, options.password_file),
        "restore-check": lambda: restore.check(
            options.snapshot, replace=options.replace, images=not options.without_images
        ),
        "restore-fetch": lambda: restore.fetch(
            options.snapshot,
            replace=options.replace,
            accept_damage=options.accept_damage,
            images=not options.without_images,
        ),
        "restore-remember": restore.remember,
        "restore-swap": restore.swap,
        "restore-prove": restore.prove,
        "restore-undo": restore.undo,
        "restore-finish": restore.finish,
    }


def _lines(command: str, result: dict[str, Any]) -> list[str]:
    if command in ("run", "status"):
        return backup.lines(result) if result else ["No backup was made yet."]
    if command == "snapshots":
        return [f"{item['short_id']}  {item['time'][:19]}Z" for item in result["snapshots"]] or ["none"]
    if command == "restore-undo":
        start = f"Start what ran: docker start {' '.join(result['running'])}" if result["running"] else "Nothing ran."
        return ["What was there before is back.", start, f"Then run {Path(sys.argv[0]).name} restore-finish."]
    if "blobs" in result:
        return [
            (
                f"{result['repositories']} repositories, {result['tags']} tags, {result['manifests']} manifests, "
                f"{result['blobs']} blobs, {human(result['bytes'])}: all there, all hashed"
            )
        ]
    return [f"{name}: {value}" for name, value in result.items()]


def _stop(_signal: int, _frame: Any) -> None:
    """End as an exception does, so that no copy of a key stays. Once: what cleans up is let end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main(arguments: list[str], config: str) -> int:
    options = _parse(arguments, config)
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _stop)
    try:
        result = _commands(options, Config.read(options.config))[options.command]()
    except (BackupError, OSError) as error:
        if isinstance(error, OSError):
            error = BackupError(f"{error.filename or 'A file'}: {error.strerror}", "Check that file and its disk")
        if options.json:
            print(json.dumps({**error.details, "message": str(error)}))
        else:
            print(
                "\n".join([str(error), *error.details.get("table", []), error.details.get("said", "")]).rstrip(),
                file=sys.stderr,
            )
        return 1
    lines = _lines(options.command, result)
    print(json.dumps({**result, "lines": lines}) if options.json else "\n".join(lines))
    return 0
