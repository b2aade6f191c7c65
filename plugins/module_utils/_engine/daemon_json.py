# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's daemon.json, and whether an engine would accept it. Pure functions. Private to this collection."""

from __future__ import annotations

import codecs
import ipaddress
import re
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.json_edit import with_list
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import (
    PLAIN,
    UNCHANGED,
    Number,
    is_text,
    parse,
    unusual_encoding,
)

INSECURE = "insecure-registries"
MIRRORS = "registry-mirrors"

# The types of Docker's keys, for engines that cannot validate a file (before 23). A key that is not listed here is
# left to the engine, which rejects an unknown key at the reload.
_KEYS = {
    "a list of strings": """
        allow-nondistributable-artifacts authorization-plugins cdi-spec-dirs dns dns-opts dns-search exec-opts hosts
        insecure-registries labels node-generic-resources registry-mirrors storage-opts
    """,
    "true or false": """
        debug experimental icc init ip-forward ip-masq iptables ip6tables ipv6 live-restore no-new-privileges raw-logs
        selinux-enabled tls tlsverify userland-proxy
    """,
    "a number": """
        max-concurrent-downloads max-concurrent-uploads max-download-attempts mtu network-control-plane-mtu
        network-diagnostic-port oom-score-adjust shutdown-timeout
    """,
    "a string": """
        api-cors-header bip bridge cgroup-parent containerd containerd-namespace containerd-plugins-namespace data-root
        default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode default-runtime exec-root fixed-cidr
        fixed-cidr-v6 group init-path ip log-driver log-format log-level metrics-addr pidfile seccomp-profile
        storage-driver swarm-default-advertise-addr tlscacert tlscert tlskey userland-proxy-path userns-remap
    """,
    "an object of strings": "cluster-store-opts log-opts",
    "an object": "builder default-network-opts default-ulimits features runtimes",
}
_TYPES = {key: wanted for wanted, keys in _KEYS.items() for key in keys.split()}
_FITS = {
    "a list of strings": lambda value: isinstance(value, list) and all(is_text(item) for item in value),
    "true or false": lambda value: isinstance(value, bool),
    "a number": lambda value: isinstance(value, Number),
    "a string": is_text,
    "an object of strings": lambda value: isinstance(value, dict) and all(is_text(item) for item in value.values()),
    "an object": lambda value: isinstance(value, dict),
}

# Flags of dockerd that set a key of another name. --add-runtime is not among them: dockerd merges it with the
# runtimes of the file.
_FLAG_KEYS = {
    "-D": "debug",
    "-G": "group",
    "-H": "hosts",
    "-b": "bridge",
    "-g": "data-root",
    "-l": "log-level",
    "-p": "pidfile",
    "-s": "storage-driver",
    "--authorization-plugin": "authorization-plugins",
    "--cdi-spec-dir": "cdi-spec-dirs",
    "--cluster-store-opt": "cluster-store-opts",
    "--default-network-opt": "default-network-opts",
    "--default-ulimit": "default-ulimits",
    "--dns-opt": "dns-opts",
    "--exec-opt": "exec-opts",
    "--graph": "data-root",
    "--host": "hosts",
    "--insecure-registry": INSECURE,
    "--label": "labels",
    "--log-opt": "log-opts",
    "--node-generic-resource": "node-generic-resources",
    "--registry-mirror": MIRRORS,
    "--storage-opt": "storage-opts",
}
# Up to the last @ of the authority, since a password may contain one.
_USER = re.compile(r"://[^/\s]*@")


# Docker 23 and later detects the encoding of a file from Windows by its byte order mark.
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What may stand behind the host of a mirror: the beginning of the names of repositories.
_PATH = re.compile(r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*/?")


class DaemonConfig:
    """A daemon.json. Immutable: with_entries returns another one, in the same encoding."""

    def __init__(self, raw, path):
        """Raises InputError where the bytes are not a JSON object, or its lists of registries are not lists."""
        self.path = path
        self._mark, self._encoding = _encoding_of(raw or b"")
        try:
            text = (raw or b"")[len(self._mark) :].decode(self._encoding)
        except UnicodeDecodeError:
            what = f"is not {self._encoding.upper()} text"
            raise InputError(f"{path} {(not self._mark and unusual_encoding(raw)) or what}", UNCHANGED) from None
        # An empty file means the same as a missing one.
        self.text = text if text.strip(" \t\r\n\v\f") else ""
        self.content = parse(self.text.encode(), path) if self.text else {}
        for key in (INSECURE, MIRRORS):
            items = self.content.get(key)
            if items is not None and not (isinstance(items, list) and all(is_text(item) for item in items)):
                raise InputError(f'{path}: "{key}" is not a list of strings', UNCHANGED)

    @property
    def raw(self):
        """The bytes of the file."""
        return self._mark + self.text.encode(self._encoding)

    def _with_text(self, text):
        return DaemonConfig(self._mark + text.encode(self._encoding), self.path)

    def entries(self, key):
        return list(self.content.get(key) or [])

    def with_entries(self, key, present=(), absent=(), same=lambda one, other: one == other):
        """With these entries in the list, and without those; every other one keeps its place."""
        items = self.entries(key)
        kept = [item for item in items if not any(same(item, other) for other in absent)]
        kept += [item for item in present if not any(same(item, other) for other in kept)]
        if kept == items:
            return self
        # A reload does not reset a list that is missing from the file, so an empty list stays in it.
        text = with_list(self.text or "{}\n", key, kept)
        return self._with_text(text)

    def with_empty_list(self, key):
        """With an empty list for a missing key: a reload without the key would leave the engine as it is."""
        return self._with_text(with_list(self.text or "{}\n", key, []))

    def check(self, arguments):
        """Raises InputError where an engine with these arguments would reject the file."""
        for key, value in self.content.items():
            wanted = _TYPES.get(key)
            if wanted and value is not None and not _FITS[wanted](value):
                raise InputError(f'{self.path}: "{key}" is not {wanted}', UNCHANGED)
        for flag in arguments:
            name = flag.partition("=")[0]
            key = _FLAG_KEYS.get(name, name[2:] if name.startswith("--") else None)
            if key in self.content:
                raise InputError(
                    f"dockerd is started with {name}, and would not start with {key} in {self.path} as well",
                    f"Remove the flag from its unit, a drop-in of it or /etc/default/docker, and give what it says in "
                    f"{self.path}",
                )

    def check_plain(self):
        """Raises InputError where an engine before 23 could not read the file."""
        if self._mark:
            raise InputError(
                f"{self.path} {unusual_encoding(self.raw)}. Docker reads that from 23 on, and the one here is older",
                PLAIN,
            )


def _encoding_of(raw):
    """(byte order mark, encoding). Docker supports no byte order mark of four bytes."""
    if not raw.startswith(codecs.BOM_UTF32_LE):
        for mark, encoding in _ENCODINGS:
            if raw.startswith(mark):
                return mark, encoding
    return b"", "utf-8"


def same_registry(one, other):
    """Whether two entries of insecure-registries mean the same registry: Docker ignores a scheme."""
    return _bare(one) == _bare(other)


def same_mirror(one, other):
    """Whether two mirrors are the same: Docker itself appends a slash."""
    return one.rstrip("/") == other.rstrip("/")


def _bare(entry):
    return re.sub(r"^https?://", "", entry, flags=re.IGNORECASE)


def is_effective(entry, insecure):
    """Whether an entry of the file is among the insecure registries and networks that an engine reports."""
    bare = _bare(entry)
    try:
        network = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        return bare in insecure
    return bare in insecure or str(network) in insecure


def check_mirror(url):
    """Raises InputError where Docker would not accept the URL of a mirror."""
    if not _is_url(url) or has_path(url):
        raise InputError(
            f"{url!r} is no mirror that Docker takes", "Give http:// or https://, a host, and a port where it needs one"
        )


def check_upstream_mirror(url):
    """Raises InputError where no engine would accept the URL of a mirror. It may lie below a path of its registry."""
    if not _is_url(url) or not _PATH.fullmatch(urllib.parse.urlsplit(url).path):
        raise InputError(
            f"{url!r} is no mirror", "Give http:// or https://, a host, and the path where the images lie, if any"
        )


def has_path(url):
    return bool(urllib.parse.urlsplit(url).path.strip("/"))


def _is_url(url):
    if "@" in url:
        # The URL is not shown, since it may contain a password.
        raise InputError("a mirror holds an @", "Engines show a mirror no user and no password: give the URL without")
    try:
        parts = urllib.parse.urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fits and not parts.query and not parts.fragment


def without_users(text):
    """The text without the credentials in its URLs, as those of proxies in a daemon.json."""
    return _USER.sub("://…@", text)
