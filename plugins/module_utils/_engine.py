# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine of a host: how it was started, what it believes, how it is told. Private to this collection."""

from __future__ import annotations

import glob
import os
import re
import shlex
import signal
import time

from ansible_collections.wharf.registry.plugins.module_utils._daemon_config import without_users
from ansible_collections.wharf.registry.plugins.module_utils._docker import SOCKET, Engine, EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._programs import find, read_text, run

_UNIT = "docker.service"
_DEFAULTS = "/etc/default/docker"
# Where systemd looks for units and their drop-ins; of two files of one name the first counts.
_UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER_UNITS = ("~/.config/systemd/user", "/etc/systemd/user", "/run/systemd/user", "/usr/lib/systemd/user")
_PID_FILE = "/var/run/docker.pid"
_POLL_SECONDS = 0.05
# Reading the journal takes as long as a reload does: not at each poll.
_ASK_LOG_SECONDS = 0.5
# What dockerd logs when it does not take what it was told to reload.
_REFUSAL = re.compile(r"level=error.*(?:config|reload)|unable to configure|[Ee]rror reconfiguring", re.IGNORECASE)
_MESSAGE = re.compile(r'msg="((?:[^"\\]|\\.)*)"')
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
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
    """The dockerd of this host, of root or of the account itself (rootless)."""

    def __init__(self, timeout):
        self._timeout = timeout
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        self.rootless = os.geteuid() != 0
        self._pid_file = os.path.join(runtime, "docker.pid") if self.rootless else _PID_FILE
        self._default_config = os.path.expanduser("~/.config/docker/daemon.json") if self.rootless else None
        self._default_socket = os.path.join(runtime, "docker.sock") if self.rootless else SOCKET
        self.program = find("dockerd")
        self.look_again()

    def look_again(self):
        self.pid = self._find()
        self._running_arguments = self._read_command_line()

    @property
    def socket(self):
        return self._engine.path

    @property
    def installed(self):
        """Whether there is one, running or not; its client alone does not count."""
        return bool(self.pid or self.program)

    @property
    def config_path(self):
        """The daemon.json that it reads: what it was started with decides."""
        for arguments in (self._running_arguments, [] if self.pid else self.unit_arguments()):
            path = _value(arguments, "--config-file")
            if path:
                return path
        return self._default_config or "/etc/docker/daemon.json"

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
        if not self.program:
            return
        # In memory: there may be passwords in it, and a run that is killed leaves nothing about.
        with open(os.memfd_create("wharf", os.MFD_CLOEXEC), "wb") as file:
            file.write(config.raw)
            file.flush()
            path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
            started_with = _without(
                self._running_arguments or self.unit_arguments(), ("--config-file", "--pidfile", "-p")
            )
            command = [self.program, "--validate", "--config-file", path, *started_with]
            status, said, error = run(command, self._timeout)
        words = (error or said).strip()
        if "unknown flag: --validate" in words:
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
        words = _Words(self.pid)
        try:
            os.kill(self.pid, signal.SIGHUP)
        except ProcessLookupError:
            raise EngineError("the Docker Engine has just ended", 'Look at "journalctl -u docker"') from None
        self._await(satisfied, words, "did not take what it was to reload")

    def restart(self, satisfied):
        """As reload, by a restart of its service, which ends containers where there is no live-restore."""
        # Those of the process that is to come.
        words = _Words(None)
        if find("systemctl") and os.path.isdir("/run/systemd/system"):
            # What was tried too often is not tried again by systemd, and to come back must always be possible.
            run(self._systemctl("reset-failed"))
            command = self._systemctl("restart")
        else:
            command = [find("service") or "service", "docker", "restart"]
        status, said, error = run(command, max(self._timeout, 120))
        self.look_again()
        if status != 0:
            reason = words.said() or without_users((error or said).strip())[-_WORDS_LIMIT:]
            raise EngineError(f"the Docker Engine did not restart: {reason}", 'Look at "journalctl -u docker"')
        self._await(satisfied, words, "did not take what it was restarted for")

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
        """The number of the process, or None."""
        self._stopped = False
        try:
            with open(self._pid_file, encoding="ascii") as file:
                pid = int(file.read())
        except (OSError, ValueError):
            pid = None
        # A killed engine leaves its file, and its number to somebody else.
        if pid and _name(pid) == "dockerd":
            return pid
        pid, state = self._of_unit()
        # Where it was stopped, its socket may be there still, and to ask would start it.
        self._stopped = state in ("inactive", "failed")
        return pid if pid and _name(pid) == "dockerd" else None

    def _of_unit(self):
        """(number of the process or None, state) as systemd has it, the state empty where there is no such unit."""
        command = self._systemctl("show", "--property=MainPID,ActiveState,LoadState")
        said = run(command)[1] if find("systemctl") else ""
        shown = dict(line.partition("=")[::2] for line in said.splitlines())
        pid = shown.get("MainPID", "")
        state = shown.get("ActiveState", "") if shown.get("LoadState") == "loaded" else ""
        return int(pid) if pid.isdigit() else None, state

    def _systemctl(self, *arguments):
        return ["systemctl", *(["--user"] if self.rootless else []), *arguments, _UNIT]

    def _read_command_line(self):
        if not self.pid:
            return []
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as file:
                return file.read().decode("utf-8", "replace").split("\0")[1:-1]
        except OSError:
            return []

    def unit_arguments(self):
        """What its unit, with all drop-ins as they lie on the disk, or its init script starts it with."""
        settings = _settings(_unit_text(_USER_UNITS if self.rootless else _UNITS))
        if not settings["ExecStart"]:
            return shlex.split(_environment([], [_DEFAULTS]).get("DOCKER_OPTS", ""), comments=True)
        variables = _environment(settings["Environment"], settings["EnvironmentFile"])
        arguments = []
        for word in _split(settings["ExecStart"][-1])[1:]:
            alone = _VARIABLE.fullmatch(word) if "{" not in word else None
            # A variable that stands alone, without braces, gives as many words as it has, as systemd does it.
            arguments += (
                _split(variables.get(alone.group(1), ""))
                if alone
                else [_VARIABLE.sub(lambda found: variables.get(found.group(1), ""), word)]
            )
        return arguments


class _Words:
    """What the engine logs from now on."""

    def __init__(self, pid):
        self._pid = pid
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
        of_it = [f"_PID={self._pid}"] if self._pid else [f"--unit={_UNIT}"]
        # The journal knows microseconds, and the engine may answer within one of its own milliseconds.
        return run(["journalctl", *of_it, f"--since=@{self._since:.6f}", "--output=cat", "--no-pager"])[1]


def _message(line):
    found = _MESSAGE.search(line)
    text = found.group(1).replace('\\"', '"') if found else line.strip()
    return without_users(text)[:_WORDS_LIMIT]


def _name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


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


def _unit_text(folders):
    """The unit of the engine with its drop-ins, as they lie on the disk: systemd itself may not have read them yet."""
    folders = [os.path.expanduser(folder) for folder in folders]
    units = [os.path.join(folder, _UNIT) for folder in folders]
    drop_ins = {}
    for unit in units:
        for path in glob.glob(os.path.join(glob.escape(unit) + ".d", "*.conf")):
            drop_ins.setdefault(os.path.basename(path), path)
    paths = [unit for unit in units if os.path.exists(unit)][:1] + [drop_ins[name] for name in sorted(drop_ins)]
    return "\n".join(read_text(path) for path in paths)


def _settings(text):
    """What a unit file followed by its drop-ins says. An empty value forgets the former ones."""
    found = {"ExecStart": [], "Environment": [], "EnvironmentFile": []}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.strip() in found:
            items = found[name.strip()]
            if value.strip():
                items.append(value.strip())
            else:
                items.clear()
    return found


def _environment(assignments, files):
    variables = {}
    for words in assignments:
        variables.update(word.partition("=")[::2] for word in _split(words) if "=" in word)
    for name in files:
        for line in read_text(name.lstrip("-")).splitlines():
            if line.lstrip().startswith(("#", ";")):
                continue
            key, equals, value = line.strip().replace("export ", "", 1).partition("=")
            if equals:
                variables[key.strip()] = " ".join(_split(value))
    return variables


def _split(text):
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
