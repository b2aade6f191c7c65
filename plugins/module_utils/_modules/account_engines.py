# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines that an account runs without root: trust and proof, done as that account. Private to this collection.

All of it happens in processes that have become the account, since its owner can redirect any path below its home. They
are given no secret that the account does not have already.
"""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import (
    Account,
    MissingAccountError,
    set_runtime_directory,
)
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.verification import Verification
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_trust import RegistryTrust

# Of the options of a host, those of root's engines alone. The policies of the host are those of its accounts.
_OF_ACCOUNTS = {"certs_dir": None, "daemon_config_path": None, "policies": [], "of_host": True}
_LINGER = "/var/lib/systemd/linger"


class AccountEngines:
    """The engines of one account. user: its name. engines: their names, or None for those that are found.

    params: the options of registry_client. check: options of registry_check for the proof, without a login, or None.
    `result` and `warnings` tell what was done, and `unrestored` what could not be taken back.
    """

    def __init__(self, user, engines, params, check, check_mode):
        self._user = user
        # Root's engines are logged in with what is root's.
        registries = [{**one, "username": None, "password": None} for one in params["registries"]]
        self._params = {**params, **_OF_ACCOUNTS, "registries": registries, "engines": engines}
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
            told = account.do(self._tell)
            self._saved = told["saved"]
            self.result.update(trust=told["trust"], changed=told["trust"]["changed"])
            self._warn(told["warnings"])
            if self._check:
                proven = account.do(self._prove)
                self.result["checks"] = proven["checks"]
                self._warn(proven["warnings"])
        except RegistryError as error:
            self.take_back()
            raise RegistryError(f"Account {self._user}: {error.message}", error.cure, error.mistake) from None
        self._check_linger()

    def take_back(self):
        """Gives the files of the account what they held before `run`."""
        saved, self._saved = self._saved, []
        if not saved:
            return
        try:
            self.unrestored += Account(self._user).do(lambda: self._give_back(saved))
        except RegistryError as error:
            # The other steps are taken back all the same.
            self.unrestored += [one["path"] for one in saved]
            self._warn([str(error)])

    def _warn(self, texts):
        self.warnings += [f"Account {self._user}: {text}" for text in texts]

    def _check_linger(self):
        has_docker = self.result["trust"]["engine"].get("docker", {}).get("installed")
        if not has_docker or self._params["state"] == "absent" or not os.path.isdir("/run/systemd/system"):
            return
        if not os.path.exists(os.path.join(_LINGER, self._user)):
            self.warnings.append(
                f"Account {self._user} does not linger: its Docker Engine ends with its last session. "
                f"Run loginctl enable-linger {self._user}."
            )

    # --- as the account -----------------------------------------------------------------------------------------------

    def _tell(self):
        set_runtime_directory()
        trust = RegistryTrust(self._params, self._check_mode)
        if not trust.has_engine and self._params["state"] == "present":
            raise InputError(
                "no engine of its own, neither Podman nor a rootless Docker Engine",
                "Install one, or take the account out of the list",
            )
        return {"trust": trust.run(), "warnings": trust.warnings, "saved": trust.saved()}

    def _prove(self):
        socket = set_runtime_directory()
        connection = Connection(self._check)
        done = {"checks": [], "warnings": []}
        if connection.credential(connection.registry()) is None:
            done["warnings"].append(f"Not proven: it has no login to {self._check['registry']}.")
            return done
        for name, engine in self.result["trust"]["engine"].items():
            if engine.get("running", engine["installed"]):
                verification = Verification({**self._check, "engine": name, "socket": socket}, False)
                verification.run()
                done["checks"].append(verification.result)
                done["warnings"] += verification.warnings
            else:
                done["warnings"].append(f"Not proven: {name} does not run.")
        return done

    def _give_back(self, saved):
        set_runtime_directory()
        trust = RegistryTrust(self._params, self._check_mode)
        trust.take_up(saved)
        trust.take_back()
        return trust.unrestored
