# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy.json by which Podman and CRI-O accept images, and what of it is ours. Private to this collection.

JSON has no comments. So a file beside policy.json, the record, names the scopes whose rules are ours and what had to be
made for them.
"""

from __future__ import annotations

import json

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.json_edit import with_member, without_member
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import UNCHANGED, parse

RECORD = "wharf-registry-policy.json"
_TRANSPORTS, _DOCKER = "transports", "docker"
# What engines are delivered with: without any policy.json they pull nothing.
DEFAULT = '{\n    "default": [\n        {\n            "type": "insecureAcceptAnything"\n        }\n    ]\n}\n'


class PolicyJson:
    """A policy.json with its record. Immutable. Raises InputError where one of both is not understood.

    raw, record: the bytes of the two files, or None. base: the text that a policy.json is begun with.
    """

    def __init__(self, raw, record, path, base=DEFAULT):
        self.path = path
        self._base = base
        said = parse(record, f"{path.rpartition('/')[0]}/{RECORD}") if record is not None else {}
        self._scopes = [scope for scope in said.get("scopes") or [] if isinstance(scope, str)]
        # The first of policy.json, its transports and the one for registries that is ours, with what is in it.
        self._made = said.get("made") or ""
        if raw is None:
            self._made = "file"
        self.text = base if raw is None else raw.decode("utf-8", "replace")
        self._document = parse(raw if raw is not None else base.encode(), path)
        for keys in ((_TRANSPORTS,), (_TRANSPORTS, _DOCKER)):
            if not isinstance(self._get(keys, {}), dict):
                raise InputError(f'{path}: "{keys[-1]}" is not an object', UNCHANGED)

    def _get(self, keys, default=None):
        found = self._document
        for key in keys:
            if key not in found:
                return default
            found = found[key]
        return found

    def rule(self, scope):
        """The requirements of a scope, or None."""
        return self._get((_TRANSPORTS, _DOCKER, scope))

    def rules(self):
        """(scope, requirements) of each scope of registries."""
        return sorted((self._get((_TRANSPORTS, _DOCKER)) or {}).items())

    def is_ours(self, scope):
        return scope in self._scopes and self.rule(scope) is not None

    @property
    def raw(self):
        """The bytes of policy.json, or None where nothing is left of one that is ours."""
        if self._made == "file" and not self._scopes and self.text == self._base:
            return None
        return self.text.encode()

    @property
    def record(self):
        """The bytes of the record, or None where nothing is ours."""
        if not self._scopes:
            return None
        return (json.dumps({"made": self._made, "scopes": sorted(self._scopes)}, ensure_ascii=False) + "\n").encode()

    def _edited(self, text, scopes, made):
        found = PolicyJson(text.encode(), None, self.path, self._base)
        found._scopes, found._made = scopes, made
        return found

    def with_rule(self, scope, requirements):
        """With these requirements of a scope. Raises InputError where its owner has others."""
        there = self.rule(scope)
        if there == requirements:
            return self
        if there is not None and scope not in self._scopes:
            raise InputError(
                f"{self.path} has a rule for {scope} already, and another one than client_policies gives",
                "Remove it there, or take the scope out of client_policies. Nothing was changed",
            )
        made = self._made
        if not made and self._get((_TRANSPORTS, _DOCKER)) is None:
            made = _DOCKER if _TRANSPORTS in self._document else _TRANSPORTS
        text = with_member(self.text, [_TRANSPORTS, _DOCKER, scope], requirements)
        return self._edited(text, [*(one for one in self._scopes if one != scope), scope], made)

    def without_rule(self, scope):
        """Without our rule of a scope; that of its owner stays."""
        scopes = [one for one in self._scopes if one != scope]
        if not self.is_ours(scope):
            return self._edited(self.text, scopes, self._made) if scope in self._scopes else self
        text = without_member(self.text, [_TRANSPORTS, _DOCKER, scope])
        found = self._edited(text, scopes, self._made)
        if self._made and found._get((_TRANSPORTS, _DOCKER)) == {}:  # noqa: SLF001
            alone = self._made != _DOCKER and len(found._get((_TRANSPORTS,))) == 1  # noqa: SLF001
            found = self._edited(
                without_member(text, [_TRANSPORTS] if alone else [_TRANSPORTS, _DOCKER]), scopes, self._made
            )
        return found
