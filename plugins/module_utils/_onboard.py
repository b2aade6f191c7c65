# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is brought to use a registry: trust, logins and the proof, or none of it. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._check import Verification
from ansible_collections.wharf.registry.plugins.module_utils._errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._login import Login
from ansible_collections.wharf.registry.plugins.module_utils._trust import Trust

_CONNECTION = {
    "registry": None,
    "username": None,
    "password": None,
    "ca_path": None,
    "client_cert": None,
    "client_key": None,
    "validate_certs": True,
    "plain_http": False,
    "config_path": None,
}
_LOGIN = {"credential_helper": None, "verify": True, "user": None}


class Onboarding:
    """All steps of a host, as the options of registry_onboard describe them.

    params maps their names to their values. `result` and `warnings` tell what was done, however it ends.
    """

    def __init__(self, params, check_mode):
        self._params = params
        self._check_mode = check_mode
        self._done = []
        self.warnings = []
        self.result = {
            "changed": False,
            "step": "",
            "trust": {},
            "logins": [],
            "check": {},
            "complete": True,
            "returned": False,
        }

    def run(self):
        """Takes all steps. Raises RegistryError, and what was changed before is as it was then."""
        steps = [self._trust, *(self._login_step(login) for login in self._params["logins"]), self._check]
        if self._params["state"] == "absent":
            # Trust last: a helper may want to talk to the registry once more.
            steps = [*steps[1:-1], steps[0]]
        try:
            for step in steps:
                step()
                if not self.result["complete"]:
                    break
        except BaseException as error:
            self._take_back()
            if isinstance(error, RegistryError) and self.result["returned"]:
                error.cure = f"What was changed before it is as it was. {error.cure}"
            raise
        self.result["step"] = ""

    def diffs(self):
        """What each step changed, for the diff of the whole."""
        found = [self.result["trust"].get("diff"), *(login["diff"] for login in self.result["logins"])]
        return [diff for diff in found if diff and diff["before"] != diff["after"]]

    def _trust(self):
        self.result["step"] = "trust"
        trust = Trust(self._params, self._check_mode)
        self._done.append(trust)
        self.result["trust"] = trust.run()
        self._took(trust, self.result["trust"])
        engine = self.result["trust"]["engine"]
        # Nothing can be pulled with before there is an engine. What was written is read when it comes.
        self.result["complete"] = (
            engine.get("docker", {}).get("running", False)
            or engine.get("podman", {}).get("installed", False)
            or self._params["state"] == "absent"
        )

    def _login_step(self, options):
        def log_in():
            self.result["step"] = "login"
            login = Login({**_CONNECTION, **_LOGIN, **self._shared(), **options}, self._check_mode)
            self._done.append(login)
            done = login.run()
            self.result["logins"].append(done)
            self._took(login, done)

        return log_in

    def _check(self):
        if not self._params["check"]:
            return
        self.result["step"] = "check"
        verification = Verification({**_CONNECTION, **self._shared(), **self._params["check"]}, self._check_mode)
        try:
            verification.run()
        finally:
            self.result["check"] = verification.result
            self.warnings += verification.warnings

    def _shared(self):
        return {"timeout": self._params["timeout"], "state": self._params["state"]}

    def _took(self, step, done):
        self.result["changed"] = self.result["changed"] or done["changed"]
        self.warnings += step.warnings

    def _take_back(self):
        """Undoes the steps, the last one first. A step that failed itself has nothing to take back, or does it here."""
        for step in reversed(self._done):
            self._take_back_one(step)
        self.result["returned"] = self.result["changed"]
        self.result["changed"] = False

    def _take_back_one(self, step):
        try:
            left = step.take_back()
        except RegistryError as error:
            self.warnings.append(f"Not all could be taken back: {error}")
        else:
            if left:
                self.warnings.append(f"Not all could be taken back: {' and '.join(left)} could not.")
