# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine of a host: how it was started, what it believes, how it is told. Private to this collection."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time

from ansible_collections.wharf.registry.plugins.module_utils import _units
from ansible_collections.wharf.registry.plugins.module_utils._daemon_config import without_users
from ansible_collections.wharf.registry.plugins.module_utils._docker import SOCKET, Engine, EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._processes import Process, named
from ansible_collections.wharf.registry.plugins.module_utils._programs import find, run

_UNIT = "docker.service"
_DEFAULTS = "/etc/default/docker"
_NAME = "dockerd"
_CHECKS = "--validate"
_CONFIG = "/etc/docker/daemon.json"
_CERTS = "/etc/docker/certs.d"
# Docker as a snap: its program is started by snap itself, and its /etc/docker is a directory of the snap.
_SNAP = ("snap", "run", "docker.dockerd")
_SNAP_CONFIG = "/var/snap/docker/current/config/daemon.json"
_SNAP_CERTS = "/var/snap/docker/current/etc/docker/certs.d"
# What starts services where there is no systemd. A process of another parent belongs to a supervisor.
_INIT_PID = 1
_INIT_NAMES = ("supervise-daemon",)
# Where systemd looks for units and their drop-ins; of two files of one name the first counts.
_UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER_UNITS = ("~/.config/systemd/user", "/etc/systemd/user", "/run/systemd/user", "/usr/lib/systemd/user")
_POLL_SECONDS = 0.05
# Reading the journal takes as long as a reload does: not at each poll.
_ASK_LOG_SECONDS = 0.5
# What dockerd logs when it does not take what it was told to reload.
_REFUSAL = re.compile(r"level=error.*(?:config|reload)|unable to configure|[Ee]rror reconfiguring", re.IGNORECASE)
_MESSAGE = re.compile(r'msg="((?:[^"\\]|\\.)*)"')
_WORDS_LIMIT = 1000


class RefusedError(EngineError):
    """The engine has read a file and said that it does not take it."""


class Belief:
    """What a running engine says of registries: `insecure` (names and networks) and `mirrors`."""

    def __init__(self, info):
        config = info.get("RegistryConfig") or {}
        indexes = (config.get("IndexConfigs") or {}).items()
        self.insecure = sorted(
            {name for name, index in indexes if not index.get("Secure", True)}
            | set(config.get("InsecureRegistryCIDRs") or [])
        )
        self.mirrors = [mirror.rstrip("/") for mirror in config.get("Mirrors") or []]
        self.version = str(info.get("ServerVersion") or "")
        self.live_restore = bool(info.get("LiveRestoreEnabled"))
        self.containers_running = int(info.get("ContainersRunning") or 0)


class Daemon:
    """The dockerd of this host, of root or of the account itself (rootless).

    config_path: of several engines, the one that reads this file is meant; without it, the one on the usual socket.
    may_be_unread: whether a config_path that it does not read is taken, as that of an image that is being made.
    """

    def __init__(self, timeout, config_path=None, may_be_unread=False):
        self._timeout = timeout
        self._meant, self._may_be_unread = config_path, may_be_unread
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        self.rootless = os.geteuid() != 0
        self._default_socket = os.path.join(runtime, "docker.sock") if self.rootless else SOCKET
        self.look_again()

    def look_again(self):
        """Looks for it anew. Raises InputError."""
        try:
            self._look()
            unread = self._meant is not None and not self.reads(self._meant)
        except InputError:
            if self._meant is None or not self._may_be_unread:
                raise
            unread = True
        if unread and self._may_be_unread:
            # It is asked nothing, and what it was started with does not count.
            self._process, self._unit, self._running_arguments = None, "", []
            self._stopped = self._left_alone = True

    def _look(self):
        self._stopped = self._left_alone = False
        self._unit = self._unit_on_disk()
        self._process = self._find()
        if self._process:
            self._unit = self._unit_of(self._process)
        elif self._unit:
            # Where it was stopped, its socket may be there still, and to ask would start it.
            self._stopped = self._shown(self._unit).get("ActiveState") in ("inactive", "failed")
        self._running_arguments = self._process.arguments[1:] if self._process else []

    def reads(self, path):
        """Whether a file is the one that it reads."""
        return os.path.realpath(self.config_path) == os.path.realpath(path)

    @property
    def pid(self):
        return self._process.pid if self._process else None

    @property
    def program(self):
        """The dockerd to check files with, or None: the one that runs, where it can be started from here as well."""
        if self._process and not self._process.sees_our_files:
            return None
        running = self._process.program if self._process else ""
        # A package that was replaced leaves the name of a file that is gone.
        return running if os.path.basename(running) == _NAME else find(_NAME)

    @property
    def socket(self):
        return self._engine.path

    @property
    def installed(self):
        """Whether there is one, running or not; its client alone does not count."""
        return bool(self._process or self._unit or find(_NAME))

    @property
    def config_path(self):
        """The daemon.json that it reads: what it was started with decides. Raises InputError."""
        if self._process:
            return self._host_path(self._config_of(self._process))
        return _value(self.unit_arguments(), "--config-file") or self._default(_CONFIG, _SNAP_CONFIG, "daemon.json")

    @property
    def certs_dir(self):
        """The directory of the certificates that it reads, that of an image beside its file. Raises InputError."""
        if self._left_alone:
            return os.path.join(os.path.dirname(self._meant), "certs.d")
        if self._process:
            return self._host_path(self._default_of(self._process, _CERTS, "certs.d"))
        return self._default(_CERTS, _SNAP_CERTS, "certs.d")

    def _default(self, path, of_snap, name):
        if self.rootless:
            return _below_config_home(os.environ, name)
        return of_snap if self._is_snap else path

    def _default_of(self, process, path, name):
        """What a running engine takes by itself, as it sees it."""
        return _below_config_home(process.environment, name) if self.rootless else path

    def _config_of(self, process):
        return _value(process.arguments, "--config-file") or self._default_of(process, _CONFIG, "daemon.json")

    def _host_path(self, path):
        found = self._process.host_path(path)
        if found is None:
            raise InputError(
                f"the Docker Engine (process {self.pid}) reads {path} in a file system of its own, and this host does "
                "not have that",
                "Have it read a directory of this host, or run the task where the engine runs",
            )
        return found

    @property
    def _engine(self):
        # It may listen elsewhere as well.
        hosts = _values(self._running_arguments, "--host") + _values(self._running_arguments, "-H")
        paths = [host[len("unix://") :] for host in hosts if host.startswith("unix://")]
        return Engine(next(filter(None, paths), self._default_socket), self._timeout)

    def believes(self):
        """The Belief of the running engine, or None where none answers."""
        if self._stopped:
            return None
        try:
            return Belief(self._engine.info())
        except EngineDownError:
            return None

    def arguments(self):
        """What the engine was started with, and will be started with: a drop-in may be newer than the process."""
        return self._running_arguments + self.unit_arguments()

    def values(self, flag):
        """All values of a flag that the running engine was started with."""
        return _values(self._running_arguments, flag)

    def check_file(self, config):
        """Raises InputError where the engine would not take the DaemonConfig."""
        config.check(self.arguments())
        program = self.program
        if not program or self._left_alone:
            return
        # In memory: there may be passwords in it, and a run that is killed leaves nothing about.
        with open(os.memfd_create("wharf", os.MFD_CLOEXEC), "wb") as file:
            file.write(config.raw)
            file.flush()
            path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
            started_with = _without(
                self._running_arguments or self.unit_arguments(), ("--config-file", "--pidfile", "-p")
            )
            command = [program, _CHECKS, "--config-file", path, *started_with]
            status, said, error = run(command, self._timeout)
        words = (error or said).strip()
        if f"unknown flag: {_CHECKS}" in words:
            # Engines before 23 do not know the option. Their files are checked by config.check alone.
            config.check_plain()
        elif status not in (0, 127):
            said = without_users(words.replace(path, config.path))[-_WORDS_LIMIT:]
            raise InputError(f"dockerd would not take {config.path}: {said}", "Nothing was changed: mend what it names")

    def reload(self, satisfied):
        """Has the engine read its file again, until `satisfied` says of its Belief that it is what was meant.

        Raises EngineError with the words of the engine where that does not come to be.
        """
        if not self.pid:
            raise EngineError(
                "the process of the Docker Engine was not found", "Restart the engine to let it read the file"
            )
        words = _Words(self.pid, self._unit)
        try:
            os.kill(self.pid, signal.SIGHUP)
        except ProcessLookupError:
            raise EngineError("the Docker Engine has just ended", self._journal_cure()) from None
        self._await(satisfied, words, "did not take what it was to reload")

    def restart(self, satisfied):
        """As reload, by a restart of its service, which ends containers where there is no live-restore."""
        # Those of the process that is to come.
        words = _Words(None, self._unit or _UNIT)
        if find("systemctl") and os.path.isdir("/run/systemd/system"):
            if not self._unit:
                raise self._no_service()
            # What was tried too often is not tried again by systemd, and to come back must always be possible.
            run(self._systemctl("reset-failed", self._unit))
            command = self._systemctl("restart", self._unit)
        else:
            if self._process and not _is_of_init(self._process.parent):
                raise self._no_service()
            command = [find("service") or "service", "docker", "restart"]
        status, said, error = run(command, max(self._timeout, 120))
        self.look_again()
        if status != 0:
            reason = words.said() or without_users((error or said).strip())[-_WORDS_LIMIT:]
            raise EngineError(f"the Docker Engine did not restart: {reason}", self._journal_cure())
        self._await(satisfied, words, "did not take what it was restarted for")

    def _no_service(self):
        what, by = "the Docker Engine", ""
        if self._process:
            parent = self._process.parent
            what += f" (process {self.pid})"
            by = f", but by {parent.name} (process {parent.pid})" if parent.pid else ""
        return EngineError(
            f"{what} is not restarted: it was not started by a service of its own{by}",
            "Restart it by what has started it",
        )

    def _journal_cure(self):
        return f'Look at "journalctl {"--user " if self.rootless else ""}-u {self._unit or _UNIT}"'

    def _await(self, satisfied, words, failure):
        now = time.monotonic()
        end, ask = now + self._timeout, now + _ASK_LOG_SECONDS
        while True:
            belief = self.believes()
            if belief is not None and satisfied(belief):
                return
            now = time.monotonic()
            refused = ""
            if now >= ask:
                refused, ask = words.refusal(), now + _ASK_LOG_SECONDS
            if refused or now >= end:
                reason = refused or words.said() or "it said nothing of it"
                raise (RefusedError if refused else EngineError)(f"the Docker Engine {failure}: {reason}")
            time.sleep(_POLL_SECONDS)

    def _find(self):
        """The Process, or None. Raises InputError where there are several, and none is the one that is meant."""
        engines = _without_passing(process for process in named(_NAME) if process.account == os.geteuid())
        if len(engines) < 2:
            return engines[0] if engines else None
        for is_meant in (self._reads_what_is_meant, self._is_usual):
            meant = [process for process in engines if is_meant(process)]
            if len(meant) == 1:
                return meant[0]
        found = ", ".join(f"process {process.pid} reads {self._config_of(process)}" for process in engines)
        raise InputError(
            f"{len(engines)} Docker Engines run here, and none of them listens on {self._default_socket}: {found}",
            "Give the file of the one that is meant as daemon_config_path",
        )

    def _reads_what_is_meant(self, process):
        read = process.host_path(self._config_of(process)) if self._meant else None
        return bool(read) and os.path.realpath(read) == os.path.realpath(self._meant)

    def _is_usual(self, process):
        return process.listens(self._default_socket)

    def _unit_of(self, process):
        """The systemd unit that starts a process, empty where none does: that of a supervisor is not the engine's."""
        unit = process.unit
        main = self._shown(unit).get("MainPID", "") if unit else ""
        # RootlessKit is the parent of a rootless engine.
        is_its = main == str(process.pid) or (main.isdigit() and Process(int(main)).name == "rootlesskit")
        return unit if is_its else ""

    def _shown(self, unit):
        """What systemd says of a unit, nothing where it does not know it."""
        command = self._systemctl("show", "--property=MainPID,ActiveState,LoadState", unit)
        said = run(command)[1] if find("systemctl") else ""
        shown = dict(line.partition("=")[::2] for line in said.splitlines())
        return shown if shown.get("LoadState") == "loaded" else {}

    def _systemctl(self, *arguments):
        return ["systemctl", *(["--user"] if self.rootless else []), *arguments]

    @property
    def _folders(self):
        return [os.path.expanduser(folder) for folder in (_USER_UNITS if self.rootless else _UNITS)]

    def _unit_on_disk(self):
        """The unit that would start an engine, whatever its name, and empty where there is none."""
        folders = self._folders
        if _units.exists(_UNIT, folders):
            return _UNIT
        found = (unit for unit in _units.names(folders) if any(map(_is_engine, _units.commands(unit, folders))))
        return next(found, "")

    @property
    def _is_snap(self):
        return any(map(_is_of_snap, _units.commands(self._unit, self._folders)))

    def unit_arguments(self):
        """What its unit, with all drop-ins as they lie on the disk, or its init script starts it with."""
        if self._left_alone:
            return []
        found = _units.arguments(self._unit, self._folders) if self._unit else None
        if found is not None:
            # What a snap gives to its program is written in the snap.
            return [] if self._is_snap else found
        if self._process and not _is_of_init(self._process.parent):
            return []
        return shlex.split(_units.environment([], [_DEFAULTS]).get("DOCKER_OPTS", ""), comments=True)


class _Words:
    """What the engine logs from now on."""

    def __init__(self, pid, unit):
        self._pid = pid
        self._unit = unit
        self._since = time.time()
        # Where it does not log to the journal, an init script has its output go to a file.
        self._path = os.path.realpath(f"/proc/{pid}/fd/2") if pid else ""
        self._size = os.path.getsize(self._path) if os.path.isfile(self._path) else None

    def refusal(self):
        """The line that says why it did not take a file, or an empty string."""
        return next((_message(line) for line in reversed(self._lines()) if _REFUSAL.search(line)), "")

    def said(self):
        """The last that it said of what keeps it from starting, or at all of errors."""
        lines = self._lines()
        for kind in ("level=fatal|unable to configure|failed to start", "level=error|failed|unable"):
            errors = [line for line in lines if re.search(kind, line)]
            if errors:
                return _message(errors[-1])
        return ""

    def _lines(self):
        return (self._file() if self._size is not None else self._journal()).splitlines()

    def _file(self):
        try:
            with open(self._path, "rb") as file:
                file.seek(self._size)
                return file.read(1 << 20).decode("utf-8", "replace")
        except OSError:
            return ""

    def _journal(self):
        if not find("journalctl"):
            return ""
        of_it = [f"_PID={self._pid}"] if self._pid else [f"--unit={self._unit}"]
        # The journal knows microseconds, and the engine may answer within one of its own milliseconds.
        return run(["journalctl", *of_it, f"--since=@{self._since:.6f}", "--output=cat", "--no-pager"])[1]


def _message(line):
    found = _MESSAGE.search(line)
    text = found.group(1).replace('\\"', '"') if found else line.strip()
    return without_users(text)[:_WORDS_LIMIT]


def _without_passing(processes):
    """Those that are engines: no process that another module checks a file with, and none that an engine has just
    forked, which bears its name until it becomes another program."""
    lasting = [process for process in processes if _CHECKS not in process.arguments]
    numbers = {process.pid for process in lasting}
    return [process for process in lasting if process.parent.pid not in numbers]


def _is_of_init(parent):
    return parent.pid == _INIT_PID or parent.name in _INIT_NAMES


def _below_config_home(environment, name):
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "docker", name)


def _is_engine(command):
    """Whether a command line of a unit starts an engine."""
    program = os.path.basename(command[0].lstrip("@-:+!")) if command else ""
    return program == _NAME or _is_of_snap(command)


def _is_of_snap(command):
    return bool(command) and (os.path.basename(command[0]), *command[1:3]) == _SNAP


def _values(arguments, flag):
    """The values of a flag, each of which follows it or an equals sign."""
    following = [value for argument, value in zip(arguments, arguments[1:]) if argument == flag]
    return following + [argument[len(flag) + 1 :] for argument in arguments if argument.startswith(flag + "=")]


def _value(arguments, flag):
    return next(iter(_values(arguments, flag)), None)


def _without(arguments, flags):
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in flags:
            skip = True
        elif argument.partition("=")[0] not in flags:
            kept.append(argument)
    return kept
