# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common mistakes on the way to a registry, as data: what each is called. Private to this collection.

The names are a part of what registry_check returns. Errors bear them where they are raised; what engines say of a mistake is in
_engine_words.py.
"""

from __future__ import annotations

# name: title, in the few words that a table has room for
TITLES = {
    # The name and the way.
    "no_such_name": "the name does not resolve",
    "name_elsewhere": "the name leads to another address than on other hosts",
    "refused": "connection refused: nobody listens there",
    "timed_out": "no answer: a firewall or a lost host",
    "no_route": "no route to the registry",
    "proxy": "an HTTP proxy stands in the way",
    # TLS.
    "http_for_https": "HTTP is spoken where HTTPS is asked for",
    "https_for_http": "HTTPS is spoken where HTTP is asked for",
    "unknown_ca": "the CA is unknown on this host",
    "engine_unknown_ca": "the CA is unknown to the engine",
    "clock_off": "the clock of this host is wrong",
    "expired": "the certificate has expired",
    "not_yet_valid": "the certificate is not valid yet",
    "other_name": "the certificate is for another name",
    "client_certificate": "a client certificate is asked for",
    # Who may do what.
    "not_logged_in": "not logged in",
    "wrong_password": "the login is not taken",
    "wrong_account": "logged in, and not allowed to do this there",
    "too_much_access": "may push, and is meant to pull only",
    # The image.
    "no_image": "no such image",
    "no_repository": "no such repository",
    "no_tag": "no such tag",
    "latest_only": "the repository has no tag but latest",
    "no_latest": "no tag was named, and there is no latest",
    "other_platform": "the image is for another platform",
    "layer_missing": "the registry has lost a part of the image",
    # The engine and the disks.
    "engine_down": "no engine answers",
    "no_space": "no space left",
    "disk_full": "the disk of the engine is full",
    "registry_full": "the storage of the registry is full",
    "registry_error": "the registry can't do it now (5xx)",
    "too_many_requests": "too many requests",
    "too_large": "a layer is too large for the proxy",
    # The way to the host itself.
    "unreachable": "Ansible does not reach this host",
    "no_check": "the check could not run",
}


def title(mistake):
    """The title of a mistake, empty for what was not recognised."""
    return TITLES.get(mistake, "")
