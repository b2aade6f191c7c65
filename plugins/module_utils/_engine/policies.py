# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images Podman and CRI-O accept, by their scopes: policy.json and registries.d. Private to this collection."""

from __future__ import annotations

import base64
import binascii
import glob
import hashlib
import os
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import read_text
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import (
    check_repository,
    is_repository,
    parse_registry,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._common.yaml_text import (
    YamlText,
    with_value,
    without_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.policy_json import DEFAULT, RECORD, PolicyJson

SIGNED = "signed"
# The directory of the files that say where signatures are.
SIGNATURES = "registries.d"
# The oldest release of containers/image, and of Podman, that takes several keys of which one has to fit.
_SEVERAL_KEYS = (5, 4)
_DOCKER, _ATTACHMENTS = "docker", "use-sigstore-attachments"
_HEADER = "# Made by wharf.registry, which removes this file with the last of its own lines.\n"
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")


class Policy:
    """What is accepted of a scope, as the options of registry_client give it. Raises InputError.

    `requirements` is what policy.json has for it.
    """

    def __init__(self, options, present):
        self.scope = _scope(options["scope"])
        self.signed = options["accept"] == SIGNED
        self.keys = [_key(text, self.scope) for text in options["public_keys"] or []]
        if present and self.signed and not self.keys:
            raise InputError(
                f"the policy of {self.scope} has no public_keys",
                "Give the public key that its images are signed with, or set accept to anything or nothing",
            )
        if self.keys and not self.signed:
            raise InputError(
                f"the policy of {self.scope} has public_keys, and accepts {options['accept']}", "Give one of both"
            )
        self.requirements = [self._requirement(options)]

    def _requirement(self, options):
        if not self.signed:
            return {"type": {"anything": "insecureAcceptAnything", "nothing": "reject"}[options["accept"]]}
        # What cosign signs names the repository, and no tag of it.
        identity = {"type": "matchRepository"}
        if options["signed_repository"]:
            registry, _slash, repository = options["signed_repository"].partition("/")
            check_repository(repository, options["signed_repository"])
            name = f"{parse_registry(registry, what='signed_repository').name}/{repository}"
            identity = {"type": "exactRepository", "dockerRepository": name}
        data = [base64.b64encode(key.encode()).decode() for key in self.keys]
        keys = {"keyData": data[0]} if len(data) == 1 else {"keyDatas": data}
        return {"type": "sigstoreSigned", **keys, "signedIdentity": identity}


def parse_policies(given, present):
    """The Policies of the option `policies`. Raises InputError."""
    policies = [Policy(options, present) for options in given or []]
    scopes = [policy.scope for policy in policies]
    twice = sorted({scope for scope in scopes if scopes.count(scope) > 1})
    if twice:
        raise InputError(f"policies names {' and '.join(twice)} more than once", "Give each scope one policy")
    return policies


def _scope(text):
    """registry, registry/namespace or registry/namespace/repository. Raises InputError."""
    host, slash, path = text.partition("/")
    if "://" in text or (slash and not is_repository(path)):
        raise InputError(
            f"{text!r} is no scope of policies",
            "Give a registry, with a namespace or a repository behind it where the policy is for a part, in lower case",
        )
    return parse_registry(host, what="a scope of policies").name + slash + path


def _key(text, scope):
    """The PEM text of a public key. Raises InputError."""
    found = _PEM.fullmatch(text.strip())
    if found is None or not _is_base64("".join(found.group(1).split())):
        raise InputError(
            f"a public key of the policy of {scope} is no PEM text of a public key",
            "Give what is in cosign.pub: it begins with BEGIN PUBLIC KEY",
        )
    return f"{text.strip()}\n"


def _is_base64(text):
    try:
        return bool(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        return False


class PolicyFiles:
    """The files by which Podman of an account accepts images. version: that of Podman, or an empty string."""

    def __init__(self, version=""):
        self._system = os.geteuid() == 0
        self._version = version
        self.folder = "/etc/containers" if self._system else os.path.expanduser("~/.config/containers")
        self.path = os.path.join(self.folder, "policy.json")
        self._record = os.path.join(self.folder, RECORD)
        self._registries = os.path.join(self.folder, SIGNATURES)
        self._own = os.path.join(self._registries, "wharf-registry.yaml")

    def changes(self, desired):
        """The Changes that the policies of a DesiredState take. Raises InputError."""
        if not desired.policies:
            return []
        if desired.present:
            self._check_keys(desired.policies)
        change, record = Change(self.path, None), Change(self._record, None)
        document = PolicyJson(change.before.content, record.before.content, self.path, self._base())
        for policy in desired.policies:
            document = (
                document.with_rule(policy.scope, policy.requirements)
                if desired.present
                else document.without_rule(policy.scope)
            )
        change.after, record.after = document.raw, document.record
        for one in (change, record):
            one.mode = 0o644 if one.before.content is None and one.after is not None else None
        return [change, record, *self._attachments(desired)]

    def _base(self):
        """What a policy.json is begun with: for an account, what it has followed until now."""
        paths = [*([] if self._system else ["/etc/containers/policy.json"]), "/usr/share/containers/policy.json"]
        texts = (read_text(path) for path in paths)
        return next((text for text in texts if text), DEFAULT)

    def _check_keys(self, policies):
        several = [policy.scope for policy in policies if len(policy.keys) > 1]
        release = tuple(int(part) for part in self._version.split(".")[:2] if part.isdigit())
        if several and len(release) > 1 and release < _SEVERAL_KEYS:
            raise InputError(
                f"the policy of {several[0]} has several public_keys, and Podman {self._version} takes one",
                "Give one key, or update Podman to 5.4 or later",
            )

    def _attachments(self, desired):
        """Changes of registries.d, without which signatures that lie in the registry are not looked for."""
        paths = sorted({*glob.glob(os.path.join(glob.escape(self._registries), "*.yaml")), self._own})
        changes = {path: Change(path, None) for path in paths}
        documents = {}
        for path, change in changes.items():
            content = _content(change, self._own)
            if content is None:
                # A link to nothing. The engine says what it makes of that.
                continue
            try:
                documents[path] = YamlText(content, path)
            except InputError:
                # One that has nothing to do with the scopes need not be understood.
                if any(policy.scope.encode() in content for policy in desired.policies):
                    raise
        paths = list(documents)
        for policy in desired.policies:
            key = (_DOCKER, policy.scope)
            # The engine refuses a scope that two files name.
            owner = next((path for path in paths if path != self._own and key in documents[path].places), self._own)
            wanted = owner if desired.present and policy.signed else None
            for path in paths:
                if path != wanted:
                    documents[path] = without_values(documents[path], lambda found, key=key: found[:2] == key)
            if wanted:
                documents[wanted] = with_value(documents[wanted], (*key, _ATTACHMENTS), True)
            desired.warnings += _narrower(documents, policy) if desired.present else []
        for path in paths:
            text, change = documents[path].text, changes[path]
            change.after = None if path == self._own and text == _HEADER else text.encode()
            change.mode = 0o644 if change.before.content is None and change.after is not None else None
        return [changes[path] for path in paths]

    def shown(self, path, content):
        """The lines of one of the files for a diff, or None where it is none of them."""
        if path == self.path:
            document = PolicyJson(content, None, path)
            return [f"{scope}: {described(rule)}" for scope, rule in document.rules()]
        return None


def _content(change, own):
    return _HEADER.encode() if change.before.content is None and change.path == own else change.before.content


def _narrower(documents, policy):
    """Warnings of entries of others that hide the signatures of a part of the scope."""
    return [
        f"{path} has an entry for {found[1]} without {_ATTACHMENTS}: its signatures in the registry are not looked for."
        for path, document in documents.items()
        for found in document.places
        if policy.signed
        and len(found) == 2
        and found[0] == _DOCKER
        and found[1].startswith(f"{policy.scope}/")
        and document.get((*found, _ATTACHMENTS)) is not True
    ]


def described(rule):
    """The requirements of a scope on one line, with digests of keys in place of the keys."""
    if not isinstance(rule, list) or not all(isinstance(one, dict) for one in rule):
        return "unknown"
    return " and ".join(_described(one) for one in rule)


def _described(requirement):
    keys = requirement.get("keyDatas") or [requirement.get("keyData")]
    digests = [hashlib.sha256(str(key).encode()).hexdigest()[:16] for key in keys if key]
    return str(requirement.get("type")) + (f" by {' or '.join(digests)}" if digests else "")
