# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dockerd of a host: its process, its unit, its arguments and its files. Private to this collection."""

from __future__ import annotations

import os
import shlex

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._engine import systemd_units
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import SOCKET
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_flags import flag_value, flag_values
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_processes import Process, named

DEFAULT_UNIT = "docker.service"
# The option of a dockerd that checks a file and ends.
VALIDATE = "--validate"
_DEFAULTS = "/etc/default/docker"
_NAME = "dockerd"
_CONFIG = "/etc/docker/daemon.json"
_CERTS = "/etc/docker/certs.d"
# Docker as a snap: snap starts the program, which sees a directory of the snap as /etc/docker.
_SNAP = ("snap", "run", "docker.dockerd")
_SNAP_CONFIG = "/var/snap/docker/current/config/daemon.json"
_SNAP_CERTS = "/var/snap/docker/current/etc/docker/certs.d"
# The parents of services on hosts without systemd. A process with another parent belongs to a supervisor.
_INIT_PID = 1
_INIT_NAMES = ("supervise-daemon",)
_USER_UNITS = ("~/.config/systemd/user", "/etc/systemd/user", "/run/systemd/user", "/usr/lib/systemd/user")


class DockerdInstance:
    """The dockerd of this host: that of root, or the rootless one of the account.

    config_path: selects the engine that reads this file; without it, the one on the default socket is selected.
    may_be_unread: whether config_path may be a file that no running engine reads, as in an image under construction.
    Raises InputError where the selection is ambiguous.
    """

    def __init__(self, config_path=None, may_be_unread=False):
        self._given_path, self._may_be_unread = config_path, may_be_unread
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        self.rootless = os.geteuid() != 0
        self.default_socket = os.path.join(runtime, "docker.sock") if self.rootless else SOCKET
        self.refresh()

    def refresh(self):
        """Finds the process and its unit again. Raises InputError."""
        try:
            self._discover()
            unread = self._given_path is not None and not self.reads(self._given_path)
        except InputError:
            if self._given_path is None or not self._may_be_unread:
                raise
            unread = True
        if unread and self._may_be_unread:
            # The running engine is not concerned: it gets no request, and its arguments do not count.
            self.process, self.unit, self.running_arguments = None, "", []
            self.stopped = self.is_ignored = True

    def _discover(self):
        self.stopped = self.is_ignored = False
        self.unit = self._unit_on_disk()
        self.process = self._find()
        if self.process:
            self.unit = self._unit_of(self.process)
        elif self.unit:
            # The socket of a stopped service may still exist, and a request to it would start the service.
            self.stopped = self._systemd_properties(self.unit).get("ActiveState") in ("inactive", "failed")
        self.running_arguments = self.process.arguments[1:] if self.process else []

    # --- the process --------------------------------------------------------------------------------------------------

    @property
    def pid(self):
        return self.process.pid if self.process else None

    @property
    def installed(self):
        """Whether there is an engine, running or not. The client alone does not count.

        Of an account, the program does not count either: it is that of root's engine, too.
        """
        return bool(self.process or self.unit or (not self.rootless and find(_NAME)))

    @property
    def program(self):
        """The dockerd to validate files with, or None: the running one, if this host can start it."""
        if self.process and not self.process.sees_our_files:
            return None
        running = self.process.program if self.process else ""
        # After an upgrade of the package, the running program has the name of a deleted file.
        return running if os.path.basename(running) == _NAME else find(_NAME)

    @property
    def is_supervised(self):
        """Whether the running process belongs to a supervisor, and not to init."""
        return bool(self.process) and not _is_of_init(self.process.parent)

    @property
    def socket(self):
        # The engine may listen on TCP as well.
        hosts = flag_values(self.running_arguments, "--host") + flag_values(self.running_arguments, "-H")
        paths = [host[len("unix://") :] for host in hosts if host.startswith("unix://")]
        return next(filter(None, paths), self.default_socket)

    def _find(self):
        """The Process, or None. Raises InputError where several engines run and none of them can be selected."""
        engines = _without_transient(process for process in named(_NAME) if process.account == os.geteuid())
        if len(engines) < 2:
            return engines[0] if engines else None
        for is_selected in (self._reads_given_path, self._listens_on_default_socket):
            selected = [process for process in engines if is_selected(process)]
            if len(selected) == 1:
                return selected[0]
        found = ", ".join(f"process {process.pid} reads {self._config_of(process)}" for process in engines)
        raise InputError(
            f"{len(engines)} Docker Engines run here, and none of them listens on {self.default_socket}: {found}",
            "Set daemon_config_path to the file that the intended engine reads",
        )

    def _reads_given_path(self, process):
        path = process.host_path(self._config_of(process)) if self._given_path else None
        return bool(path) and os.path.realpath(path) == os.path.realpath(self._given_path)

    def _listens_on_default_socket(self, process):
        return process.listens(self.default_socket)

    # --- the arguments ------------------------------------------------------------------------------------------------

    def arguments(self):
        """The arguments of the running process and those of its next start: a drop-in may be newer than the process."""
        return self.running_arguments + self.unit_arguments()

    def values(self, flag):
        """All values of a flag of the running engine."""
        return flag_values(self.running_arguments, flag)

    def unit_arguments(self):
        """The arguments in the unit, with its drop-ins as they are on disk, or in the defaults of the init script."""
        if self.is_ignored:
            return []
        found = systemd_units.arguments(self.unit, self._unit_folders) if self.unit else None
        if found is not None:
            # The arguments of a snap's program are defined within the snap.
            return [] if self._is_snap else found
        if self.is_supervised:
            return []
        return shlex.split(systemd_units.environment([], [_DEFAULTS]).get("DOCKER_OPTS", ""), comments=True)

    # --- the files ----------------------------------------------------------------------------------------------------

    def reads(self, path):
        """Whether a file is the one that the engine reads."""
        return os.path.realpath(self.config_path) == os.path.realpath(path)

    @property
    def config_path(self):
        """The daemon.json that the engine reads, as its arguments define it. Raises InputError."""
        if self.process:
            return self._host_path(self._config_of(self.process))
        return flag_value(self.unit_arguments(), "--config-file") or self._default(_CONFIG, _SNAP_CONFIG, "daemon.json")

    @property
    def certs_dir(self):
        """The directory of certificates that the engine reads; in an image, the one next to its file.

        Raises InputError.
        """
        if self.is_ignored:
            return os.path.join(os.path.dirname(self._given_path), "certs.d")
        if self.process:
            return self._host_path(self._default_of(self.process, _CERTS, "certs.d"))
        return self._default(_CERTS, _SNAP_CERTS, "certs.d")

    def _default(self, path, snap_path, name):
        if self.rootless:
            return _below_config_home(os.environ, name)
        return snap_path if self._is_snap else path

    def _default_of(self, process, path, name):
        """The default path of a running engine, within the file system of that process."""
        return _below_config_home(process.environment, name) if self.rootless else path

    def _config_of(self, process):
        return flag_value(process.arguments, "--config-file") or self._default_of(process, _CONFIG, "daemon.json")

    def _host_path(self, path):
        found = self.process.host_path(path)
        if found is None:
            raise InputError(
                f"the Docker Engine (process {self.pid}) reads {path} in a file system of its own, which this host "
                "does not have",
                "Mount a directory of this host there, or run the task where the engine runs",
            )
        return found

    # --- the unit -----------------------------------------------------------------------------------------------------

    def systemctl(self, *arguments):
        """The command line of systemctl for the manager that the engine belongs to."""
        return ["systemctl", *(["--user"] if self.rootless else []), *arguments]

    @property
    def _unit_folders(self):
        return [os.path.expanduser(folder) for folder in (_USER_UNITS if self.rootless else systemd_units.UNITS)]

    def _unit_of(self, process):
        """The systemd unit of a process, or an empty string. The unit of a supervisor does not count."""
        unit = process.unit
        main = self._systemd_properties(unit).get("MainPID", "") if unit else ""
        # RootlessKit is the parent of a rootless engine.
        is_main = main == str(process.pid) or (main.isdigit() and Process(int(main)).name == "rootlesskit")
        return unit if is_main else ""

    def _unit_on_disk(self):
        """The unit that starts an engine, under any name, or an empty string."""
        folders = self._unit_folders
        if systemd_units.exists(DEFAULT_UNIT, folders):
            return DEFAULT_UNIT
        found = (
            unit for unit in systemd_units.names(folders) if any(map(_is_engine, systemd_units.commands(unit, folders)))
        )
        return next(found, "")

    def _systemd_properties(self, unit):
        """The properties that systemd has of a unit, empty where the unit is not loaded."""
        command = self.systemctl("show", "--property=MainPID,ActiveState,LoadState", unit)
        output = run(command)[1] if find("systemctl") else ""
        properties = dict(line.partition("=")[::2] for line in output.splitlines())
        return properties if properties.get("LoadState") == "loaded" else {}

    @property
    def _is_snap(self):
        return any(map(_is_of_snap, systemd_units.commands(self.unit, self._unit_folders)))


def _without_transient(processes):
    """The processes that are engines.

    A dockerd with --validate only checks a file. A child that an engine has just forked has the engine's name until
    it executes another program.
    """
    lasting = [process for process in processes if VALIDATE not in process.arguments]
    pids = {process.pid for process in lasting}
    return [process for process in lasting if process.parent.pid not in pids]


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
