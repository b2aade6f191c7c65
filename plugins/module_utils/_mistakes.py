# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common mistakes on the way to a registry, as data: titles, and cures in a fleet. Private to this collection.

The names are a part of what registry_check returns. Errors bear them where they are raised; how engines word a mistake
is in _engine_words.py.
"""

from __future__ import annotations

_ROLL_OUT = "Run rollout.yml --limit {host}"

# name: (title, in the few words that a table has room for;
#        cure for a host of the inventory, empty for what the hop itself says)
MISTAKES = {
    # The name and the way.
    "no_such_name": ("the name does not resolve", ""),
    "name_elsewhere": ("the name leads to another address than on other hosts", ""),
    "refused": ("connection refused: nobody listens there", ""),
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
            f"{_ROLL_OUT}, which puts it where the engine looks for it. If it is there, somebody else answers, "
            "or the server does not send its intermediate certificates"
        ),
    ),
    "engine_unknown_ca": ("the CA is unknown to the engine", ""),
    "clock_off": ("the clock of this host or of the registry host is wrong", ""),
    "expired": ("the certificate has expired", ""),
    "not_yet_valid": ("the certificate is not valid yet", ""),
    "other_name": ("the certificate is for another name", ""),
    "client_certificate": ("a client certificate is asked for", ""),
    # Who may do what.
    "not_logged_in": ("not logged in", f"{_ROLL_OUT}, or docker login {{registry}} as that account"),
    "wrong_password": (
        "the login is not taken",
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
    # The engine and the disks.
    "engine_down": ("no engine answers", ""),
    "no_space": ("no space left", ""),
    "disk_full": ("the disk of the engine is full", ""),
    "registry_full": ("the storage of the registry is full", ""),
    "registry_error": ("the registry can't do it now (5xx)", ""),
    "too_many_requests": ("too many requests", ""),
    "too_large": ("a layer is too large for the proxy", ""),
    # The way to the host itself.
    "unreachable": ("Ansible does not reach this host", 'See whether "ansible {host} -m ping" works'),
    "no_check": ("the check could not run", ""),
}


def title(mistake):
    """The title of a mistake, empty for what was not recognised."""
    return MISTAKES[mistake][0] if mistake in MISTAKES else ""


def cure_in_fleet(mistake, host, registry):
    """The cure for a host of the inventory, empty where there is none but what the hop says."""
    return MISTAKES[mistake][1].format(host=host, registry=registry) if mistake in MISTAKES else ""
