# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the docker and podman commands take of a credential file. Pure functions. Private to this collection.

Both read it by Go's encoding/json into fixed types. One value of another type anywhere, or one login that does not
decode, and docker ignores the whole file with all of its logins; it says so in a warning and goes on without.
"""

from __future__ import annotations

import base64
import json
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import UNCHANGED, is_text

# Kinds of values: a text, a list of texts, or an object. Of an object either the keys are fixed or all values are of
# one kind, under the name "".
_TEXT = "a string"
_TEXTS = "a list of strings"
_MAP = {"": _TEXT}

# The keys of an entry of `auths` that hold the login. They are read in any case, so they are wanted in their usual one.
SECRET_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")
_LOGIN_KEYS = ("auths", "credHelpers", "credsStore")

# Docker's struct ConfigFile, from 20.10 (stackOrchestrator and kubernetes) to 28 (features).
_DOCKER = {
    **dict.fromkeys(
        [
            "configFormat",
            "credsStore",
            "currentContext",
            "detachKeys",
            "experimental",
            "imagesFormat",
            "networksFormat",
            "nodesFormat",
            "pluginsFormat",
            "psFormat",
            "secretFormat",
            "serviceInspectFormat",
            "servicesFormat",
            "stackOrchestrator",
            "statsFormat",
            "tasksFormat",
            "volumesFormat",
        ],
        _TEXT,
    ),
    "auths": {"": dict.fromkeys((*SECRET_FIELDS, "email", "serveraddress"), _TEXT)},
    "cliPluginsExtraDirs": _TEXTS,
    "credHelpers": _MAP,
    "features": _MAP,
    "HttpHeaders": _MAP,
    "kubernetes": {"allNamespaces": _TEXT},
    "plugins": {"": _MAP},
    "proxies": {"": dict.fromkeys(["httpProxy", "httpsProxy", "noProxy", "ftpProxy", "allProxy"], _TEXT)},
    "pruneFilters": _TEXTS,
    "aliases": _MAP,
}
# Podman's, and that of skopeo and buildah.
_PODMAN = {"auths": {"": {"auth": _TEXT, "identitytoken": _TEXT}}, "credHelpers": _MAP}

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)


def check(document, path, podman=False):
    """Raises InputError for the first key whose value is not of the type that the client reads it into."""
    for where, wanted in _faults(document, _PODMAN if podman else _DOCKER):
        raise InputError(f"{path}: {where} is not {wanted}{_consequence(podman)}", UNCHANGED)


def check_logins(document, path):
    """Raises InputError for the first login for whose sake docker would ignore the whole file."""
    for key, entry in (document.get("auths") or {}).items():
        auth = (entry or {}).get("auth")
        if auth and decoded(auth) is None:
            raise InputError(
                f"{path}: auth of auths[{json.dumps(key)}] is not the base64 of a name, a colon and a password"
                + _consequence(podman=False),
                f"Nothing was changed: remove the entry of {key} from the file, and log in to it again after that",
            )


def decoded(auth):
    """(user, password) of the value of `auth`, as bytes, or None where it is none."""
    # Line ends are passed over, and no other space.
    text = re.sub(r"[\r\n]", "", auth)
    if not _BASE64.fullmatch(text):
        return None
    user, colon, password = base64.b64decode(text).partition(b":")
    return (user, password.strip(b"\0")) if colon and user else None


def _consequence(podman):
    return f", and {'podman refuses' if podman else 'docker ignores'} the whole file because of it"


def _faults(document, kinds):
    """(place, what it must be) of each value that does not fit, and of each key of a login in another case."""
    yield from _names(document, _LOGIN_KEYS, "")
    yield from _fixed(document, kinds, "")
    if "aliases" in kinds:
        # With any other, docker ends before it does anything.
        for alias in document.get("aliases") or {}:
            if alias != "builder":
                yield f"aliases[{json.dumps(alias)}]", '"builder", the one command that has an alias'


def _names(entry, known, where):
    folded = {name.casefold() for name in known}
    for name in entry:
        if name not in known and name.casefold() in folded:
            yield f"the name of a key{where}", "in its usual case"


def _unfit(value, kind, where):
    if value is None:
        return
    if kind is _TEXT:
        if not is_text(value):
            yield where, _TEXT
    elif kind is _TEXTS:
        if not isinstance(value, list) or not all(item is None or is_text(item) for item in value):
            yield where, _TEXTS
    elif not isinstance(value, dict):
        yield where, "an object"
    elif "" in kind:
        for key, item in value.items():
            yield from _unfit(item, kind[""], f"{where}[{json.dumps(key)}]")
    else:
        if where.startswith("auths["):
            yield from _names(value, SECRET_FIELDS, f" in {where}")
        yield from _fixed(value, kind, f" of {where}")


def _fixed(value, kinds, of):
    """Of an object with fixed keys. Go takes them in any case, and passes over the ones that it does not know."""
    by_fold = {name.casefold(): name for name in kinds}
    for key, item in value.items():
        name = by_fold.get(key.casefold())
        if name is not None:
            yield from _unfit(item, kinds[name], f"{key}{of}")
