# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup: links first, blobs then, retention, and a check when one is due."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Any

from . import staging, storage, verify
from .common import BackupError, Config, human, maintenance, only_one, read_json, unfinished, write_json
from .on_disk import OnDisk
from .restic import Restic

DAY = 86400
MOST_WARNINGS = 5
UNGUARDED = (
    "restic could follow symbolic links in the storage: no mount with nosymfollow can be made here, which takes Linux "
    "5.10 and the right to mount. An account that has taken over the registry could have it read other files."
)
# Who only looks whether a backup runs holds the lock for a moment, and is no other backup.
MOMENT_SECONDS = 1


# What the next result still tells of the ones before.
REMEMBERED = ("checked", "succeeded", "proven", "repositories", "problems")


def run(config: Config) -> dict[str, Any]:
    """Make a backup. What came of it is in the result, which is also left for those who ask later."""
    # Another one that runs leaves the result.
    with only_one(config, MOMENT_SECONDS):
        began = time.time()
        # Copies of keys, which a run that was killed has left.
        staging.clear_settings(config.staging)
        before = read_json(config.result)
        result = {"outcome": "failed", "checked": 0, "began": _text(began), "repository": config.repository}
        result.update({name: before[name] for name in REMEMBERED if name in before})
        try:
            # Who is killed leaves this one.
            write_json(config.result, {**result, "outcome": "running"})
            _run(config, result, before)
            result.update(outcome="ok", succeeded=result["began"])
        except OSError as error:
            wrong = BackupError(f"{error.filename or 'A file'}: {error.strerror}", _cure(config, error))
            result.update(message=wrong.message, cure=wrong.cure)
            raise wrong from None
        except BackupError as error:
            result.update(message=error.message, cure=error.cure, **error.details)
            raise
        except (KeyboardInterrupt, SystemExit):
            result.update(message="The backup was told to stop", cure="Run it again")
            raise
        finally:
            result["seconds"] = round(time.time() - began, 1)
            with contextlib.suppress(OSError):
                write_json(config.result, result)
    return result


def status(config: Config) -> dict[str, Any]:
    """What came of the last backup, or that it runs."""
    result = read_json(config.result)
    if result.get("outcome") == "running":
        # The kernel frees the lock of a process that is killed. It may also have ended since the first look.
        with contextlib.suppress(BackupError), only_one(config, exclusive=False):
            result = read_json(config.result)
            if result.get("outcome") == "running":
                result.update(
                    outcome="killed",
                    message=f"The backup that began at {result['began']} was killed, or the host went down",
                    cure=f'Check "journalctl -u {config.instance.backup}" and the memory of the host. Run it again',
                )
    return result


def _cure(config: Config, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"Make room on the file system of {config.state}. What was saved before is untouched"
    return "Check that file and its disk"


def _run(config: Config, result: dict[str, Any], before: dict[str, Any]) -> None:
    restoring = unfinished(config)
    if restoring:
        raise restoring
    restic = Restic(config)
    open_repository(config, restic)
    restic.unlock()
    with images_of(config) as images:
        # Deletes and pushes go on; nothing is collected between the first link and the last blob.
        with maintenance(config), images.alone():
            try:
                oddities = storage.Oddities()
                found, saved = _stage(config, images, before, oddities)
                summary = restic.backup(config.hostname, [str(config.staging), *images.paths()])
            finally:
                staging.clear_settings(config.staging)
        problems = found.problems()
        result.update(
            found.counts(),
            **saved,
            snapshot=summary["snapshot_id"][:8],
            files_new=summary["files_new"],
            files_changed=summary["files_changed"],
            files_unmodified=summary["files_unmodified"],
            bytes_added=summary["data_added"],
            bytes_read=summary["total_bytes_processed"],
            problems=problems,
            warnings=_warnings(config, problems) + _odd(oddities, found) + ([] if restic.guarded else [UNGUARDED]),
        )
        _refuse_damage(images, found, result, before.get("problems", []))
        images.refuse_damage(result["snapshot"])
        result["snapshots_kept"], result["snapshots_removed"] = restic.forget(config.hostname)
        if result["snapshots_removed"]:
            result.update(images.forget(restic))
        if config.check_days and time.time() - result["checked"] >= config.check_days * DAY:
            restic.check()
            result.update(images.check(), checked=int(time.time()), check="ok")


def images_of(config: Config) -> Any:
    """Where the images are."""
    if not config.in_bucket:
        return OnDisk(config)
    # What it imports is there only where images are objects.
    from .in_bucket.images import InBucket  # noqa: PLC0415 - see above

    return InBucket(config)


def _refuse_damage(images: Any, found: verify.Survey, result: dict[str, Any], known: list[dict[str, str]]) -> None:
    """Whole snapshots do not make room for damaged ones, before the damage was reported."""
    # Also where the file system is not mounted, and its mount point is empty.
    gone = bool(found.manifests) and not found.sizes
    new = [problem for problem in result["problems"] if problem not in known]
    if not gone and not new:
        return
    first = ", ".join(_short(problem) for problem in new[:MOST_WARNINGS])
    lacks = f"{images.blobs} holds nothing" if gone else f"the registry lacks what {len(new)} more of its images need"
    raise BackupError(
        f"Snapshot {result['snapshot']} was made, but {lacks}{': ' if first else ''}{first}",
        images.cure
        if gone
        else "Push these images again, or restore the newest snapshot that is whole. None was removed this time; the "
        "next backup takes these problems for known",
        outcome="damaged",
        # All of them are missing for one reason, which hides what else is wrong.
        problems=known if gone else result["problems"],
    )


def _short(problem: dict[str, str]) -> str:
    return f"{problem['image']} ({problem['problem']} {problem['digest'][:19]}".rstrip() + ")"


def open_repository(config: Config, restic: Restic) -> None:
    """The repository is there, opens, and is the one that the role has seen."""
    known = config.directory / "repository.id"
    identity = restic.identity()
    if not known.exists() or known.read_text(encoding="ascii").strip() != identity:
        raise BackupError(
            f"{restic} is another repository than the one that backups of this host went to",
            "Check backup_repository, and that its file system is mounted. Where that is meant, run the playbook "
            "backup with -e backup_initialise=true",
        )


def _stage(config: Config, images: Any, before: dict[str, Any], oddities: storage.Oddities) -> tuple:
    """What there is, and what the images tell of saving it."""
    repositories = images.stage(before, oddities)
    facts = {
        **images.facts(),
        "hostname": config.hostname,
        "settings": [str(path) for path in config.settings if path.is_dir()],
        "owners": staging.stage_settings(config.settings, config.staging),
    }
    found = images.survey(repositories)
    saved = images.save(found, before)
    staging.write_facts(config.staging, {**facts, "counts": found.counts()})
    return found, saved


def _odd(oddities: storage.Oddities, found: verify.Survey) -> list[str]:
    for repository in found.repositories:
        oddities.merge(repository.oddities)
    said = [f"{what}; it is not saved" for what in oddities.told[:MOST_WARNINGS]]
    more = oddities.count - len(said)
    return said + ([f"and {more} more of that kind"] if more else [])


def _warnings(config: Config, problems: list[dict[str, str]]) -> list[str]:
    said = [f"{item['image']}: {item['problem']} {item['digest']}".rstrip() for item in problems[:MOST_WARNINGS]]
    if said:
        said = [f"The registry itself lacks what {len(problems)} of its images need; push them again:", *said]
    place = Path(
        config.repository.partition("local:")[2] if config.repository.startswith("local:") else config.repository
    )
    if config.in_bucket:
        return said
    if place.is_absolute() and place.exists() and os.stat(place).st_dev == os.stat(config.data).st_dev:
        said.append(f"{place} lies on the file system of the images, and is lost with it. Use another disk or host.")
    return said


def lines(result: dict[str, Any]) -> list[str]:
    """What came of it, for a reader."""
    outcome = result.get("outcome", "failed")
    if outcome == "running":
        return [f"Running     since {result['began']}"]
    if outcome != "ok":
        what = BackupError(result.get("message", "it was interrupted"), result.get("cure", ""))
        said = [f"{outcome.capitalize():<12}{what}"]
        if result.get("said"):
            said.append(f"            {result['said']}")
        if result.get("snapshot") and outcome != "damaged":
            said.append(f"            Snapshot {result['snapshot']} was made before that.")
        return said + ([f"Last good   {result['succeeded']}"] if result.get("succeeded") else [])
    removed = f", {result['snapshots_removed']} removed" if result["snapshots_removed"] else ""
    held = f"{result['repositories']} repositories, {result['tags']} tags, {result['manifests']} manifests"
    files = (
        f"{result['files_new']} files new, {result['files_changed']} changed, {result['files_unmodified']} as before"
    )
    said = [
        f"Snapshot    {result['snapshot']} in {result['repository']}, {result['began']}",
        f"Holds       {held}, {result['blobs']} blobs, {human(result['bytes'])}",
        f"Added       {human(result['bytes_added'])}: {files}; {result['seconds']:.0f} s",
        *result.get("copied", []),
        f"Kept        {result['snapshots_kept']} snapshots{removed}",
    ]
    if result["checked"]:
        said.append(f"Checked     {_text(result['checked'])}")
    return said + [f"Note        {warning}" for warning in result["warnings"]]


def moment() -> str:
    """Now, as results tell times."""
    return _text(time.time())


def _text(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
