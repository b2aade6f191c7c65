# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is brought to use a registry: trust, logins and the proof, or none of it. Private to this collection."""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._client_config.login import Login
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import Account
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.verification import Verification
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import SOCKET, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_trust import RegistryTrust
from ansible_collections.wharf.registry.plugins.module_utils._modules.account_engines import AccountEngines
from ansible_collections.wharf.registry.plugins.module_utils._modules.policy_proof import PolicyProof

# Of the options of a connection, those that a step of a host does not have.
_CONNECTION = {"client_cert": None, "client_key": None, "config_path": None}
# Those of nodes of Kubernetes: where one is stopped, Docker is no substitute.
_NODE_ENGINES = ("containerd", "k3s", "rke2")
# What builds, and pulls nothing by itself.
_BUILDERS = ("buildkit",)


class Onboarding:
    """All steps of a host, as the options of registry_onboard describe them.

    params maps their names to their values. `result` and `warnings` tell what was done, however it ends.
    """

    def __init__(self, params, check_mode):
        self._params = params
        self._check_mode = check_mode
        self._done = []
        # Their options by their names, the first of them first.
        self._registries = {}
        self._policies = []
        self.warnings = []
        self.result = {
            "changed": False,
            "step": "",
            "trust": {},
            "logins": [],
            "policies": [],
            "check": {},
            "accounts": [],
            "complete": True,
            "rolled_back": False,
            "unrestored_files": [],
        }

    def run(self):
        """Takes all steps. Raises RegistryError, and what was changed before is as it was then."""
        self._registries = {self._name(one["host"]): one for one in self._params["registries"]}
        self._examine()
        logins = [self._login_step(login) for login in self._params["logins"]]
        accounts = [self._account_step(account) for account in self._params["accounts"]]
        steps = [self._trust, *logins, self._prove_policies, self._check, *accounts]
        if self._params["state"] == "absent":
            # Trust last: a helper may want to talk to the registry once more.
            steps = [*logins, *accounts, self._trust]
        try:
            for step in steps:
                step()
                if not self.result["complete"]:
                    break
        except BaseException as error:
            self._take_back()
            if isinstance(error, RegistryError) and self.result["rolled_back"]:
                left = " and ".join(self.result["unrestored_files"])
                state = f"{left} could not be given back" if left else "What was done before it was taken back"
                error.cure = f"{state}. {error.cure}"
            raise
        self.result["step"] = ""

    def diffs(self):
        """What each step changed, for the diff of the whole."""
        found = [
            self.result["trust"].get("diff"),
            *(login["diff"] for login in self.result["logins"]),
            *(account["trust"].get("diff") for account in self.result["accounts"]),
        ]
        return [diff for diff in found if diff and diff["before"] != diff["after"]]

    def _examine(self):
        """What is known to be wrong with later steps is said before the first one, and also where none follows it."""
        present = self._params["state"] == "present"
        self.result["step"] = "login"
        for login in self._params["logins"]:
            self._look_at(login)
            # In check mode an account may be missing that the play makes before this.
            if login["user"] is not None and present and not self._check_mode:
                Account(login["user"])
        self.result["step"] = "accounts"
        for account in self._params["accounts"]:
            if present and not self._check_mode:
                Account(account["user"])
        self.result["step"] = "policies"
        self._policies = [PolicyProof(policy) for policy in self._params["policies"]] if present else []
        self.result["step"] = "check"
        if self._params["check"] and present:
            self._look_at(self._params["check"])

    def _look_at(self, options):
        self._connection(options)
        if self._params["state"] == "present":
            Connection(options).given_credential()

    def _trust(self):
        self.result["step"] = "trust"
        trust = RegistryTrust({**self._params, "registries": self._trusted()}, self._check_mode)
        self._done.append(trust)
        self.result["trust"] = trust.run()
        self._took(trust, self.result["trust"])
        engine = self.result["trust"]["engine"]
        # Nothing can be pulled with before there is an engine. What was written is read when it comes.
        # Podman is no daemon.
        self.result["complete"] = (
            bool(_pulling(engine))
            or any(engine.get(name, {}).get("running") for name in _BUILDERS)
            or engine.get("podman", {}).get("crio", False)
            # Engines of accounts are enough.
            or bool(self._params["accounts"])
            or self._params["state"] == "absent"
        )
        stopped = [name for name in _NODE_ENGINES if engine.get(name, {}).get("installed")]
        if not self.result["complete"] and stopped:
            # Another engine must not come beside it.
            raise EngineError(f"{' and '.join(stopped)} does not run", "Start it, and run the task again")

    def _trusted(self):
        """The registries as RegistryTrust takes them."""
        return [
            # What speaks no TLS is used without it.
            {**one, "insecure": one["insecure"] or one["plain_http"], **self._engine_login(one)}
            for one in self._params["registries"]
        ]

    def _engine_login(self, registry):
        """The login of root there, for engines that know no accounts; none where a helper is to keep the secret."""
        if registry["username"] is not None:
            return {}
        name = self._name(registry["host"])
        for login in self._params["logins"]:
            of_root = login["user"] in (None, "root") and os.geteuid() == 0
            plain = login["username"] and not login["credential_helper"] and "/" not in (login["registry"] or "")
            if of_root and plain and self._connection(login)["registry"] == name:
                return {"username": login["username"], "password": login["password"]}
        return {}

    def _login_step(self, options):
        def log_in():
            self.result["step"] = "login"
            login = Login(self._login_options(options), self._check_mode)
            self._done.append(login)
            done = login.run()
            self.result["logins"].append(done)
            self._took(login, done)

        return log_in

    def _login_options(self, options):
        connection = self._connection(options)
        chosen = {**_CONNECTION, **options, **connection, "state": self._params["state"]}
        if chosen["user"] is None and os.geteuid() == 0:
            # As any other account: what DOCKER_CONFIG says is about the one who became root.
            chosen["user"] = "root"
        # In check mode the CA is not there yet. And the key that a registry asks for can be shown by root alone: that
        # the user is let in is seen by the check.
        if self._check_mode or (self._asks_for_key(connection["registry"]) and chosen["user"] != "root"):
            chosen["verify"] = False
        if options["registry"]:
            # A login may be for a part of the registry.
            chosen["registry"] = options["registry"]
        return chosen

    def _prove_policies(self):
        if self._check_mode or not self.result["trust"]["engine"].get("podman", {}).get("installed"):
            return
        self.result["step"] = "policies"
        for proof in self._policies:
            try:
                proof.run(self._as_root)
            finally:
                self.warnings += proof.warnings
            self.result["policies"].append(proof.result)

    def _as_root(self, registry):
        """Options of registry_check by which a registry is asked: with the user of the proof, or as this account."""
        options = self._params["check"] or {"registry": registry}
        if self._connection(options)["registry"] != registry:
            options = {"registry": registry}
        chosen = {"username": None, "password": None, "socket": SOCKET, **_CONNECTION, **options}
        chosen.update(self._connection(options))
        return {**chosen, **self._stored_login(chosen)}

    def _check(self):
        options = self._params["check"]
        if not options or self._check_mode:
            return
        self.result["step"] = "check"
        chosen = {**_CONNECTION, **options, **self._connection(options)}
        if not _pulling(self.result["trust"]["engine"]):
            chosen.update(access="none", image=None)
            self.warnings.append("Not proven by a pull of the host: it has no engine that pulls.")
        waiting = [name for name, found in self.result["trust"]["engine"].items() if found.get("restart_needed")]
        if waiting and len(waiting) == len(self.result["trust"]["engine"]):
            # What it would pull with is made of registries.yaml when it starts.
            chosen.update(access="none", image=None)
            self.warnings.append(
                f"Not proven by a pull: {' and '.join(waiting)} uses its former settings until it is restarted. "
                "Set apply to restart."
            )
        verification = Verification({**chosen, **self._stored_login(chosen)}, False)
        try:
            verification.run()
        finally:
            self.result["check"] = verification.result
            self.warnings += verification.warnings

    def _account_step(self, account):
        def tell():
            self.result["step"] = "accounts"
            user = account["user"]
            params = {**self._params, "registries": self._trusted()}
            engines = AccountEngines(user, account["engines"], params, self._check_of(user), self._check_mode)
            self._done.append(engines)
            try:
                engines.run()
            finally:
                self.result["accounts"].append(engines.result)
            self._took(engines, engines.result)

        return tell

    def _check_of(self, user):
        """Options of registry_check for the engines of an account, or None."""
        options = self._params["check"]
        if not options or self._params["state"] == "absent":
            return None
        # The login of the account, and no other: its owner can have an engine of theirs take the place of the one here.
        chosen = {**_CONNECTION, **options, **self._connection(options), "username": None, "password": None}
        for login, done in zip(self._params["logins"], self.result["logins"]):
            if login["user"] == user and done["registry"] == chosen["registry"]:
                chosen["config_path"] = done["config_path"]
        return chosen

    def _stored_login(self, check):
        """Where the login of the check lies, if it is one of `logins`: what was stored is to be proven, and not what
        the variable of the password holds."""
        for login, done in zip(self._params["logins"], self.result["logins"]):
            if login["username"] and (login["username"], done["registry"]) == (check["username"], check["registry"]):
                account = self._login_options(login)["user"]
                return {
                    "username": None,
                    "password": None,
                    "accounts": [account] if account else [],
                    "config_path": done["config_path"],
                }
        return {}

    def _connection(self, options):
        """What the options of the registry say of a connection to it."""
        if not options["registry"] and not self._registries:
            raise InputError(f"The {self.result['step']} names no registry", "Name one there, or in registries")
        name = self._name(options["registry"]) if options["registry"] else next(iter(self._registries))
        trusted = self._registries.get(name, {})
        plain = bool(trusted.get("plain_http"))
        path = os.path.join(self._params["certs_dir"] or "", name, "ca.crt")
        return {
            "registry": name,
            "plain_http": plain,
            "validate_certs": not (plain or trusted.get("insecure")),
            # Elsewhere the CA is found without being told where it lies.
            "ca_path": path if self._params["certs_dir"] and os.path.exists(path) else None,
            "timeout": self._params["timeout"],
        }

    def _name(self, text):
        return parse_registry(text, former=self._params["state"] == "absent").name

    def _asks_for_key(self, name):
        return bool(self._registries.get(name, {}).get("client_key"))

    def _took(self, step, done):
        self.result["changed"] = self.result["changed"] or done["changed"]
        self.warnings += step.warnings

    def _take_back(self):
        """Undoes the steps, the last one first. One that failed has done so itself, or does it now."""
        for step in reversed(self._done):
            step.take_back()
        self.result["unrestored_files"] = [path for step in self._done for path in step.unrestored]
        self.result["rolled_back"] = self.result["changed"] and not self._check_mode
        self.result["changed"] = False


def _pulling(engines):
    """The names of the engines of a host that can pull."""
    return [
        name
        for name, found in engines.items()
        if name not in _BUILDERS and found.get("running", found.get("installed", False))
    ]
