# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common mistakes in connecting to a registry, as data: titles, and cures in a fleet. Private to this collection.

The names are part of the result of registry_check. Errors carry them from where they are raised;
_engine/error_patterns.py recognises them in the output of engines.
"""

from __future__ import annotations

_ROLL_OUT = "Run rollout.yml --limit {host}"

# name: (title, short enough for a table;
#        cure for a host of the inventory, empty where that of the hop is enough)
MISTAKES = {
    # The name and the network.
    "no_such_name": ("the name does not resolve", ""),
    "name_elsewhere": ("the name leads to another address than on other hosts", ""),
    "refused": ("connection refused: no server listens there", ""),
    "timed_out": ("no answer: a firewall or a lost host", ""),
    "no_route": ("no route to the registry", ""),
    "proxy": ("an HTTP proxy stands in the way", ""),
    "address_refused": ("the registry does not serve this address", ""),
    # TLS.
    "http_for_https": ("HTTP is spoken where HTTPS is asked for", ""),
    "https_for_http": (
        "HTTPS is spoken where HTTP is asked for",
        "Remove plain_http of {registry} from client_registries",
    ),
    "unknown_ca": (
        "the CA is unknown on this host",
        (
            f"{_ROLL_OUT}, which puts it where the engine looks for it. If it is there, another server answers, "
            "or the server does not send its intermediate certificates"
        ),
    ),
    "engine_unknown_ca": ("the CA is unknown to the engine", ""),
    "clock_off": ("the clock of this host or of the registry host is wrong", ""),
    "expired": ("the certificate has expired", ""),
    "not_yet_valid": ("the certificate is not valid yet", ""),
    "other_name": ("the certificate is for another name", ""),
    "client_certificate": ("a client certificate is asked for", ""),
    # Authentication and authorization.
    "not_logged_in": ("not logged in", f"{_ROLL_OUT}, or docker login {{registry}} as that account"),
    "wrong_password": (
        "the credentials are rejected",
        (
            "Compare client_logins with reverse_proxy_users. "
            "Run site.yml after a change of these, else rollout.yml --limit {host}"
        ),
    ),
    "wrong_account": ("logged in, and not allowed to do this there", ""),
    "too_much_access": ("may push, and is meant to pull only", ""),
    # The image.
    "no_image": ("no such image", ""),
    "no_repository": ("no such repository", ""),
    "no_tag": ("no such tag", ""),
    "latest_only": ("the repository has no tag but latest", ""),
    "no_latest": ("no tag was named, and there is no latest", ""),
    "other_platform": ("the image is for another platform", ""),
    "layer_missing": ("the registry has lost a part of the image", ""),
    "not_accepted": (
        "the signature policy of the host does not accept the image",
        "Sign it with a key of client_policies, or correct these and run rollout.yml --limit {host}",
    ),
    # The engine and the disks.
    "engine_down": ("no engine answers", ""),
    "no_space": ("no space left", ""),
    "disk_full": ("the disk of the engine is full", ""),
    "registry_full": ("the storage of the registry is full", ""),
    "storage_unusable": ("the object storage of the registry can't be used", ""),
    "storage_unsuitable": ("the object storage is not suitable for a registry", ""),
    "registry_error": ("the registry reports a server error (5xx)", ""),
    "too_many_requests": ("too many requests", ""),
    "too_large": ("a layer is too large for the proxy", ""),
    # The connection of Ansible to the host.
    "unreachable": ("Ansible does not reach this host", 'Check whether "ansible {host} -m ping" works'),
    "no_check": ("the check could not run", ""),
}


def title(mistake):
    """The title of a mistake, empty for an unknown one."""
    return MISTAKES[mistake][0] if mistake in MISTAKES else ""


def cure_in_fleet(mistake, host, registry):
    """The cure for a host of the inventory, empty where that of the hop is enough."""
    return MISTAKES[mistake][1].format(host=host, registry=registry) if mistake in MISTAKES else ""
