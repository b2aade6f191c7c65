# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines that an account runs without root: trust and proof, done as that account. Private to this collection.

All of it happens in a process that has become the account, since its owner can redirect any path below its home.
"""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import Account, MissingAccountError
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.verification import Verification
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_trust import RegistryTrust

# Of the options of a host, those of root's engines alone. The policies of the host are those of its accounts.
_OF_ACCOUNTS = {"certs_dir": None, "daemon_config_path": None, "policies": [], "of_host": True}
_LINGER = "/var/lib/systemd/linger"


class AccountEngines:
    """The engines of one account. user: its name. engines: their names, or None for those that are found.

    params: the options of registry_client. check: options of registry_check for the proof, or None. `result` and
    `warnings` tell what was done, and `unrestored` what could not be taken back.
    """

    def __init__(self, user, engines, params, check, check_mode):
        self._user = user
        self._params = {**params, **_OF_ACCOUNTS, "engines": engines}
        self._check = None if check_mode else check
        self._check_mode = check_mode
        self._saved = []
        self.result = {"user": user, "changed": False, "trust": {}, "checks": []}
        self.warnings = []
        self.unrestored = []

    def run(self):
        """Does all of it, or nothing. Raises RegistryError."""
        try:
            account = Account(self._user)
        except MissingAccountError:
            if self._params["state"] == "absent" or self._check_mode:
                # It has taken its files along, or is made by a task before this one.
                return
            raise
        try:
            done = account.do(self._work)
        except RegistryError as error:
            raise RegistryError(f"Account {self._user}: {error.message}", error.cure, error.mistake) from None
        self.result.update(done["result"])
        self.warnings = [f"Account {self._user}: {text}" for text in done["warnings"]]
        self._saved = done["saved"]
        docker = self.result["trust"]["engine"].get("docker", {})
        if docker.get("installed") and os.path.isdir("/run/systemd/system"):
            self._check_linger()

    def take_back(self):
        """Gives the files of the account what they held before `run`."""
        saved, self._saved = self._saved, []
        if saved:
            self.unrestored = Account(self._user).do(lambda: self._give_back(saved))

    def _check_linger(self):
        if self._params["state"] == "present" and not os.path.exists(os.path.join(_LINGER, self._user)):
            self.warnings.append(
                f"Account {self._user} does not linger: its Docker Engine ends with its last session. "
                f"Run loginctl enable-linger {self._user}."
            )

    # --- as the account -----------------------------------------------------------------------------------------------

    def _work(self):
        socket = _set_runtime_directory()
        trust = RegistryTrust(self._params, self._check_mode)
        if not trust.has_engine and self._params["state"] == "present":
            raise InputError(
                "no engine of its own, neither Podman nor a rootless Docker Engine",
                "Install one, or take the account out of the list",
            )
        result = {"trust": trust.run(), "checks": []}
        warnings = list(trust.warnings)
        try:
            self._prove(result, warnings, socket)
        except BaseException:
            trust.take_back()
            raise
        result["changed"] = result["trust"]["changed"]
        return {"result": result, "warnings": warnings, "saved": trust.saved()}

    def _prove(self, result, warnings, socket):
        engines = result["trust"]["engine"]
        for name, engine in engines.items() if self._check else ():
            if engine.get("running", engine["installed"]):
                verification = Verification({**self._check, "engine": name, "socket": socket}, False)
                verification.run()
                result["checks"].append(verification.result)
                warnings += verification.warnings
            else:
                warnings.append(f"Not proven: {name} does not run.")

    def _give_back(self, saved):
        _set_runtime_directory()
        trust = RegistryTrust(self._params, self._check_mode)
        trust.take_up(saved)
        trust.take_back()
        return trust.unrestored


def _set_runtime_directory():
    """Has clients find the engines that the account runs; the socket of its Docker Engine."""
    directory = f"/run/user/{os.geteuid()}"
    if os.path.isdir(directory) and os.stat(directory).st_uid == os.geteuid():
        os.environ.update(XDG_RUNTIME_DIR=directory, DBUS_SESSION_BUS_ADDRESS=f"unix:path={directory}/bus")
    return os.path.join(directory, "docker.sock")
