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
import grp
import os
import pwd
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

from wharf_storage.files import Directory, remove_tree

from . import answers, backup, staging, storage, verify
from .common import BackupError, Config, human, maintenance, only_one, read_json, unfinished, write_json
from .on_disk import BUCKET_FORMAT, FORMAT
from .places import Swap, beside, copy, private_directory, there, walk
from .restic import FILES, Restic, by_descriptor

# What a replica gives its own directories and files.
DIRECTORY_MODE, FILE_MODE = 0o770, 0o660
# Where a snapshot is brought, in the storage.
WORK = ".restore"
# Room that is left free beyond what the snapshot needs.
SPARE_BYTES = 64 << 20


class Restore:
    """One restore on this host, from its first step to its last. Where it is lies in a file."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._journal = config.journal
        # Beside what it is to replace, so that to move it takes no time and no room. Of a bucket, it has links alone.
        self._base = config.state if config.in_bucket else config.data
        self._work = self._base / WORK

    def _swaps(self, work: Path) -> list[Swap]:
        """Those of the journal. What was brought for the storage is found in the open directory."""
        found = []
        for live, new, *had in read_json(self._journal).get("swaps", []):
            place = Path(new)
            found.append(Swap(Path(live), work / place.name if place.parent == self._work else place, *had))
        return found

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

    def _images(self, *, wanted: bool | None = None) -> contextlib.AbstractContextManager:
        """Where images go that are objects; None where they are files, or are not to be touched."""
        if wanted is None:
            wanted = read_json(self._journal).get("images", True)
        if not self._config.in_bucket or not wanted:
            return contextlib.nullcontext()
        # What it imports is there only where images are objects.
        from .in_bucket.restoring import BucketRestore  # noqa: PLC0415 - see above

        return BucketRestore(self._config)

    def check(self, wanted: str, *, replace: bool, images: bool = True) -> dict[str, Any]:
        """Whether a restore may begin; in either case the phase in which a former one was interrupted."""
        with self._alone():
            phase = read_json(self._journal).get("phase", "")
            try:
                snapshot = self._check(Restic(self._config), wanted, replace=replace, images=images)
            except BackupError as error:
                error.details.setdefault("phase", phase)
                raise
        return {"phase": phase, "snapshot": snapshot["short_id"], "made": snapshot["time"][:19] + "Z"}

    def _check(self, restic: Restic, wanted: str, *, replace: bool, images: bool) -> dict[str, Any]:
        former = unfinished(self._config)
        # What is in place may have been pushed to since.
        if former and former.details["phase"] == "swapped" and not replace:
            raise former
        self._refuse_to_overwrite(replace)
        backup.open_repository(self._config, restic)
        restic.unlock()
        with self._images(wanted=images) as bucket:
            if bucket:
                bucket.refuse_used(restic.identity())
        return self._snapshot(restic, wanted)

    def fetch(self, wanted: str, *, replace: bool, accept_damage: bool, images: bool = True) -> dict[str, Any]:
        """Get a snapshot and prove it."""
        began = time.monotonic()
        with self._alone():
            restic = Restic(self._config)
            snapshot = self._check(restic, wanted, replace=replace, images=images)
            self._end_former()
            self._refuse_kept()
            self._base.mkdir(parents=True, exist_ok=True)
            self._refuse_without_room(restic, snapshot)
            try:
                with private_directory(self._base, WORK) as work, self._images(wanted=images) as bucket:
                    restic.restore(snapshot["id"], work.descriptor)
                    os.sync()
                    place = by_descriptor(work.descriptor)
                    facts = _assemble(place, snapshot, self._config)
                    found = self._prove_images(bucket, place, accept_damage=accept_damage)
                    self._give_to_owners(place, facts)
                    swaps = self._place_settings(place, facts)
            except BaseException:
                self._remove_fetched()
                raise
            if not self._config.in_bucket:
                swaps.insert(0, Swap(self._config.data / "docker", self._work / "docker"))
            self._enter(
                "fetched",
                swaps=[[str(swap.live), str(swap.new)] for swap in swaps],
                owner=facts["owner"],
                images=images,
            )
        return {
            "snapshot": snapshot["short_id"],
            "made": snapshot["time"][:19] + "Z",
            **(found.counts() if found else facts["counts"]),
            "problems": found.problems() if found else [],
            "seconds": round(time.monotonic() - began, 1),
        }

    def _prove_images(self, bucket: Any, work: Path, *, accept_damage: bool) -> verify.Survey | None:
        """What was brought, all of which is hashed. Nothing where no images are."""
        if bucket:
            found = bucket.bring(work, Restic(self._config).identity())
            _refuse_damage(found, accept_damage=accept_damage)
            return found
        return None if self._config.in_bucket else _prove_files(work / storage.ROOT, accept_damage=accept_damage)

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
        remove_tree(self._work)
        for directory in self._config.settings:
            remove_tree(beside(directory))

    def _refuse_kept(self) -> None:
        files = [] if self._config.in_bucket else [self._config.data / "docker"]
        for live in [*files, *self._config.settings]:
            kept = Swap(live, beside(live)).kept
            if there(kept):
                raise BackupError(f"{kept} is there, and no restore is under way", "Move it away")

    def _refuse_to_overwrite(self, replace: bool) -> None:
        names = [] if self._config.in_bucket else storage.names(self._config.data / storage.ROOT)
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
        about = os.statvfs(self._base)
        free = about.f_bavail * about.f_frsize
        if free < needed:
            raise BackupError(
                f"{self._base} has {human(free)} free, and the snapshot needs {human(needed)} more",
                "Make room, or set registry_data_directory to a larger file system. Nothing was changed",
            )

    def _give_to_owners(self, work: Path, facts: dict[str, Any]) -> None:
        """Accounts have other numbers here. Where there are none yet all is root's, until the roles have made them."""
        if not self._config.in_bucket:
            user, group = _numbers(*facts["owner"])
            with Directory.at(work) as top, top.enter("docker") as docker:
                docker.give(user, group, DIRECTORY_MODE, FILE_MODE)
            # The role looks at this one to know whether what is in it belongs to the account.
            if not there(self._config.data / "docker"):
                os.chown(self._config.data, user, group)
        for path in walk(work / "settings"):
            os.chown(path, 0, 0, follow_symlinks=False)
        for name, (user_name, group_name, mode) in facts["owners"].items():
            path = work / "settings" / name.lstrip("/")
            os.chown(path, *_numbers(user_name, group_name), follow_symlinks=False)
            if not path.is_symlink():
                os.chmod(path, mode)

    def _place_settings(self, work: Path, facts: dict[str, Any]) -> list[Swap]:
        """Copy the settings to the file system where they belong."""
        unknown = [path for path in facts["settings"] if Path(path) not in self._config.settings]
        if unknown:
            raise BackupError(
                f"The backup has settings in {', '.join(unknown)}, where this inventory has none",
                "Set registry_config_directory, certificate_directory and reverse_proxy_config_directory as they were",
            )
        swaps = []
        for path in map(Path, facts["settings"]):
            new = beside(path)
            remove_tree(new)
            new.parent.mkdir(parents=True, exist_ok=True)
            copy(work / "settings" / path.relative_to("/"), new)
            swaps.append(Swap(path, new))
        remove_tree(work / "settings")
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
            journal = self._phase("fetched")
            _refuse_while_it_runs(self._config)
            with self._opened_work() as work:
                gone = [swap.new.name for swap in self._swaps(work) if not there(swap.new)]
                if gone:
                    # Else the former registry would stay, and be proven.
                    raise BackupError(
                        f"What the restore has brought is gone: {', '.join(gone)}", "Run the playbook restore again"
                    )
                self._enter("swapped", swaps=[[live, new, there(Path(live))] for live, new, *_had in journal["swaps"]])
                for swap in self._swaps(work):
                    swap.do()
                with self._images() as bucket:
                    if bucket:
                        bucket.put(work)
        return {}

    def undo(self) -> dict[str, Any]:
        """Put back what was there; return which containers ran then. They are started before it is closed."""
        with self._alone(), maintenance(self._config, exclusive=True):
            journal = self._phase("fetched", "swapped", "undone")
            self._undo()
        return {"running": journal.get("running", [])}

    def _undo(self) -> None:
        """To be killed at any moment of it, and begun again."""
        with self._opened_work() as work:
            swaps = self._swaps(work)
            # Before, nothing was moved; afterwards, all is back.
            if read_json(self._journal).get("phase") == "swapped":
                _refuse_while_it_runs(self._config)
                with self._images() as bucket:
                    if bucket:
                        bucket.take_back()
                for swap in reversed(swaps):
                    swap.undo()
                os.sync()
            self._enter("undone")
            for swap in swaps:
                remove_tree(swap.new)
        remove_tree(self._work)

    @contextlib.contextmanager
    def _opened_work(self) -> Iterator[Path]:
        """What the restore has brought, or an empty place for it where that is gone.

        It lies in a directory of the account of the registry, which may put another one in its place.
        """
        with private_directory(self._base, WORK) as work:
            yield by_descriptor(work.descriptor)

    def prove(self) -> dict[str, Any]:
        """Ask a replica for each tag, and the proxy whether it answers. Both must agree with the disk."""
        with self._alone():
            self._phase("swapped")
            expected = self._expected()
            wrong = list(answers.different(self._config, expected))
            if wrong:
                raise BackupError(
                    f"The registry answers otherwise than its storage for {len(wrong)} tags",
                    f"Check docker logs {self._config.instance.registry}-1",
                    table=verify.table(wrong),
                )
            status = answers.proxy_status(self._config)
            self._enter("proven")
            # For those who ask when that was. What came of the last backup, where there was one, stays.
            write_json(self._config.result, {**read_json(self._config.result), "proven": backup.moment()})
        return {"tags": sum(len(item.tags) for item in expected), "proxy": status}

    def _expected(self) -> list[storage.Repository]:
        with self._images(wanted=True) as bucket:
            return bucket.read() if bucket else storage.read_all(self._config.data / storage.ROOT)

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
            with self._images() as bucket:
                if bucket:
                    bucket.finish()
        with self._opened_work() as work:
            for swap in self._swaps(work):
                remove_tree(swap.kept if proven else swap.new)
        remove_tree(self._work)
        self._journal.unlink()


def _assemble(work: Path, snapshot: dict[str, Any], config: Config) -> dict[str, Any]:
    """Make a storage of the links, and of blobs where there are some; return the facts that the backup has noted."""
    places = [work / FILES / path.lstrip("/") for path in snapshot["paths"]]
    staged = next((place for place in places if (place / staging.FACTS).is_file()), None)
    facts = read_json(staged / staging.FACTS) if staged else {}
    if not staged or facts.get("format") not in (FORMAT, BUCKET_FORMAT):
        raise BackupError(
            f"Snapshot {snapshot['short_id']} is none that this version of the collection can read",
            "Restore it with the version of the collection that made it",
        )
    if (facts["format"] == BUCKET_FORMAT) != config.in_bucket:
        former = "s3" if facts["format"] == BUCKET_FORMAT else "filesystem"
        raise BackupError(
            f"Snapshot {snapshot['short_id']} was made with registry_storage {former}",
            f"Restore it with registry_storage {former}, and move the registry by the playbook storage then",
        )
    (staged / "docker").rename(work / "docker")
    if config.in_bucket:
        (staged / staging.NEEDED).rename(work / staging.NEEDED)
    else:
        blobs = work / FILES / facts["blobs"].lstrip("/")
        if blobs.is_dir() and not blobs.is_symlink():
            blobs.rename(work / storage.ROOT / "blobs")
    (staged / staging.SETTINGS).rename(work / "settings")
    remove_tree(work / FILES)
    return facts


def _prove_files(root: Path, *, accept_damage: bool) -> verify.Survey:
    found = verify.survey(root, storage.read_all(root))
    verify.hash_all(root, found)
    _refuse_damage(found, accept_damage=accept_damage)
    # A blob that was just being written when it was saved, or is damaged, would pass for a good one at a push.
    with storage.opened(root) as store:
        store.keep_blobs((found.reached | found.linked) - found.bad.keys())
    return found


def _refuse_damage(found: verify.Survey, *, accept_damage: bool) -> None:
    problems = found.problems()
    if problems and not accept_damage:
        raise BackupError(
            f"The snapshot is not whole: {len(problems)} of its images lack what they need",
            "Try an older one by -e restore_snapshot=ID, or take this one by -e restore_accept_damage=true and "
            "push those images again. Nothing was changed",
            table=verify.table(problems),
        )


def _running(config: Config) -> list[str]:
    """The containers of the registry that run."""
    command = ["docker", "ps", "--filter", f"label={config.instance.label}", "--format", "{{.Names}}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    if done.returncode != 0:
        raise BackupError(f"docker ps failed: {done.stderr.strip()[:600]}", "Check systemctl status docker")
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
