# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables by which the role registry stores images."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from ansible.module_utils.parsing.convert_bool import boolean

# Bytes: S3 takes no smaller part, and no larger one.
_LEAST_PART, _LARGEST_PART = 5 << 20, 5 << 30
# Between "." there are no empty parts. Amazon's rules are stricter for new buckets, and those of other servers are not.
_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,253}[A-Za-z0-9])\Z")
_ROOT = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*\Z")
# What the role decides: the replicas are reachable by the proxy alone, which has the users and their rights.
_OURS = (("auth",), ("proxy",), ("http", "net"), ("http", "addr"), ("http", "secret"), ("http", "tls"))
_NO_URL = (
    "{}.endpoint is no URL of a server: give https:// with a host, and a port where it has another one, such "
    "as https://s3.example.com:8333. The bucket and the keys have variables of their own."
)
_BESIDE_DRIVERS = frozenset(["cache", "delete", "maintenance", "redirect", "tag"])


def storage_problems(s3, storage, extra):
    """Sentences on what is wrong. None shows a secret.

    s3, storage and extra: the values of registry_s3, registry_storage and registry_config_extra.
    """
    problems = _problems_of_extra(extra, storage)
    if storage == "s3":
        problems += _problems_of_s3(s3)
    elif s3:
        problems.append(
            f"registry_s3 is set, and registry_storage is {storage}: set registry_storage to s3, or remove registry_s3."
        )
    return problems


def bucket_options(s3):
    """The options by which the modules of this collection reach the bucket of registry_s3, but for its CA."""
    region = str(s3.get("region") or "us-east-1")
    china = ".cn" if region.startswith("cn-") else ""
    return {
        # As the driver of the registry does where there is none.
        "endpoint": str(s3.get("endpoint") or "") or f"https://s3.{region}.amazonaws.com{china}",
        "bucket": str(s3.get("bucket") or ""),
        "region": region,
        "access_key": str(s3.get("access_key") or ""),
        "secret_key": str(s3.get("secret_key") or ""),
        # Variables of the command line are text.
        "force_path_style": boolean(s3.get("force_path_style", True), strict=False),
    }


def _problems_of_extra(extra, storage):
    problems = []
    for path in _OURS:
        found = extra
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            problems.append(
                f"registry_config_extra sets {'.'.join(path)}, which the role decides: remove it. The proxy in front "
                "of the replicas has TLS, the users and their rights."
            )
    drivers = sorted(set(extra.get("storage") or {}) - _BESIDE_DRIVERS - {storage})
    if storage == "other" and len(drivers) != 1:
        problems.append(
            f"registry_storage is other, and registry_config_extra has {' and '.join(drivers) or 'nothing'} under "
            "storage: name one driver there, with its settings."
        )
    elif storage != "other" and drivers:
        problems.append(
            f"registry_config_extra has {' and '.join(drivers)} under storage, beside registry_storage={storage}: set "
            "registry_storage to other, or remove it there."
        )
    return problems


def _problems_of_s3(s3):
    problems = access_problems(s3, "registry_s3")
    if bool(s3.get("access_key")) != bool(s3.get("secret_key")):
        problems.append(
            "registry_s3 has only one of access_key and secret_key: give both, or none where an instance at "
            "Amazon has a role."
        )
    host = _host_of(str(s3.get("endpoint") or ""))
    if host == "localhost" or _is_loopback(host):
        problems.append(
            f"registry_s3.endpoint is {host}, which is the container itself to a replica: give an address "
            "of this host that containers can reach."
        )
    part = s3.get("chunk_size", _LEAST_PART)
    if not _LEAST_PART <= int(part) <= _LARGEST_PART:
        problems.append(
            f"registry_s3.chunk_size is {part}: give bytes from {_LEAST_PART} to {_LARGEST_PART}, as S3 wants them."
        )
    return problems


def access_problems(s3, name):
    """What is wrong with a bucket and the way to it, as the variable of this name tells them."""
    problems = []
    bucket = str(s3.get("bucket") or "")
    if not _BUCKET.match(bucket) or ".." in bucket:
        problems.append(
            f'{name}.bucket is "{bucket}": give the name of a bucket, 3 characters or more, letters, digits, dots '
            "and hyphens."
        )
    problems += _problems_of_endpoint(
        name, str(s3.get("endpoint") or ""), bool(s3.get("plain_http")), str(s3.get("ca") or "")
    )
    root = str(s3.get("root_directory") or "").strip("/")
    if root and (not _ROOT.match(root) or {".", ".."} & set(root.split("/"))):
        problems.append(
            f'{name}.root_directory is "{root}": give a path of letters, digits and the signs . _ - alone, '
            "without dots that lead elsewhere."
        )
    return problems


def _problems_of_endpoint(name, endpoint, plain, ca):
    if not endpoint:
        return [f"{name}.ca is for a private endpoint, and there is no endpoint: give it, or remove ca."] if ca else []
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        url, port = None, None
    if (
        url is None
        or url.scheme not in ("http", "https")
        or not url.hostname
        or port == 0
        or url.username is not None
        or url.path not in ("", "/")
        or url.query
        or url.fragment
    ):
        return [_NO_URL.format(name)]
    problems = []
    if url.scheme == "http" and not plain:
        problems.append(
            f"{name}.endpoint begins with http://, so that all images would go there without encryption: give "
            f"https://, or set {name}.plain_http to true in a network that you trust."
        )
    if ca and url.scheme == "http":
        problems.append(f"{name}.ca is set, and the endpoint begins with http://, which has no certificate: remove ca.")
    elif ca and "-----BEGIN CERTIFICATE-----" not in ca:
        problems.append(f"{name}.ca holds no certificate: give the PEM text of the CA, not its path.")
    return problems


def _host_of(endpoint):
    try:
        return urlsplit(endpoint).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
