# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role mirror_cache makes of its variables."""

from __future__ import annotations

import re

# The first part of the name of a repository. With a dot, it hides no repository of this registry by accident.
_UPSTREAM = re.compile(r"[a-z0-9]+(?:-+[a-z0-9]+)*(?:\.[a-z0-9]+(?:-+[a-z0-9]+)*)+\Z")
_SIZE = re.compile(r"([0-9]{1,15})([kmgt]?)b?\Z", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
# Bytes: less holds no image.
_LEAST_SIZE = 100 << 20
_HUB = "docker.io"
_BESIDE = frozenset(["upstream", "min_remaining"])


def mirror_cache_settings(caches, size, seconds, paths):
    """The settings of the program. paths are those of its socket and so on, by name."""
    upstreams = [
        {"name": one["upstream"], "options": _options(one), "min_remaining": int(one.get("min_remaining") or 0)}
        for one in caches
    ]
    return {**paths, "size": _bytes(size), "seconds": int(seconds), "upstreams": upstreams}


def _options(cache):
    """Those of the connection."""
    options = {name: value for name, value in cache.items() if name not in _BESIDE}
    return {"registry": cache["upstream"], **options}


def _bytes(size):
    """The bytes of a size with a unit, or 0 for what is no size."""
    found = _SIZE.match(str(size))
    return int(found[1]) << _UNITS[found[2].lower()] if found else 0


def mirror_cache_problems(caches, size, docker_port, service_manager):
    """Sentences on what is wrong with the variables. None shows a password."""
    if not isinstance(caches, list):
        return ["mirror_caches is not a list: give a list of registries, each with upstream."]
    problems, names = [], set()
    if caches and service_manager != "systemd":
        problems.append(
            "mirror_caches needs a host that systemd runs: remove it, or copy images by mirror_sync instead."
        )
    if _bytes(size) < _LEAST_SIZE:
        problems.append(
            f"mirror_cache_size is {size!r}, which is no size of 100 MiB or more: give one with a unit, such as 50g."
        )
    if int(docker_port) and not any(isinstance(one, dict) and one.get("upstream") == _HUB for one in caches):
        problems.append(
            f"mirror_cache_docker_port is {docker_port}, and mirror_caches does not name {_HUB}, which Docker asks for "
            "there: add it, or set the port to 0."
        )
    for number, cache in enumerate(caches, 1):
        name = cache.get("upstream") if isinstance(cache, dict) else None
        if not isinstance(name, str) or not _UPSTREAM.match(name):
            problems.append(
                f"Entry {number} of mirror_caches has no upstream that can be the first part of a repository's name: "
                "give a name with a dot and without a port, such as docker.io. Where the registry has another name or "
                "a port, give that in registry."
            )
            continue
        if name in names:
            problems.append(f"mirror_caches names {name} twice: remove one of them.")
        names.add(name)
        problems += _problems_of(cache)
    return problems


def _problems_of(cache):
    # Nothing else of the collection's filters needs it, and each process that uses one loads them all.
    from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import (  # noqa: PLC0415
        Connection,
    )
    from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError  # noqa: PLC0415
    from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import (  # noqa: PLC0415
        CONNECTION_OPTIONS,
        CONNECTION_RULES,
        completed,
    )

    where = f"mirror_caches, {cache['upstream']}"
    least = cache.get("min_remaining", 0)
    if isinstance(least, bool) or not isinstance(least, int) or least < 0:
        return [f"{where}: min_remaining is {least!r}: give a number of pulls, 0 or more."]
    try:
        options = completed(_options(cache), CONNECTION_OPTIONS)
        for one, other in CONNECTION_RULES:
            if (options[one] is None) != (options[other] is None):
                return [f"{where} has only one of {one} and {other}: give both, or none."]
        connection = Connection(options)
        connection.registry()
        connection.given_credential()
    except RegistryError as error:
        return [f"{where}: {error}"]
    return []
