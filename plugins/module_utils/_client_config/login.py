# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One login, as the options of registry_login describe it. Private to this collection."""

from __future__ import annotations

import base64
import contextlib
import os

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._client_config.helper import (
    NAME_ANOTHER_HELPER,
    Helper,
    HelperError,
    HelperMissingError,
    HelperRefusesError,
)
from ansible_collections.wharf.registry.plugins.module_utils._client_config.keychain import (
    Logins,
    default_path,
    shown_user,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import Namespace, parse_namespace
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import Account, MissingAccountError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change, State, remove_empty
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, RefusedError


class Login(Connection):
    """A login to a registry, of the account that runs or of the one that `user` names.

    params maps the names of the options of registry_login to their values.
    """

    def __init__(self, params, check_mode):
        super().__init__(dict(params))
        self.warnings = []
        # What could not be taken back.
        self.unrestored = []
        self._check_mode = check_mode
        self._registry = None
        # What was there before, once something was changed: a dictionary that JSON can hold.
        self._former = None

    def run(self):
        """The result of registry_login. Raises RegistryError."""
        self._registry = self._whole_or_part()
        if self.params["user"] is None:
            return self._run()
        # Said before anything is done, and also where there is no such account.
        try:
            account = Account(self.params["user"])
        except MissingAccountError as error:
            return self._without_account(error)
        # The parent hears nothing of what the child does but what it returns.
        result, self.warnings, self._former = account.do(lambda: [self._run(), self.warnings, self._former])
        self.params["config_path"] = result["config_path"]
        return result

    def _whole_or_part(self):
        """The Registry of the options, or the Namespace of it. Raises InputError where the file can't hold one."""
        former = self.params["state"] == "absent"
        self.registry(former)
        named = parse_namespace(self.params["registry"], former)
        if isinstance(named, Namespace) and self.params["state"] == "present":
            if os.path.basename(self.params["config_path"] or "") != "auth.json":
                raise InputError(
                    f"registry is {named.podman_key}, and docker has one login for all of {named.name}: it would show "
                    "that of a namespace everywhere",
                    f"Give {named.name} alone; or, for Podman, skopeo and buildah, a config_path of the name auth.json",
                )
            if self.params["credential_helper"]:
                raise InputError(
                    f"registry is {named.podman_key}, and Podman asks a helper for all of {named.name} only",
                    "Leave out credential_helper, or the namespace",
                )
        return named

    def _without_account(self, error):
        present = self.params["state"] == "present"
        if present and not self._check_mode:
            raise error
        if present:
            self.warnings.append(f"{error} Check mode takes it for one that will be there.")
        nothing = {
            "registry": self._registry.podman_key,
            "username": "",
            "config_path": "",
            "stored_in": "",
            "verified": False,
        }
        return {"changed": present, **nothing, "diff": {"before": "", "after": ""}}

    def take_back(self):
        """Leaves the file and the helpers as they were before `run`. What could not be is in `left`."""
        if self._former is None:
            return
        try:
            if self.params["user"] is None:
                self._take_back()
            else:
                Account(self.params["user"]).do(self._take_back)
        except RegistryError as error:
            self.unrestored.append(self.params["config_path"])
            self.warnings.append(str(error))

    def _run(self):
        params = self.params
        path = os.path.expanduser(os.path.expandvars(params["config_path"] or default_path()))
        path = params["config_path"] = os.path.abspath(path)
        logins = Logins(self._registry, path, params["timeout"])
        found = logins.find()
        if params["state"] == "present":
            credential, verified = self._credential_to_store(logins, found)
            make_plan = self._plan_of(logins.plan_login, credential)
        else:
            verified, make_plan = False, self._plan_of(logins.plan_logout)
        plan = make_plan(found)
        changed = plan.changed
        before, after = plan.diff
        if changed and not self._check_mode:
            self._former = _former(path, plan)
            # Of a helper that stores none, its own login is what was verified in the end.
            of_helper = []
            plan, changed = logins.apply(make_plan, lambda found: of_helper.append(self._verify(found)))
            verified = of_helper[-1] if of_helper else verified
            after = plan.diff[1]
        self.warnings += plan.warnings
        return {
            "changed": changed,
            "registry": self._registry.podman_key,
            "username": shown_user(plan.credential) if plan.credential else "",
            "config_path": path,
            "stored_in": plan.stored_in,
            "verified": verified,
            "diff": {"before": before, "after": after, "before_header": path, "after_header": path},
        }

    def _plan_of(self, plan, *arguments):
        return lambda found: plan(found, *arguments, self.params["credential_helper"])

    def _credential_to_store(self, logins, found):
        """(credential, whether the registry took it)"""
        given = self.given_credential()
        keeper = logins.keeper(found, self.params["credential_helper"])
        if keeper is not None and keeper.manages_itself:
            return self._ask_keeper(found, keeper)
        own = None
        if given is None and keeper is not None and found.credential is None:
            # One that no file names may have credentials by itself.
            with contextlib.suppress(HelperError):
                own = keeper.get(found.document.key)
        return self._choose(found, given, own)

    def _verify(self, credential):
        """Whether the registry takes it; False where it was not asked, or asks for none. Raises RegistryError."""
        if not self.params["verify"]:
            return False
        with self.client(self._registry) as client:
            if self.api(self._registry, client, credential).ping():
                return True
        self.warnings.append(f"{self._registry.name} asks for no login, so the credentials could not be verified.")
        return False

    def _choose(self, found, given, own=None):
        """The credential that is to be stored, and whether the registry took it. Raises RegistryError."""
        stored = found.credential or own or found.document.credential
        if given is None:
            if stored is None:
                raise found.problem or InputError(
                    f"{self._registry.name}: no credentials are stored for it in {self.params['config_path']}",
                    "Give username and password",
                )
            return stored, self._verify(stored)
        verified = self._verify(given)
        if verified and stored is not None and stored.identity_token and stored.username == given.username:
            # Docker has exchanged the password for a token, which is worth less to a thief.
            try:
                return stored, self._verify(stored)
            except RefusedError:
                pass
        return given, verified

    def _ask_keeper(self, found, keeper):
        """What a helper that manages itself has, and whether the registry took it. Raises RegistryError."""
        if self.params["username"] is not None:
            self.warnings.append(
                f"{keeper.program} manages its secrets by itself: username and password were not stored. Where they "
                "are needed, name another helper by credential_helper, or the file by an empty string."
            )
        if found.document.credential is not None:
            self.warnings.append(
                f"{found.document.key} has a password in {self.params['config_path']} still, which clients do not "
                f"read with {keeper.program}: remove it with state absent."
            )
        try:
            credential = keeper.get(found.document.key)
            reason = ""
        except HelperMissingError:
            raise
        except HelperError as error:
            credential, reason = None, f": {error.message}"
        if credential is not None:
            return credential, self._verify(credential)
        problem = f"{keeper.program} manages its secrets by itself, and has none for {self._registry.name} now{reason}"
        if self.params["username"] is not None:
            raise HelperError(f"{problem}. username and password can't be stored in it", NAME_ANOTHER_HELPER)
        if self.params["verify"]:
            raise HelperError(
                problem,
                "Give this host what the helper needs for it, such as a role of its cloud; name another helper by "
                "credential_helper; or, where the helper will have it later, set verify to false",
            )
        self.warnings.append(f"{problem}.")
        return None, False

    def _take_back(self):
        former = self._former
        # Secrets first: the file, as it was, says where to look for them.
        for name, key, secret in former["secrets"]:
            helper = Helper(name, self.params["timeout"])
            # One that refuses has stored nothing before, either.
            with contextlib.suppress(HelperRefusesError):
                if secret is None:
                    helper.erase(key)
                else:
                    helper.store(key, Credential(*secret))
        content = former["content"]
        change = Change(self.params["config_path"], None if content is None else base64.b64decode(content))
        with change.file.locked():
            change.put(State(change.after, former["mode"], former["owner"]))
        remove_empty(former["folders"])


def _former(path, plan):
    """What lies there before the Plan is carried out."""
    change = Change(path, None)
    content = change.before.content
    secrets = []
    if plan.helper is not None and plan.store:
        secrets.append((plan.helper.name, plan.document.key, _parts(plan.former)))
    if plan.found.credential is not None:
        secrets += [
            (helper.name, plan.document.key, _parts(plan.found.credential))
            for helper in plan.erase
            if plan.found.helper is not None and helper.name == plan.found.helper.name
        ]
    return {
        "content": None if content is None else base64.b64encode(content).decode("ascii"),
        "mode": change.before.mode,
        "owner": change.before.owner,
        "folders": change.file.missing_folders,
        "secrets": secrets,
    }


def _parts(credential):
    return None if credential is None else (credential.username, credential.password, credential.identity_token)
