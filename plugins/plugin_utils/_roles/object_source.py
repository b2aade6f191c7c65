# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nginx may fetch blobs from: the storage that the registry is configured with, and nothing else."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.ip_address import is_address

_PORTS = {"http": 80, "https": 443}


def object_source(s3, storage):
    """The storage as nginx has to know it, or None where nginx can't fetch from it and the registry sends all content.

    s3 and storage: the values of registry_s3 and registry_storage. The result has `scheme`, `host`, a regular
    expression for the name of the server, and `port`; `port_signed` is the port as it is part of the signed header
    `Host`, and `resolved` tells whether there is a name that has to be looked up.
    """
    if storage != "s3":
        return None
    endpoint = str(s3.get("endpoint") or "")
    bucket = re.escape(str(s3.get("bucket") or ""))
    if not endpoint:
        region = re.escape(str(s3.get("region") or "us-east-1"))
        host = rf"(?:{bucket}\.)?s3(?:[.-]{region})?\.amazonaws\.com(?:\.cn)?"
        return {"scheme": "https", "host": host, "port": 443, "port_signed": "", "resolved": True}
    url = urlsplit(endpoint)
    resolved = not is_address(url.hostname)
    # nginx compares a certificate with names alone.
    if url.scheme == "https" and not resolved:
        return None
    port = url.port or _PORTS[url.scheme]
    host = re.escape(url.hostname) if ":" not in url.hostname else re.escape(f"[{url.hostname}]")
    return {
        "scheme": url.scheme,
        # Version 3 may have the bucket in the name.
        "host": rf"(?:{bucket}\.)?(?i:{host})" if resolved else host,
        "port": port,
        "port_signed": "" if port == _PORTS[url.scheme] else f":{port}",
        "resolved": resolved,
    }
