# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the templates of the role reverse_proxy know: one dictionary, and nothing else. Private to this collection."""

from __future__ import annotations

import hashlib
import math
import re

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.page_policies import page_policies

# Options of the role that templates have as they are, by kind. Numbers may come as text.
_NUMBERS = (
    "https_port",
    "open_files",
    "drain_seconds",
    "connections_per_user",
    "connections_per_address",
    "requests_per_second",
    "auth_cache_seconds",
    "guesses_per_minute",
    "replicas",
    "cache_docker_port",
)
_SWITCHES = ("http_redirect", "ocsp_stapling", "request_log")
_OTHERS = (
    "max_upload_size",
    "log_format",
    "client_certificates",
    "trusted_proxies",
    "allowed_networks",
    "resolvers",
    "caches",
    "metrics_networks",
    "metrics_users",
    "peers",
)
# nginx made a directive of what was an option of `listen` before.
_HTTP2_DIRECTIVE = (1, 25, 1)


def proxy_model(options, constants, host):
    """The model.

    options: those of the role, without its prefix. constants: what the role knows of the protocol, which becomes part
    of the model as it is. host: `version` of nginx, `processors`, `storage` (whether the registry's files are on this
    host), `passwords` and `former_passwords` (text in the form of htpasswd), and `access`, from the filter
    access_rules.
    """
    model = dict(constants)
    # Blobs are read from the storage where it is a directory of this host.
    blobs = _truth(options["blobs_from_disk"]) and bool(options["storage_directory"]) and _truth(host["storage"])
    model.update({name: int(options[name]) for name in _NUMBERS})
    model.update({name: _truth(options[name]) for name in _SWITCHES})
    model.update({name: options[name] for name in _OTHERS})
    model.update(
        version=host["version"],
        workers=int(host["processors"]),
        access=host["access"],
        blobs=blobs,
        objects=None if blobs else _objects(options, constants["objects"]),
        # A disk does not fail for a moment.
        again=constants["again"] if _truth(options["storage_elsewhere"]) else None,
        http2=_http2(_truth(options["http2"]), host["version"]),
        # How long a "no" takes, in milliseconds.
        silence=int(float(options["wrong_password_seconds"]) * 1000),
        page={**constants["page"], "policies": page_policies(host["access"])} if _truth(options["page"]) else None,
        metrics=bool(options["metrics_networks"] or options["metrics_users"]),
        generations=generations(host["passwords"], host["former_passwords"]),
        shares=shares(int(options["connections_per_replica"]), int(options["replicas"]), int(host["processors"])),
    )
    return model


def _objects(options, constants):
    """How blobs come from an object storage; None where they do not, or where nginx can't fetch them."""
    source = options["object_source"]
    if not source:
        return None
    resolvers = options["resolvers"] or [constants["resolver"]]
    size = str(options["blob_cache_size"])
    return {
        **constants,
        **source,
        "cache": size if int(re.match(r"\d+", size).group()) else "",
        "resolvers": [f"[{one}]" if re.fullmatch(r"[^\[]*:[^\[]*:.*", one) else one for one in resolvers],
        "trusted": constants["private_ca" if options["object_ca"] else "public_cas"],
    }


def generations(passwords, former):
    """By name, what is valid of a user now, in short: another password is another generation."""
    return {
        line.partition(":")[0]: hashlib.sha256((line + former).encode()).hexdigest()[:16]
        for line in passwords.splitlines()
    }


def shares(per_replica, replicas, workers):
    """Connections of each worker to a replica, by kind, and how many of them an account or a network may have.

    What one kind has taken up, the others still have.
    """
    share = math.ceil(per_replica / workers)
    return {
        "upstreams": {
            "registry": share,
            "changes": share,
            "uploads": share,
            "anonymous": max(share // 4, 1),
            "health": 4,
        },
        "account": max(share * replicas // 2, 8),
        "network": max(share // 8, 8),
        "manifests": 8,
    }


def _http2(wanted, version):
    """How nginx is told: by a `directive`, by an option of `listen`, or not at all."""
    if not wanted:
        return ""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return "directive" if numbers >= _HTTP2_DIRECTIVE else "listen"


def _truth(value):
    """Variables of the command line are text."""
    return value.lower() in ("true", "yes", "on", "1", "y", "t") if isinstance(value, str) else bool(value)
