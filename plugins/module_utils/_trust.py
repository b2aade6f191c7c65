# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's trust in registries: the files of its engines, and what they make of them. Private to this collection."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.wharf.registry.plugins.module_utils._certificates import check_ca, check_pair, fingerprints
from ansible_collections.wharf.registry.plugins.module_utils._changes import (
    Change,
    State,
    apply_all,
    in_turn,
    remove_empty,
    roll_back_all,
)
from ansible_collections.wharf.registry.plugins.module_utils._daemon_config import (
    INSECURE,
    MIRRORS,
    DaemonConfig,
    believed,
    check_mirror,
    same_mirror,
    same_registry,
    without_users,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine import Daemon, EngineError, RefusedError
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._file import OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._podman import (
    Podman,
    insecure_text,
    mirrors_of,
    mirrors_text,
)
from ansible_collections.wharf.registry.plugins.module_utils._reference import parse_registry

# How often to start over when somebody else was faster.
_ATTEMPTS = 5
_FLAGS = {INSECURE: "--insecure-registry", MIRRORS: "--registry-mirror"}
_CA, _CERTIFICATE, _KEY = "ca.crt", "client.cert", "client.key"


class Wish:
    """What engines are to hold of registries. Raises InputError where that can't be meant; `warnings` is what can.

    registries: dictionaries as the options of registry_client describe them. present: whether it is to be there.
    """

    def __init__(self, registries, mirrors, present):
        self.present = present
        self.mirrors = mirrors
        self.registries = [
            (parse_registry(options["host"], former=not present).name, options) for options in registries
        ]
        self.warnings = []
        names = [name for name, _options in self.registries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"registries names {' and '.join(twice)} more than once", "Say all of a registry in one entry"
            )
        for url in mirrors:
            check_mirror(url)
        if present:
            for name, options in self.registries:
                self._check(name, options)

    def _check(self, name, options):
        if options["ca"]:
            self.warnings += check_ca(options["ca"], f"the CA of {name}")
        certificate, key = options["client_cert"], options["client_key"]
        if (certificate is None) != (key is None) or bool(certificate) != bool(key):
            raise InputError(f"{name} has one of client_cert and client_key", "Give both, or an empty text for both")
        if certificate:
            check_pair(certificate, key, name)

    def names(self, insecure):
        """The registries that are to be used without TLS or a CA, or those that are not."""
        return [name for name, options in self.registries if (self.present and bool(options["insecure"])) is insecure]

    def certificate_files(self, folder):
        """[(path, bytes or None, permissions)]. What an option says nothing of stays as it is."""
        files = []
        for name, options in self.registries:
            for file, option, mode in (
                (_CA, "ca", 0o644),
                (_CERTIFICATE, "client_cert", 0o644),
                (_KEY, "client_key", 0o600),
            ):
                text = options[option] if self.present else ""
                if text is not None:
                    content = f"{text.strip()}\n".encode() if text.strip() else None
                    files.append((os.path.join(folder, name, file), content, mode))
        return files


def certificate_changes(wish, folder):
    """The Changes of the certificates below a directory. Raises InputError where one would reach what is not ours."""
    changes = []
    for file in wish.certificate_files(folder):
        change = Change(*file)
        if os.path.islink(change.path):
            if change.before.content == change.after:
                continue
            raise InputError(
                f"{change.path} is a symbolic link to {os.readlink(change.path)}, which others may read as well",
                "Remove the link, or change what it leads to yourself",
            )
        changes.append(change)
    return changes


class Docker:
    """What a Wish makes of the Docker Engine of this host."""

    name = "docker"

    def __init__(self, timeout, certs_dir=None, config_path=None, apply="reload"):
        # The file of an image that is being made is read by no engine yet, and the one that runs here is told nothing.
        self.daemon = Daemon(timeout, config_path, may_be_unread=apply == "never")
        self._given_certs_dir, self._given_path = certs_dir, config_path
        self._look()
        self.restart_tried = False
        self._config = self._wish = None
        # What a flag of its own makes insecure, no file makes secure.
        self._flagged = []

    @property
    def installed(self):
        return self.daemon.installed

    def look_again(self):
        """What another run has done meanwhile may have restarted it."""
        self.daemon.look_again()
        self._look()

    def _look(self):
        self.config_path = self._given_path or self.daemon.config_path
        self._certs_dir = self._given_certs_dir or self.daemon.certs_dir
        self.belief = self.daemon.believes()

    @property
    def silent(self):
        """Whether it runs, and can't be asked what it believes."""
        return bool(self.daemon.pid and not self.belief)

    def plan(self, wish):
        """The Changes that it takes. Raises InputError where they can't be made."""
        self._wish = wish
        self._flagged = [name for name in wish.names(insecure=False) if name in self.daemon.values(_FLAGS[INSECURE])]
        if self._flagged:
            wish.warnings.append(
                f"dockerd is started with --insecure-registry for {', '.join(self._flagged)}, which stays insecure "
                "until that flag is gone."
            )
        change = Change(self.config_path, None, option="daemon_config_path")
        before = DaemonConfig(change.before.content, self.config_path)
        absent = [] if wish.present else wish.mirrors
        self._config = before.with_entries(
            INSECURE, wish.names(insecure=True), wish.names(insecure=False), same_registry
        ).with_entries(MIRRORS, wish.mirrors if wish.present else [], absent, same_mirror)
        for key, entries in ((INSECURE, wish.names(insecure=False)), (MIRRORS, absent)):
            if self._remembers(key, entries):
                self._config = self._config.told_to_forget(key)
        changes = certificate_changes(wish, self._certs_dir)
        if self._config is not before:
            self._check_path()
            self.daemon.check_file(self._config)
            change.after = self._config.raw
            changes.append(change)
        return changes

    def _remembers(self, key, entries):
        """Whether the engine has one of these still although its file says nothing of the list any more."""
        if not self.belief or self._config.content.get(key) is not None or self.daemon.values(_FLAGS[key]):
            return False
        kept = self.belief.insecure if key == INSECURE else self.belief.mirrors
        return any(entry.rstrip("/") in kept for entry in entries)

    def _check_path(self):
        """Writing a file that the engine does not read would change nothing."""
        if self._given_path and self.belief and not self.daemon.reads(self.config_path):
            raise InputError(
                f"the Docker Engine reads {self.daemon.config_path}, and not {self.config_path}",
                "Correct daemon_config_path, or leave it out; to prepare a file that no engine reads yet, set apply to "
                "never",
            )

    def satisfied(self, belief):
        """Whether an engine that believes this has taken what the plan wrote, and lost nothing that it had."""
        if any(not believed(name, belief.insecure) for name in self._wish.names(insecure=True)):
            return False
        if any(name in belief.insecure for name in self._wish.names(insecure=False) if name not in self._flagged):
            return False
        mirrors = [url.rstrip("/") in belief.mirrors for url in self._wish.mirrors]
        if not all(mirrors) if self._wish.present else any(mirrors):
            return False
        before = self.belief or belief
        return all(
            believed(entry, belief.insecure)
            for entry in self._config.entries(INSECURE)
            if believed(entry, before.insecure)
        ) and all(
            url.rstrip("/") in belief.mirrors
            for url in self._config.entries(MIRRORS)
            if url.rstrip("/") in before.mirrors
        )

    def check(self):
        """The engine was asked already."""

    def _give_back(self, change):
        """Puts the former daemon.json back, and has the engine forget what it has taken since."""
        state = change.before
        former = DaemonConfig(state.content, self.config_path)
        told = former
        if self.daemon.pid:
            # A key that is not in the file leaves the engine as it is: it is told of an empty list first. One that is
            # a flag may not stand in the file, and no file has changed it.
            for key, flag in _FLAGS.items():
                if former.content.get(key) is None and not self.daemon.values(flag):
                    told = told.told_to_forget(key)
        with change.file.locked():
            if told is not former:
                change.put(State(told.raw, state.mode, state.owner))
                self._reload_former(former)
            change.put(state)
        remove_empty(change.file.made_folders)
        if told is former and self.daemon.pid:
            self._reload_former(former)

    def gave_back(self, change):
        """Puts back what a change found, unless somebody else has written since. Returns whether that could be done."""
        try:
            if change.file.load() == change.after:
                self._give_back(change)
        except InputError:
            return False
        return True

    def _reload_former(self, former):
        insecure, mirrors = former.entries(INSECURE), former.entries(MIRRORS)

        def satisfied(belief):
            names = [name for name in belief.insecure if "/" not in name]
            allowed = insecure + self.daemon.values(_FLAGS[INSECURE])
            allowed_mirrors = mirrors + self.daemon.values(_FLAGS[MIRRORS])
            return all(any(same_registry(name, entry) for entry in allowed) for name in names) and all(
                any(same_mirror(url, mirror) for mirror in allowed_mirrors) for url in belief.mirrors
            )

        # The error that is on its way says more than one about the way back would.
        with contextlib.suppress(EngineError):
            self.daemon.reload(satisfied)

    def report(self, anew):
        """What the running engine says of itself, asked anew where something may have changed."""
        belief = self.daemon.believes() if anew else self.belief
        return {
            "installed": self.installed,
            "running": belief is not None,
            "version": belief.version if belief else "",
            "insecure_registries": belief.insecure if belief else [],
            "mirrors": belief.mirrors if belief else [],
            "live_restore": bool(belief and belief.live_restore),
            "containers_running": belief.containers_running if belief else 0,
        }

    def shown(self, content):
        config = DaemonConfig(content, self.config_path)
        return [
            without_users(f"{key}: {', '.join(config.entries(key)) or '[]'}")
            for key in (INSECURE, MIRRORS)
            if key in config.content
        ]


class PodmanFiles:
    """What a Wish makes of Podman on this host."""

    name = "podman"

    def __init__(self, timeout, certs_dir=None):
        self.podman = Podman(timeout)
        own = "/etc/containers/certs.d" if os.geteuid() == 0 else "~/.config/containers/certs.d"
        self._certs_dir = certs_dir or os.path.expanduser(own)

    @property
    def installed(self):
        return bool(self.podman.program)

    def plan(self, wish):
        changes = certificate_changes(wish, self._certs_dir)
        for insecure in (True, False):
            for name in wish.names(insecure):
                content = insecure_text(name).encode() if insecure else None
                changes.append(Change(self.podman.insecure_path(name), content, 0o644 if insecure else None))
                if wish.present:
                    check = self.podman.check_insecure if insecure else self.podman.check_secure
                    wish.warnings += check(name)
        if wish.mirrors:
            changes.append(self._mirrors(wish))
        return changes

    def _mirrors(self, wish):
        change = Change(self.podman.mirrors_path, None, 0o644)
        found = mirrors_of((change.before.content or b"").decode("utf-8", "replace"))
        kept = [url for url in found if wish.present or not any(same_mirror(url, other) for other in wish.mirrors)]
        if wish.present:
            kept += [url for url in wish.mirrors if not any(same_mirror(url, other) for other in kept)]
            wish.warnings += self.podman.check_mirrors()
        change.after = mirrors_text(kept).encode() if kept else None
        if change.after is None:
            change.mode = None
        return change

    def look_again(self):
        """It does not run, and its files are read by each plan."""

    def check(self):
        self.podman.check()

    def report(self, _anew):
        return {"installed": self.installed, "version": self.podman.version}

    def shown(self, content):
        return content.decode("utf-8", "replace").splitlines()


class Trust:
    """The trust of this host in registries, as the options of registry_client describe it.

    params maps the names of the options to their values. `warnings` is what `run` has to say besides its result.
    """

    def __init__(self, params, check_mode):
        self._params = params
        self._check_mode = check_mode
        self._engines = _find_engines(params)
        self._docker = next((engine for engine in self._engines if engine.name == Docker.name), None)
        self._applied = []
        self._reloaded = self._restart_needed = False
        self.warnings = []
        # The paths of what could not be given back.
        self.left = []

    def run(self):
        """The result of registry_client. Raises RegistryError, and nothing was changed then."""
        wish = Wish(self._params["registries"], self._params["mirrors"], self._params["state"] == "present")
        changes = self._run(wish)
        self.warnings = [*dict.fromkeys([*wish.warnings, *self.warnings])]
        before, after = _diff_of(self._engines, changes)
        return {
            "changed": bool(changes) or self._reloaded,
            "changed_files": [change.path for change in changes],
            "reloaded": self._reloaded,
            "restart_needed": self._restart_needed,
            "engine": {engine.name: engine.report(bool(changes) or self._reloaded) for engine in self._engines},
            "diff": {"before": before, "after": after},
        }

    def take_back(self):
        """Leaves the files and the engine as they were before `run`. What could not be is in `left`."""
        if self._applied:
            with in_turn():
                self._give_back()

    def _run(self, wish):
        """The Changes that were made, or would be."""
        if self._check_mode:
            return self._plan(wish)
        with in_turn() as waited:
            for engine in self._engines if waited else ():
                engine.look_again()
            for _attempt in range(_ATTEMPTS):
                with contextlib.suppress(OvertakenError):
                    return self._fulfil(wish)
        raise InputError("somebody else writes the same files again and again", "Run it again when that is over")

    def _plan(self, wish):
        """The Changes of all engines that are needed, each file once. Raises InputError."""
        self.warnings = []
        changes = {}
        for engine in self._engines:
            for change in engine.plan(wish):
                # The directories of two engines may be one by a symbolic link.
                changes.setdefault(change.file.target, change)
        needed = [change for change in changes.values() if change.needed]
        self._restart_needed = False
        self._reloaded = self._docker is not None and self._is_to_be_told(needed)
        return needed

    def _fulfil(self, wish):
        changes = self._plan(wish)
        self._applied = apply_all(changes)
        try:
            if self._reloaded:
                self._tell()
            for engine in self._engines if self._applied else ():
                engine.check()
        except BaseException as error:
            self._give_back()
            if isinstance(error, EngineError):
                left = " and ".join(self.left)
                state = f"{left} could not be given back" if left else "Its files hold what they held before"
                raise EngineError(error.message, f"{state}. {error.cure}") from None
            raise
        for change in self._applied:
            if change.after is None and _is_certificate(change.path):
                # The directory of the registry, where nobody else keeps anything in it.
                remove_empty([os.path.dirname(change.path)])
        return changes

    def _is_to_be_told(self, changes):
        """Whether the engine is to be told now. That it is not, and would have to be, is noted and warned of."""
        docker = self._docker
        writes = any(change.path == docker.config_path for change in changes)
        if docker.silent and writes:
            self._restart_needed = True
            self.warnings.append(
                f"The Docker Engine runs (process {docker.daemon.pid}) and does not answer on {docker.daemon.socket}: "
                "it was told nothing of its file. Reload or restart it."
            )
        if not docker.belief or not (writes or not docker.satisfied(docker.belief)):
            return False
        apply = self._params["apply"]
        if apply == "never" or (not docker.daemon.pid and apply != "restart"):
            self._restart_needed = True
            self.warnings.append(_restart_warning(docker))
            return False
        return True

    def _tell(self):
        """Has the engine take what was written. Raises EngineError."""
        docker = self._docker
        try:
            docker.daemon.reload(docker.satisfied)
        except RefusedError as error:
            raise RefusedError(error.message, "Mend what it names in its file") from None
        except EngineError as error:
            if self._params["apply"] != "restart":
                raise EngineError(error.message, "Where a reload is not enough, set apply to restart") from None
            if docker.belief.containers_running and not docker.belief.live_restore:
                self.warnings.append(
                    f"The Docker Engine was restarted, which stopped {docker.belief.containers_running} containers: it "
                    "has no live-restore."
                )
            docker.restart_tried = True
            docker.daemon.restart(docker.satisfied)

    def _give_back(self):
        docker, applied = self._docker, self._applied
        self._applied = []
        config = [change for change in applied if docker and change.path == docker.config_path]
        self.left += roll_back_all([change for change in applied if change not in config])
        self.left += [change.path for change in config if not docker.gave_back(change)]
        if docker and docker.restart_tried and not docker.daemon.believes():
            # It did not come up again with what was written, and is not left down.
            with contextlib.suppress(EngineError):
                docker.daemon.restart(lambda _belief: True)


def _find_engines(params):
    """The engines that are asked for, or those that there are. Raises InputError."""
    wanted = params["engines"]
    engines = []
    if wanted is None or Docker.name in wanted:
        engines.append(Docker(params["timeout"], params["certs_dir"], params["daemon_config_path"], params["apply"]))
    if wanted is None or PodmanFiles.name in wanted:
        engines.append(PodmanFiles(params["timeout"], params["certs_dir"]))
    if wanted is None:
        # Docker's files can lie there before it comes.
        engines = [engine for engine in engines if engine.installed] or engines[:1]
    return engines


def _restart_warning(docker):
    warning = "The Docker Engine has not taken what its file says: reload or restart it."
    if docker.belief.containers_running and not docker.belief.live_restore:
        warning += (
            f" A restart would stop {docker.belief.containers_running} containers, since live-restore is off; a reload "
            "stops none."
        )
    return warning


def _is_certificate(path):
    return os.path.basename(path) in (_CA, _CERTIFICATE, _KEY)


def _diff_of(engines, changes):
    """(before, after): what the files say of registries. Keys and what is not ours stay out of it."""
    config_paths = {engine.config_path: engine for engine in engines if engine.name == Docker.name}

    def shown(change, state):
        if state.content is None:
            return [f"{change.path}: none"]
        if change.path in config_paths:
            lines = config_paths[change.path].shown(state.content)
        elif _is_certificate(change.path):
            lines = fingerprints(state.content.decode("utf-8", "replace"))
        else:
            lines = state.content.decode("utf-8", "replace").splitlines()
        mode = "" if change.mode is None else f" ({state.mode:04o})"
        return [f"{change.path}{mode}:", *(f"  {line}" for line in lines)]

    before = [line for change in changes for line in shown(change, change.before)]
    after = [line for change in changes for line in shown(change, State(change.after, change.mode))]
    return "".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after)
