# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all parts of the backup share: errors with their cure, the configuration, locks, files replaced in one step."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator


class BackupError(Exception):
    """What went wrong, and the cure: two sentences for the reader of the journal or the play. Never holds a secret."""

    def __init__(self, message: str, cure: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message, self.cure, self.details = message, cure, details

    def __str__(self) -> str:
        parts = [part.strip().rstrip(".") for part in (self.message, self.cure) if part]
        return ". ".join(parts) + "."


@dataclasses.dataclass(frozen=True)
class Instance:
    """What the parts of this registry are called on its host, which may have another one."""

    # The replicas are this with a hyphen and a number; snapshots have it as their tag.
    registry: str = "wharf-registry"
    proxy: str = "wharf-proxy"
    # Of its containers.
    label: str = "registry.wharf.role"
    # This command, and its unit.
    backup: str = "wharf-registry-backup"
    # Held by the one backup or restore that runs.
    lock: str = "/run/wharf-registry-backup.lock"
    # The collection of garbage takes this lock alone, and programs that read the storage as a whole share it.
    maintenance_lock: str = "/run/wharf-registry-maintenance/lock"


@dataclasses.dataclass(frozen=True)
class Config:
    """What the role wrote for this host. By `hostname`, the registry's, a new host goes on with the same series."""

    hostname: str
    repository: str
    directory: Path
    state: Path
    data: Path
    # Directories of the registry, the proxy and the certificate. None lies in another.
    settings: list[Path]
    port: int
    addresses: list[str]
    ca: str
    sockets: Path
    keep: dict[str, int]
    check_days: int
    check_percent: float
    lock_seconds: int
    compression: str
    s3_region: str
    instance: Instance = dataclasses.field(default_factory=Instance)
    # Whether images are objects of a bucket, and are copied to a second one.
    in_bucket: bool = False

    @classmethod
    def read(cls, path: Path) -> Config:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            known = {
                **raw,
                "directory": path.parent,
                "settings": _outermost([Path(item) for item in raw["settings"]]),
                # Some versions of Ansible write numbers as texts.
                "keep": {name: int(number) for name, number in raw["keep"].items()},
                "instance": Instance(**raw.get("instance", {})),
            }
            for name, kind in _KINDS.items():
                known[name] = kind(raw[name])
            return cls(**known)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{path} can't be read: {error!r}", "Run the playbook backup for this host") from None

    @property
    def staging(self) -> Path:
        return self.state / "staging"

    @property
    def result(self) -> Path:
        return self.state / "last.json"

    @property
    def journal(self) -> Path:
        """Where a restore is that has begun and not ended."""
        return self.state / "restore.json"


_KINDS = {
    "state": Path,
    "data": Path,
    "sockets": Path,
    "port": int,
    "check_days": float,
    "check_percent": float,
    "lock_seconds": int,
}


def _outermost(paths: list[Path]) -> list[Path]:
    """The directories without those that lie in another one of them."""
    return sorted(path for path in set(paths) if not any(other in path.parents for other in paths))


@contextlib.contextmanager
def lock(path: Path, *, exclusive: bool, seconds: float, otherwise: BackupError) -> Iterator[None]:
    """Hold a lock, or raise `otherwise` when it is not to be had in time. The kernel frees it in every ending."""
    # A directory of /run is gone after a restart of the host.
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # A program that can read it can hold it, and flock(1) makes it for all to read.
        os.fchmod(descriptor, 0o600)
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise otherwise from None
                time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


def only_one(config: Config, seconds: float = 0, *, exclusive: bool = True) -> contextlib.AbstractContextManager:
    return lock(
        Path(config.instance.lock),
        exclusive=exclusive,
        seconds=seconds,
        otherwise=BackupError("A backup or a restore of this registry runs already", "Wait until it has ended"),
    )


def maintenance(config: Config, *, exclusive: bool = False) -> contextlib.AbstractContextManager:
    return lock(
        Path(config.instance.maintenance_lock),
        exclusive=exclusive,
        seconds=config.lock_seconds,
        otherwise=BackupError(
            f"{config.instance.maintenance_lock} was held by others for {config.lock_seconds:.0f} s, such as a "
            "collection of garbage",
            "Run it again when that has ended",
        ),
    )


def write_json(path: Path, value: Any) -> None:
    """Replace a file in one step, so that it outlasts a loss of power. Only root can read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Bring to the disk which files a directory has."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """What a file of ours holds; nothing where there is none, or it was torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def unfinished(config: Config) -> BackupError | None:
    """What stands of a restore that runs or was interrupted, and how it is ended; None where there is none."""
    journal = read_json(config.journal)
    phase = journal.get("phase")
    if not phase:
        return None
    message, cure = _UNFINISHED[phase]
    ran = " ".join(journal.get("running", [])) or "none"
    return BackupError(message, cure.format(ran=ran, command=config.instance.backup), phase=phase)


# By the phase in the journal.
_UNFINISHED = {
    "fetched": (
        "A restore runs on this host, or was interrupted before it replaced anything",
        'Let it end. Where none runs, "{command} restore-undo" removes what it brought',
    ),
    "swapped": (
        "A restore runs on this host, or was interrupted when the new registry was in place and not yet proven",
        (
            'Let it end. Where none runs, keep the new one by "{command} restore-prove && '
            '{command} restore-finish", or put back the former one, which loses what was pushed since, by '
            '"{command} restore-undo", or by the playbook restore with -e restore_replace=true'
        ),
    ),
    "undone": (
        "A restore was undone, and is not closed. What was there before is back",
        'Start the containers that ran before it ({ran}), and run "{command} restore-finish"',
    ),
    "proven": (
        "A restore has succeeded, and what it replaced is not yet removed",
        'Let it end. Where none runs, run "{command} restore-finish"',
    ),
}


def human(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
