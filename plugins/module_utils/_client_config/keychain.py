# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins where Docker and Podman keep them: in a file, or in the helper that it names. Private to this collection."""

from __future__ import annotations

import contextlib
import json
import os

from ansible_collections.wharf.registry.plugins.module_utils._client_config.config_file import PRIVATE, CredentialFile
from ansible_collections.wharf.registry.plugins.module_utils._client_config.config_json import Document, same_secret
from ansible_collections.wharf.registry.plugins.module_utils._client_config.helper import (
    IDENTITY,
    NAME_ANOTHER_HELPER,
    Helper,
    HelperError,
    HelperMissingError,
    HelperRefusesError,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, read_text
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import Namespace, namespaces

# Docker takes no lock. How often to start over when it was faster.
_ATTEMPTS = 10
# Clients that run docker-credential- for an empty name in credHelpers, and fail.
_WITHOUT_EMPTY_HELPERS = ("podman", "skopeo", "buildah")


def default_path():
    """The file that Docker reads for this account."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    return os.path.join(folder, "config.json")


class Found:
    """What there is of one registry: the document, the helper that is asked (or None) and the credential (or None).

    `problem` is the HelperError where the helper could not say.
    """

    def __init__(self, document, helper, credential, problem=None):
        self.document = document
        self.helper = helper
        self.credential = credential
        self.problem = problem

    @property
    def stored_in(self):
        return place(self.helper, self.credential)


class Plan:
    """What is to be done, and what there will be then. Nothing to do is a plan, too."""

    def __init__(self, found, document, file, helper=None, credential=None):
        self.found = found
        self.document = document
        self.helper = helper  # that is asked afterwards, or None for the file
        self.credential = credential  # that is there afterwards
        self.store = False  # whether the helper is given the credential
        self.former = None  # that it has until then
        self.erase = []  # helpers that are to forget it
        self.warnings = []
        self._mode = file.mode
        self._tightens = file.is_open
        self._edits = document.content != found.document.content

    @property
    def writes(self):
        return self._edits or (self._tightens and self.credential is not None)

    @property
    def changed(self):
        return bool(self.writes or self.store or self.erase)

    @property
    def stored_in(self):
        return place(self.helper, self.credential)

    @property
    def diff(self):
        """Before and after: keys, places and the user. No secret."""
        mode = self._mode
        if self.writes:
            mode = PRIVATE if mode is None else mode & PRIVATE
        before = _picture(self.found.document, self.found.credential, self.found.stored_in, self._mode)
        after = _picture(self.document, self.credential, self.stored_in, mode)
        if (
            self.changed
            and before["secret"] == after["secret"]
            and not same_secret(self.found.credential, self.credential)
        ):
            after["secret"] += " (another one)"
        return before, after


def _picture(document, credential, stored_in, mode):
    return {
        "auths": document.spellings,
        "credHelpers": (document.content.get("credHelpers") or {}).get(document.helper_key),
        "mode": None if mode is None else f"{mode:04o}",
        "secret": stored_in,
        "username": None if credential is None else shown_user(credential),
    }


def place(helper, credential):
    """Where a secret lies, as the modules return it; with a helper that manages itself, whatever it has."""
    if helper is not None and (helper.manages_itself or credential is not None):
        return f"helper:{helper.name}"
    return "" if credential is None else "file"


def shown_user(credential):
    """The name of the user; where a helper keeps an identity token, it keeps no name."""
    return credential.username or IDENTITY


class Logins:
    """The login of one registry in one credential file and in the helpers that the file names."""

    def __init__(self, registry, path, timeout=30):
        self._registry = registry
        self._timeout = timeout
        self._file = CredentialFile(path)

    def find(self):
        """Found. Raises InputError where the file can't be read as a credential file."""
        document = Document(self._file.read(), self._registry, self._file.is_podmans)
        if not document.helper:
            return Found(document, None, document.credential)
        helper = Helper(document.helper, self._timeout)
        try:
            return Found(document, helper, helper.get(document.key))
        except HelperError as error:
            return Found(document, helper, None, error)

    def keeper(self, found, name=None):
        """The Helper that a login belongs to, where name chooses one or else the file does; None for the file."""
        document = self._arranged(found, name)
        return Helper(document.helper, self._timeout) if document.helper else None

    @staticmethod
    def _arranged(found, name):
        return found.document.readable() if name is None else found.document.with_helper(name)

    def plan_login(self, found, credential, name=None):
        """The Plan that leaves this credential where it belongs: where Docker looks, or in the helper of that name.

        credential may be None where the helper manages itself. Raises HelperError where a helper fails that is needed.
        """
        self._check_namespace(found)
        plan = self._plan_login(found, credential, name)
        plan.document.check(self._file.path)
        if plan.document.has_empty_helper and any(find(program) for program in _WITHOUT_EMPTY_HELPERS):
            plan.warnings.append(
                f"{self._file.path} names a helper by credsStore, so that docker reads the login of "
                f"{self._registry.name} from the file only with an empty name in credHelpers. Podman, skopeo and "
                "buildah can't read that: log in for them with a config_path of their own, such as "
                "~/.config/containers/auth.json."
            )
        return plan

    def _check_namespace(self, found):
        """Raises InputError where Podman would not look for the login of a part of a registry."""
        if isinstance(self._registry, Namespace) and found.document.helper:
            raise InputError(
                f"{self._file.path} has docker-credential-{found.document.helper} asked for all of "
                f"{self._registry.name}, and Podman looks for no login of {self._registry.podman_key} then",
                f"Take {self._registry.name} out of its credHelpers, or leave out the namespace",
            )

    def _plan_login(self, found, credential, name):
        document = self._arranged(found, name)
        helper = self.keeper(found, name)
        if helper is not None and helper.manages_itself:
            return Plan(found, document, self._file, helper, credential)
        stays = found.helper is not None and helper is not None and found.helper.name == helper.name
        if stays and found.problem is not None:
            raise found.problem
        plan = Plan(found, document.logged_in(credential if helper is None else None), self._file, helper, credential)
        if helper is not None:
            plan.former = found.credential if stays else helper.get(document.key)
            plan.store = not same_secret(plan.former, credential)
        if found.helper is not None and not stays and not found.helper.manages_itself:
            if found.problem is not None:
                plan.warnings.append(f"{found.problem} What it may hold of {self._registry.name} stays there.")
            elif found.credential is not None:
                plan.erase.append(found.helper)
        return plan

    def plan_logout(self, found, name=None):
        """The Plan that leaves no login, neither in the file nor in the helpers. Raises HelperError.

        name is a helper that this registry shall not be asked of any more.
        """
        document = (found.document.without_helper(name) if name else found.document).readable()
        plan = Plan(found, document.logged_out(), self._file)
        helpers = [] if found.helper is None else [found.helper]
        # The one of this name, and the one that is asked when it is not.
        for other in (name, document.helper):
            if other and other not in [helper.name for helper in helpers]:
                helpers.append(Helper(other, self._timeout))
        for helper in helpers:
            if helper.manages_itself:
                plan.helper = helper if document.helper == helper.name else None
                plan.warnings.append(f"{helper.program} manages its secrets by itself, and was left alone.")
            else:
                self._plan_erase(plan, helper)
        return plan

    @staticmethod
    def _plan_erase(plan, helper):
        try:
            if helper.has(plan.document.key):
                plan.erase.append(helper)
        except HelperMissingError as error:
            # Neither can Docker use it. The file, at least, can forget.
            plan.warnings.append(f"{error} What its store may hold stays there.")

    def apply(self, make_plan, verify=lambda _credential: None):
        """Does what make_plan(found) says, and returns the Plan and whether anything changed.

        Nothing is lost wherever this is interrupted: a secret is in its new place before it leaves the former one.
        verify is called with the credential of a helper that stores none, before the file leads there.
        """
        changed = False
        with self._file.locked():
            for _attempt in range(_ATTEMPTS):
                plan = make_plan(self.find())
                if plan.store:
                    plan = self._store(plan, verify)
                changed = changed or plan.store
                try:
                    if plan.writes:
                        self._file.write(plan.document.content)
                except OvertakenError:
                    continue
                self._erase(plan)
                return plan, changed or plan.changed
        raise InputError(
            f"{self._file.path} was written by another program at each of {_ATTEMPTS} attempts", "Try again later"
        )

    def _erase(self, plan):
        key = plan.document.key
        erasing = bool(plan.erase)
        plan.erase = [helper for helper in plan.erase if self._erase_one(plan, helper)]
        if erasing and plan.helper is not None and not same_secret(plan.helper.get(key), plan.credential):
            # Two names of one store: what was erased was the login.
            plan.helper.store(key, plan.credential)

    @staticmethod
    def _erase_one(plan, helper):
        """Whether the helper has forgotten it."""
        try:
            helper.erase(plan.document.key)
        except HelperRefusesError as error:
            plan.warnings.append(f"{error.message}. It manages its secrets by itself, and was left alone.")
            return False
        except HelperError as error:
            if plan.credential is None:
                raise
            # The login is in its new place, and the next run would not look here again.
            plan.warnings.append(f"{error} What it holds stays there.")
        return True

    def _store(self, plan, verify):
        try:
            plan.helper.store(plan.document.key, plan.credential)
            self._read_back(plan)
        except HelperRefusesError as error:
            return self._leave_alone(plan, error, verify)
        return plan

    def _leave_alone(self, plan, error, verify):
        """The Plan for a helper that stores nothing: what it has of its own is the login, if the registry takes it."""
        if plan.former is None:
            raise HelperError(
                f"{error.message}, and it has no login for {self._registry.name} of its own", NAME_ANOTHER_HELPER
            )
        verify(plan.former)
        # Only the setting that leads to it is kept.
        document = plan.found.document
        if document.helper != plan.helper.name:
            document = document.with_helper(plan.helper.name)
        left = Plan(plan.found, document, self._file, plan.helper, plan.former)
        left.warnings.append(
            f"{error.message}. It seems to manage its secrets by itself: username and password were not stored, "
            f"and its own login for {self._registry.name} counts."
        )
        return left

    @staticmethod
    def _read_back(plan):
        """A store can take what it can't give: one that is locked needs no passphrase to encrypt."""
        helper, key = plan.helper, plan.document.key
        problem = None
        try:
            kept = helper.get(key)
            if _is_own(kept, plan.former, plan.credential):
                problem = HelperRefusesError(f"{helper.program} passes over what it is to store", NAME_ANOTHER_HELPER)
            elif not same_secret(kept, plan.credential):
                problem = HelperError(f"{helper.program} does not give back what it was given", NAME_ANOTHER_HELPER)
        except HelperError as error:
            problem = error
        if isinstance(problem, HelperRefusesError):
            raise problem
        if problem is not None:
            with contextlib.suppress(HelperError):
                if plan.former is not None:
                    helper.store(key, plan.former)
                else:
                    helper.erase(key)
            raise problem


def _is_own(kept, former, given):
    """Whether a helper still has what it had of its own. The secret may be another one at each time, as clouds do."""
    if kept is None or former is None or same_secret(kept, given):
        return False
    return same_secret(kept, former) or kept.username == former.username != given.username


def find_credential(registry, path=None, timeout=30, repository=""):
    """The Credential of this account for a registry, or None, as Docker and then Podman look for it.

    path names the one file to look into. In a file of Podman a part of the registry that holds the repository comes
    before the whole. Raises InputError for a file that can't be read, and HelperError.
    """
    for candidate in [path] if path else _usual_paths():
        if path or os.path.exists(candidate):
            found = _find_narrowest(registry, os.path.abspath(candidate), timeout, repository)
            # Docker finds nothing in a file that it ignores.
            found.document.check(candidate)
            if found.problem is not None:
                raise found.problem
            if found.credential is not None:
                return found.credential
    return None


def _find_narrowest(registry, path, timeout, repository):
    """What a file has for a repository of a registry: Found."""
    found = Logins(registry, path, timeout).find()
    # A helper is asked for all of a registry.
    if not found.document.helper and found.document.knows_namespaces:
        for namespace in namespaces(registry, repository):
            narrower = Logins(namespace, path, timeout).find()
            if narrower.credential is not None:
                return narrower
    return found


def other_logins():
    """The keys of all logins in the files of this account, for messages about one that is not there."""
    found = []
    for path in _usual_paths():
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            document = json.loads(read_text(path) or "{}")
            found += [*(document.get("auths") or {}), *(document.get("credHelpers") or {})]
    return sorted({key for key in found if isinstance(key, str)})


def _usual_paths():
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    settings = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    paths = [
        default_path(),
        os.environ.get("REGISTRY_AUTH_FILE"),
        f"{runtime}/containers/auth.json" if runtime else f"/run/containers/{os.geteuid()}/auth.json",
        f"{settings}/containers/auth.json",
    ]
    return [path for path in paths if path]
