# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup becomes a registry again, in steps that a playbook takes one by one.

check     tells whether it may begin, and what a former one has left. Nothing is touched.
fetch     gets a snapshot beside what is there, and proves it. Nothing of the registry is touched.
remember  notes which containers run, before they are stopped.
swap      moves what is there aside and the new in its place. The registry is stopped meanwhile.
prove     asks the registry that runs now for each tag.
undo      moves it all back, as often as it is told to. The registry is stopped meanwhile.
finish    removes what was replaced, or closes a restore that was undone.

The journal says which of them was the last: it is `fetched`, `swapped`, then `proven` or `undone`, then gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import http.client
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from . import backup, staging, storage, verify
from .common import BackupError, Config, human, maintenance, only_one, read_json, unfinished, write_json
from .restic import Restic

# What a replica gives its own directories and files.
DIRECTORY_MODE, FILE_MODE = 0o770, 0o660
# Room that is left free beyond what the snapshot needs.
SPARE_BYTES = 64 << 20
KINDS = (
    "docker.distribution.manifest.v2",
    "docker.distribution.manifest.list.v2",
    "oci.image.manifest.v1",
    "oci.image.index.v1",
)
ACCEPT = ", ".join(f"application/vnd.{kind}+json" for kind in KINDS)


@dataclasses.dataclass(frozen=True)
class Swap:
    """A place, what comes there, and where that goes which is there. All lie in one file system."""

    live: Path
    new: Path
    # Whether something was there before. Where what was there is not kept, it has not moved, or is back.
    had: bool = False

    @property
    def kept(self) -> Path:
        return self.live.with_name(self.live.name + ".replaced")

    def do(self) -> None:
        if self.new.exists():
            if self.live.exists() and not self.kept.exists():
                self.live.rename(self.kept)
            self.new.rename(self.live)

    def undo(self) -> None:
        if self.had and not self.kept.exists():
            return
        # Where the former one is kept, nothing else that has come in its place stays.
        if self.live.exists() and (self.kept.exists() or not self.new.exists()):
            shutil.rmtree(self.new, ignore_errors=True)
            # Somebody may have removed the directory that it came from.
            self.new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.live.rename(self.new)
        if self.kept.exists() and not self.live.exists():
            self.kept.rename(self.live)


class Restore:
    """One restore on this host, from its first step to its last. Where it is lies in a file."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._journal = config.journal
        # Beside what it is to replace, so that to move it takes no time and no room.
        self._work = config.data / ".restore"

    def _swaps(self) -> list[Swap]:
        return [Swap(Path(live), Path(new), *had) for live, new, *had in read_json(self._journal).get("swaps", [])]

    def _alone(self) -> contextlib.AbstractContextManager:
        """A backup that the timer has started is let end: to fail would leave the registry stopped."""
        return only_one(self._config, self._config.lock_seconds)

    def _phase(self, *expected: str) -> dict[str, Any]:
        journal = read_json(self._journal)
        if journal.get("phase") not in expected:
            raise BackupError("No restore is at this step", "Run the playbook restore from its beginning")
        return journal

    def _enter(self, phase: str, **more: Any) -> None:
        write_json(self._journal, {**read_json(self._journal), **more, "phase": phase})

    def check(self, wanted: str, *, replace: bool) -> dict[str, Any]:
        """Whether a restore may begin; in either case the phase in which a former one was interrupted."""
        with self._alone():
            phase = read_json(self._journal).get("phase", "")
            try:
                snapshot = self._check(Restic(self._config), wanted, replace)
            except BackupError as error:
                error.details.setdefault("phase", phase)
                raise
        return {"phase": phase, "snapshot": snapshot["short_id"]}

    def _check(self, restic: Restic, wanted: str, replace: bool) -> dict[str, Any]:
        former = unfinished(self._config)
        # What is in place may have been pushed to since.
        if former and former.details["phase"] == "swapped" and not replace:
            raise former
        self._refuse_to_overwrite(replace)
        backup.open_repository(self._config, restic)
        restic.unlock()
        return self._snapshot(restic, wanted)

    def fetch(self, wanted: str, *, replace: bool, accept_damage: bool) -> dict[str, Any]:
        """Get a snapshot and prove it."""
        began = time.monotonic()
        with self._alone():
            restic = Restic(self._config)
            snapshot = self._check(restic, wanted, replace)
            self._end_former()
            self._refuse_kept()
            self._config.data.mkdir(parents=True, exist_ok=True)
            self._refuse_without_room(restic, snapshot)
            try:
                self._work.mkdir(mode=0o700)
                self._get(restic, snapshot)
                facts = self._assemble(snapshot)
                found = self._prove_files(accept_damage=accept_damage)
                self._give_to_owners(facts)
                swaps = self._place_settings(facts)
            except BaseException:
                self._remove_fetched()
                raise
            swaps.insert(0, Swap(self._config.data / "docker", self._work / "docker"))
            self._enter("fetched", swaps=[[str(swap.live), str(swap.new)] for swap in swaps], owner=facts["owner"])
        return {
            "snapshot": snapshot["short_id"],
            "made": snapshot["time"][:19] + "Z",
            **found.counts(),
            "problems": found.problems(),
            "seconds": round(time.monotonic() - began, 1),
        }

    def _end_former(self) -> None:
        """What a run that was killed has left."""
        journal = read_json(self._journal)
        if journal:
            with maintenance(self._config, exclusive=True):
                proven = journal["phase"] == "proven"
                if not proven:
                    self._undo()
                # What is stopped since then is remembered, until this restore has ended.
                if proven or not journal.get("running"):
                    self._finish()
        self._remove_fetched()

    def _remove_fetched(self) -> None:
        """What was brought and is not in place. It has a copy of the keys."""
        shutil.rmtree(self._work, ignore_errors=True)
        for directory in self._config.settings:
            shutil.rmtree(_beside(directory), ignore_errors=True)

    def _refuse_kept(self) -> None:
        for live in [self._config.data / "docker", *self._config.settings]:
            kept = Swap(live, _beside(live)).kept
            if kept.exists():
                raise BackupError(f"{kept} is there, and no restore is under way", "Move it away")

    def _refuse_to_overwrite(self, replace: bool) -> None:
        names = list(storage.names(self._config.data / storage.ROOT))
        keys = [key for directory in self._config.settings for key in directory.rglob("ca.key")]
        if replace or not (names or keys):
            return
        there = f"{len(names)} repositories in {self._config.data}" if names else f"a CA of its own, {keys[0]}"
        raise BackupError(
            f"This host has a registry: {there}",
            "Restore onto another host, or give -e restore_replace=true, which keeps what is there until the new one "
            "is proven",
        )

    def _snapshot(self, restic: Restic, wanted: str) -> dict[str, Any]:
        found = restic.snapshots(self._config.hostname)
        if not found:
            others = sorted({item["hostname"] for item in restic.all_snapshots()})
            raise BackupError(
                f"{restic} has no backup of {self._config.hostname}, but of {', '.join(others) or 'none'}",
                "Set registry_hostname to the name that the registry had",
            )
        if wanted == "latest":
            return found[-1]
        named = [item for item in found if item["id"].startswith(wanted)]
        if len(named) == 1:
            return named[0]
        known = ", ".join(f"{item['short_id']} ({item['time'][:16]}Z)" for item in found[-10:])
        raise BackupError(
            f"{restic} has {'more than one' if named else 'no'} snapshot {wanted} of {self._config.hostname}",
            f"Set restore_snapshot to latest or to one of them; the newest are {known}",
        )

    def _refuse_without_room(self, restic: Restic, snapshot: dict[str, Any]) -> None:
        needed = restic.size_of(snapshot["id"]) + SPARE_BYTES
        about = os.statvfs(self._config.data)
        free = about.f_bavail * about.f_frsize
        if free < needed:
            raise BackupError(
                f"{self._config.data} has {human(free)} free, and the snapshot needs {human(needed)} more",
                "Make room, or set registry_data_directory to a larger file system. Nothing was changed",
            )

    def _get(self, restic: Restic, snapshot: dict[str, Any]) -> None:
        restic.restore(snapshot["id"], str(self._work / "files"))
        os.sync()

    def _assemble(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """Make a storage of the links and the blobs; return the facts that the backup has noted."""
        places = [self._work / "files" / path.lstrip("/") for path in snapshot["paths"]]
        staged = next((place for place in places if (place / staging.FACTS).is_file()), None)
        facts = read_json(staged / staging.FACTS) if staged else {}
        if not staged or facts.get("format") != backup.FORMAT:
            raise BackupError(
                f"Snapshot {snapshot['short_id']} is none that this version of the collection can read",
                "Restore it with the version of the collection that made it",
            )
        (staged / "docker").rename(self._work / "docker")
        blobs = self._work / "files" / facts["blobs"].lstrip("/")
        if blobs.is_dir():
            blobs.rename(self._work / storage.ROOT / "blobs")
        (staged / staging.SETTINGS).rename(self._work / "settings")
        shutil.rmtree(self._work / "files")
        return facts

    def _prove_files(self, *, accept_damage: bool) -> verify.Survey:
        root = self._work / storage.ROOT
        found = verify.survey(root, [storage.read(root, name) for name in sorted(storage.names(root))])
        verify.hash_all(root, found)
        problems = found.problems()
        if problems and not accept_damage:
            raise BackupError(
                f"The snapshot is not whole: {len(problems)} of its images lack what they need",
                "Try an older one by -e restore_snapshot=ID, or take this one by -e restore_accept_damage=true and "
                "push those images again. Nothing was changed",
                table=verify.table(problems),
            )
        # A blob that was just being written when it was saved, or is damaged, would pass for a good one at a push.
        good = (found.reached | found.linked) - found.bad.keys()
        for blob in (root / "blobs").glob("*/*/*"):
            if f"{blob.parts[-3]}:{blob.name}" not in good:
                shutil.rmtree(blob)
        return found

    def _give_to_owners(self, facts: dict[str, Any]) -> None:
        """Accounts have other numbers here. Where there are none yet all is root's, until the roles have made them."""
        user, group = _numbers(*facts["owner"])
        for path in _walk(self._work / "docker"):
            os.chown(path, user, group, follow_symlinks=False)
            os.chmod(path, DIRECTORY_MODE if path.is_dir() else FILE_MODE)
        # The role looks at this one to know whether what is in it belongs to the account.
        if not (self._config.data / "docker").exists():
            os.chown(self._config.data, user, group)
        for path in _walk(self._work / "settings"):
            os.chown(path, 0, 0, follow_symlinks=False)
        for name, (user_name, group_name, mode) in facts["owners"].items():
            path = self._work / "settings" / name.lstrip("/")
            os.chown(path, *_numbers(user_name, group_name), follow_symlinks=False)
            if not path.is_symlink():
                os.chmod(path, mode)

    def _place_settings(self, facts: dict[str, Any]) -> list[Swap]:
        """Copy the settings to the file system where they belong."""
        unknown = [path for path in facts["settings"] if Path(path) not in self._config.settings]
        if unknown:
            raise BackupError(
                f"The backup has settings in {', '.join(unknown)}, where this inventory has none",
                "Set registry_config_directory, certificate_directory and reverse_proxy_config_directory as they were",
            )
        swaps = []
        for path in map(Path, facts["settings"]):
            new = _beside(path)
            shutil.rmtree(new, ignore_errors=True)
            new.parent.mkdir(parents=True, exist_ok=True)
            _copy(self._work / "settings" / path.relative_to("/"), new)
            swaps.append(Swap(path, new))
        shutil.rmtree(self._work / "settings")
        return swaps

    def remember(self) -> dict[str, Any]:
        """Note what runs before it is stopped, so that an undo in a later run starts it, too; return what runs."""
        with self._alone():
            journal = self._phase("fetched", "swapped", "undone")
            runs = _running(self._config)
            # What runs later is the new registry's.
            if journal["phase"] == "fetched":
                self._enter("fetched", running=sorted({*journal.get("running", []), *runs}))
        return {"running": runs}

    def swap(self) -> dict[str, Any]:
        """Put the new in place. The registry does not run."""
        with self._alone(), maintenance(self._config, exclusive=True):
            self._phase("fetched")
            _refuse_while_it_runs(self._config)
            self._enter(
                "swapped", swaps=[[str(swap.live), str(swap.new), swap.live.exists()] for swap in self._swaps()]
            )
            for swap in self._swaps():
                swap.do()
        return {}

    def undo(self) -> dict[str, Any]:
        """Put back what was there; return which containers ran then. They are started before it is closed."""
        with self._alone(), maintenance(self._config, exclusive=True):
            journal = self._phase("fetched", "swapped", "undone")
            self._undo()
        return {"running": journal.get("running", [])}

    def _undo(self) -> None:
        """To be killed at any moment of it, and begun again."""
        swaps = self._swaps()
        # Before, nothing was moved; afterwards, all is back.
        if read_json(self._journal).get("phase") == "swapped":
            _refuse_while_it_runs(self._config)
            for swap in reversed(swaps):
                swap.undo()
            os.sync()
        self._enter("undone")
        for swap in swaps:
            shutil.rmtree(swap.new, ignore_errors=True)
        shutil.rmtree(self._work, ignore_errors=True)

    def prove(self) -> dict[str, Any]:
        """Ask a replica for each tag, and the proxy whether it answers. Both must agree with the disk."""
        with self._alone():
            self._phase("swapped")
            root = self._config.data / storage.ROOT
            expected = [storage.read(root, name) for name in sorted(storage.names(root))]
            wrong = list(_different(self._config, expected))
            if wrong:
                raise BackupError(
                    f"The registry answers otherwise than its disk for {len(wrong)} tags",
                    f"Look at docker logs {self._config.instance.registry}-1",
                    table=verify.table(wrong),
                )
            status = _proxy_status(self._config)
            self._enter("proven")
        return {"tags": sum(len(item.tags) for item in expected), "proxy": status}

    def finish(self) -> dict[str, Any]:
        """The former registry goes, once the new one is proven; or the restore is closed that was undone."""
        with self._alone():
            self._phase("proven", "undone")
            self._finish()
        return {}

    def _finish(self) -> None:
        proven = read_json(self._journal).get("phase") == "proven"
        if proven:
            # From here on, the new one is all there is.
            os.sync()
        for swap in self._swaps():
            shutil.rmtree(swap.kept if proven else swap.new, ignore_errors=True)
        shutil.rmtree(self._work, ignore_errors=True)
        self._journal.unlink()


def _beside(live: Path) -> Path:
    """Where the settings come before they take the place of others."""
    return live.with_name(live.name + ".restored")


def _running(config: Config) -> list[str]:
    """The containers of the registry that run."""
    command = ["docker", "ps", "--filter", f"label={config.instance.label}", "--format", "{{.Names}}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    if done.returncode != 0:
        raise BackupError(f"docker ps failed: {done.stderr.strip()[:600]}", "Look at systemctl status docker")
    return sorted(done.stdout.split())


def _refuse_while_it_runs(config: Config) -> None:
    """What it has opened it would go on writing to, wherever that is moved."""
    runs = _running(config)
    if runs:
        raise BackupError(f"The registry runs: {', '.join(runs)}", f"Stop it: docker stop {' '.join(runs)}")


def _numbers(user: str, group: str) -> tuple[int, int]:
    """The numbers that names have here; root's where there are none."""
    numbers = [0, 0]
    with contextlib.suppress(KeyError):
        numbers[0] = pwd.getpwnam(user).pw_uid
    with contextlib.suppress(KeyError):
        numbers[1] = grp.getgrnam(group).gr_gid
    return numbers[0], numbers[1]


def _walk(top: Path) -> Iterator[Path]:
    yield top
    for base, directories, files in os.walk(top):
        for name in directories + files:
            yield Path(base, name)


def _copy(source: Path, target: Path) -> None:
    """Copy a tree with its owners and modes, which shutil alone leaves out."""
    shutil.copytree(source, target, symlinks=True)
    for path in _walk(source):
        about = path.lstat()
        os.chown(target / path.relative_to(source), about.st_uid, about.st_gid, follow_symlinks=False)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a connection that somebody else makes."""

    def __init__(self, host: str, connect: Callable[[], socket.socket]) -> None:
        super().__init__(host, timeout=60)
        self._connect = connect

    def connect(self) -> None:
        self.sock = self._connect()


def _unix(path: Path) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(60)
        made.connect(str(path))
        return made

    return connect


def _different(config: Config, expected: list[storage.Repository]) -> Iterator[dict[str, str]]:
    """The tags that a replica does not answer with the digest that the disk has."""
    sockets = sorted(config.sockets.glob("registry-*.sock"))
    if not sockets:
        raise BackupError(f"No replica listens in {config.sockets}", "Look at docker ps")
    client = _SocketConnection("registry", _unix(sockets[0]))
    with contextlib.closing(client):
        for repository in expected:
            for tag, digest in repository.tags.items():
                try:
                    client.request("HEAD", f"/v2/{repository.name}/manifests/{tag}", headers={"Accept": ACCEPT})
                    answer = client.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException) as error:
                    raise BackupError(f"{sockets[0]} does not answer: {error}", "Look at docker ps") from None
                said = answer.headers.get("Docker-Content-Digest", "")
                if answer.status != 200 or said != digest:
                    what = "another digest" if answer.status == 200 else f"answered {answer.status}"
                    yield {"image": f"{repository.name}:{tag}", "problem": what, "digest": said or digest}


def _proxy_status(config: Config) -> int:
    """What the proxy says to somebody without a password, over TLS with the CA that was restored."""
    address = config.addresses[0] if config.addresses else "127.0.0.1"
    ca = config.ca if Path(config.ca).exists() else None

    def connect() -> socket.socket:
        plain = socket.create_connection((address, config.port), timeout=30)
        return ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=config.hostname)

    client = _SocketConnection(config.hostname, connect)
    try:
        with contextlib.closing(client):
            client.request("GET", "/v2/")
            status = client.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise BackupError(
            f"The proxy does not answer on {address}:{config.port} as {config.hostname}: {error}",
            f"Look at docker logs {config.instance.proxy}",
        ) from None
    # To know nobody is right. 403 comes where this address may not ask.
    if status not in (200, 401, 403):
        raise BackupError(f"The proxy answered {status}", f"Look at docker logs {config.instance.proxy}")
    return status
