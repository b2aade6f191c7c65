# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic, told where it finds its secrets in files, and its failures in words that name the cure."""

from __future__ import annotations

import collections
import json
import os
import re
import subprocess
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from .common import BackupError, Config

# Where a restore puts the files of a snapshot.
FILES = "files"
# The account of the registry owns the storage, and may swap a directory for a symbolic link while restic reads it. In a
# mount of its own restic can't follow one, nor write. What is mounted on the blobs is a mount apart.
GUARD = """
guard=$1; shift
for place in "$guard" "$guard/docker/registry/v2/blobs"; do
    [ -d "$place" ] || continue
    mount --rbind -- "$place" "$place" && mount -o remount,bind,ro,nosymfollow -- "$place" || exit 125
done
exec "$@"
"""
# An open repository answers at once; a host that is away is tried again and again by restic itself.
OPEN_SECONDS = 120
# The status of a backup that could not read all.
INCOMPLETE = 3
# Of what restic says while it works, so many lines are kept, the last ones.
LAST_LINES = 40
# A restic that is told to stop has this time for it.
END_SECONDS = 60
# What a file takes on the disk besides its content: the rest of its last block, and the directory that is its own.
FILE_BYTES = 8 << 10

# What restic, ssh and the storage say, and what it means. The first that fits counts.
ABSENT = re.compile(
    r"repository does not exist|Is there a repository at|unable to open config file|config file does not exist", re.I
)
MEANINGS: list[tuple[str, str, str]] = [
    (
        r"wrong password|no key found",
        "the password does not open it",
        "Set backup_password to the one that the repository was made with. Nothing was changed",
    ),
    (
        r"no space left|disk quota|disk full|quota exceeded",
        "a disk is full",
        "Make room for the repository, the state directory or, in a restore, the images; what was saved is untouched",
    ),
    (
        r"already locked|unable to create lock",
        "another restic works on it, or one was killed on another host",
        "Wait for it; after half an hour its lock counts as stale and is removed by itself",
    ),
    (
        r"host key verification failed|no .* host key is known",
        "the host of the repository is not the one that is known",
        "Put the line that ssh-keyscan prints for it into backup_sftp_known_hosts, after you have compared the key",
    ),
    (
        r"permission denied \(|load key|invalid format",
        "the host of the repository refuses the key",
        "Give its private key as backup_sftp_key, and put the public one into authorized_keys there",
    ),
    (
        r"signaturedoesnotmatch|invalidaccesskeyid|access ?denied|access key id you provided",
        "the S3 storage refuses the credentials",
        "Correct backup_s3_access_key_id and backup_s3_secret_access_key, or the policy of the bucket",
    ),
    (
        r"x509:|certificate (is|signed|has)",
        "its certificate is not trusted",
        "Give the CA of the S3 storage as backup_s3_ca (PEM)",
    ),
    (
        (
            r"connection refused|no route to host|could not resolve|no such host|timed out|network is unreachable|"
            r"unable to start the sftp session|connection closed|connection reset"
        ),
        "its host can't be reached",
        "Check backup_repository, and the way to that host",
    ),
    (
        r"permission denied|read-only file system",
        "it can't be written to",
        "Check who owns the repository, and whether its file system is mounted for writing",
    ),
]


def meaning(said: str) -> tuple[str, str]:
    """What restic's words mean, and the cure."""
    for pattern, what, cure in MEANINGS:
        if re.search(pattern, said, re.I):
            return what, cure
    return "restic failed", "Check what it said"


def _words(line: str) -> str:
    """A line of restic's, which says some of what it says in JSON since 0.17."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return line


def _message(line: str) -> tuple[str, dict[str, Any]]:
    """The kind of a line in JSON, and what it says; none for other lines."""
    try:
        content = json.loads(line)
        return content["message_type"], content
    except (ValueError, KeyError, TypeError):
        return "", {}


def _not_installed() -> BackupError:
    return BackupError("restic is not installed", "Run the playbook backup for this host")


def _end(process: subprocess.Popen) -> None:
    """Let it remove its lock, and no longer than that."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def by_descriptor(descriptor: int) -> Path:
    """A path by which a process that has it open finds what is open, and nothing else."""
    return Path(f"/proc/self/fd/{descriptor}")


def last_words(said: str) -> str:
    lines = [_words(line.strip()) for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal:")]
    return " ".join(fatal or lines[-3:])[:600]


def sftp_command(config: Config) -> list[str]:
    """Options that have ssh use the role's key and known hosts and nothing of root's own, and never ask."""
    if not config.repository.startswith("sftp:"):
        return []
    user_host, port = sftp_host(config.repository)
    command = ["ssh", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"]
    command += ["-o", f"UserKnownHostsFile={config.directory}/known_hosts", "-o", "GlobalKnownHostsFile=/dev/null"]
    command += ["-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=30", "-F", "/dev/null"]
    command += ["-i", f"{config.directory}/ssh_key", *(["-p", str(port)] if port else []), user_host, "-s", "sftp"]
    return ["-o", f"sftp.command={' '.join(command)}"]


def sftp_host(repository: str) -> tuple[str, int | None]:
    """user@host and the port, of sftp:user@host:/path or sftp://user@host:port//path."""
    if repository.startswith("sftp://"):
        url = urllib.parse.urlsplit(repository)
        return url.netloc.rpartition(":")[0] if url.port else url.netloc, url.port
    return repository[len("sftp:") :].partition(":")[0], None


class Restic:
    """One repository, seen as the series of one registry."""

    def __init__(self, config: Config, password_file: Path | None = None) -> None:
        self._config = config
        # Whether the last backup was kept from following symbolic links in the storage.
        self.guarded = True
        self._tag = config.instance.registry
        self._environment = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(config.state),
            "RESTIC_REPOSITORY_FILE": str(config.directory / "repository"),
            "RESTIC_PASSWORD_FILE": str(password_file or config.directory / "password"),
            "RESTIC_CACHE_DIR": str(config.state / "cache"),
            # The file that only root can read, and not the secret.
            "AWS_SHARED_CREDENTIALS_FILE": str(config.directory / "s3_credentials"),
        }
        if config.s3_region:
            self._environment["AWS_DEFAULT_REGION"] = config.s3_region
        self._options = sftp_command(config)
        if config.repository.startswith("s3:") and (config.directory / "s3_ca.crt").exists():
            self._options += ["--cacert", str(config.directory / "s3_ca.crt")]

    def __str__(self) -> str:
        return self._config.repository

    def run(self, *arguments: str, timeout: float | None = None, descriptors: tuple[int, ...] = ()) -> str:
        """What restic prints. Raises BackupError, with its words among the details."""
        done = self._execute(*arguments, timeout=timeout, descriptors=descriptors)
        if done.returncode != 0:
            raise self._error(arguments[0], done.stderr or done.stdout)
        return done.stdout

    def _execute(
        self, *arguments: str, timeout: float | None, descriptors: tuple[int, ...]
    ) -> subprocess.CompletedProcess:
        try:
            return subprocess.run(
                self._command(arguments),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                pass_fds=descriptors,
                check=False,
            )
        except FileNotFoundError:
            raise _not_installed() from None
        except subprocess.TimeoutExpired:
            raise BackupError(
                f"The repository {self} did not answer within {timeout:.0f} s",
                "Check backup_repository, and the way to that host",
            ) from None

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return ["restic", *self._options, *arguments]

    def _guard(self) -> list[str]:
        """What a command begins with that reads the storage by its paths; nothing where no such mount can be made."""
        command = ["unshare", "--mount", "sh", "-c", GUARD, "sh", str(self._config.data)]
        done = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        self.guarded = done.returncode == 0
        return command if self.guarded else []

    def _follow(self, *arguments: str, guard: list[str]) -> tuple[int, dict[str, Any], str]:
        """Run what tells of its progress in JSON for hours: its status, its summary, and the last lines besides."""
        try:
            process = subprocess.Popen(
                [*guard, *self._command(arguments)],
                # One status in a hundred seconds instead of sixty a second.
                env={**self._environment, "RESTIC_PROGRESS_FPS": "0.01"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise _not_installed() from None
        said: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        listener = threading.Thread(target=said.extend, args=(process.stderr,))
        listener.start()
        summary, others = {}, collections.deque(maxlen=LAST_LINES)
        try:
            for line in process.stdout:
                kind, content = _message(line)
                if kind == "summary":
                    summary = content
                elif kind not in ("status", "verbose_status"):
                    others.append(line)
            status = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            listener.join()
            process.stdout.close()
            process.stderr.close()
        return status, summary, "".join(said) or "".join(others)

    def _error(self, command: str, said: str) -> BackupError:
        if ABSENT.search(said) and not re.search(MEANINGS[0][0], said, re.I):
            for pattern, what, cure in MEANINGS[3:]:
                if re.search(pattern, said, re.I):
                    return BackupError(f"The repository {self}: {what}", cure, said=last_words(said))
            return BackupError(
                f"There is no repository at {self}",
                "Check backup_repository, and that its file system is mounted. Where it is to be made anew, run the "
                "playbook backup with -e backup_initialise=true",
                said=last_words(said),
                absent=True,
            )
        what, cure = meaning(said)
        words = last_words(said)
        return BackupError(f"The repository {self}: {what} (restic {command})", cure, said=words)

    def identity(self) -> str:
        """The ID of the repository. Raises BackupError where it can't be opened."""
        return json.loads(self.run("cat", "--no-lock", "config", timeout=OPEN_SECONDS))["id"]

    def unlock(self) -> None:
        """Remove locks of those who are no more, such as a run that was killed. Others stay."""
        self.run("unlock", "--quiet")

    def snapshots(self, hostname: str) -> list[dict[str, Any]]:
        """The series of a registry, the oldest first."""
        return sorted(self.all_snapshots(("--host", hostname)), key=lambda item: item["time"])

    def all_snapshots(self, which: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        return json.loads(self.run("snapshots", "--no-lock", "--json", "--tag", self._tag, *which)) or []

    def backup(self, hostname: str, paths: list[str]) -> dict[str, Any]:
        """Save the paths as one snapshot, of all of them or none; return restic's summary."""
        compression = f"--compression={self._config.compression}"
        arguments = ("backup", "--json", "--host", hostname, "--tag", self._tag, compression, *paths)
        # Of a bucket, restic reads no more than what this program has staged.
        guard = [] if self._config.in_bucket else self._guard()
        status, summary, said = self._follow(*arguments, guard=guard)
        if status not in (0, INCOMPLETE):
            raise self._error("backup", said)
        if status == INCOMPLETE:
            if summary.get("snapshot_id"):
                self.run("forget", summary["snapshot_id"])
            raise BackupError(
                "Some files could not be read, so that the snapshot was thrown away",
                "Check the disk of the images: smartctl, dmesg",
                said=last_words(said),
            )
        return summary

    def forget(self, hostname: str) -> tuple[int, int]:
        """Apply the rules of retention to the series; return how many snapshots are kept and how many are gone."""
        rules = [f"--keep-{name}={number}" for name, number in self._config.keep.items() if number]
        if not rules:
            return len(self.snapshots(hostname)), 0
        said = self.run(
            "forget", "--json", "--host", hostname, "--tag", self._tag, "--group-by", "host", "--prune", *rules
        )
        # What prune says after it is no JSON.
        groups = next((json.loads(line) for line in said.splitlines() if line.startswith("[")), [])
        kept = sum(len(group.get("keep") or []) for group in groups)
        return kept, sum(len(group.get("remove") or []) for group in groups)

    def check(self) -> None:
        percent = self._config.check_percent
        self.run("check", "--quiet", *([f"--read-data-subset={percent:g}%"] if percent else []))

    def file_of(self, snapshot: str, path: Path) -> str:
        """The content of a file of a snapshot."""
        return self.run("dump", "--no-lock", snapshot, str(path))

    def size_of(self, snapshot: str) -> int:
        """The room that its files take on a disk. Most of them are links, of some bytes each."""
        stats = json.loads(self.run("stats", "--no-lock", "--json", "--mode", "restore-size", snapshot))
        return stats["total_size"] + stats["total_file_count"] * FILE_BYTES

    def restore(self, snapshot: str, directory: int) -> None:
        """Bring a snapshot to FILES in an open directory, wherever the path of that leads by now."""
        target = f"{by_descriptor(directory)}/{FILES}"
        self.run("restore", "--quiet", snapshot, "--target", target, descriptors=(directory,))
