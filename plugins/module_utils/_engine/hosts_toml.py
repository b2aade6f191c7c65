# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts.toml of a registry, which containerd reads at each pull. Pure functions. Private to this collection.

At the top stand the registry itself, its CA and its login. Each mirror has a table [host."URL"], in the order in which
they are asked.
"""

from __future__ import annotations

import base64
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import is_managed
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_edit import (
    check_value,
    managed_paths,
    text_of,
    with_table,
    with_value,
    without_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_text import TomlText

HEADER = "# Made by wharf.registry: its next run writes this file anew.\n"
FILE = "hosts.toml"
HOST = "host"
_LOGIN = ("header", "authorization")
# A push goes to the registry itself.
_READS = ["pull", "resolve"]


class HostsToml:
    """A hosts.toml: one of this collection, or one of the host's owner with lines of ours. Immutable."""

    def __init__(self, raw, path):
        """raw: its bytes, or None. Raises InputError where they are no TOML."""
        self._document = TomlText(raw or b"", path)
        self.is_ours = raw is None or self._document.text.startswith(HEADER)
        paths = self._document.places if self.is_ours else managed_paths(self._document)
        # Our values by their paths.
        self.values = {_normalised(path): self._document.get(path) for path in paths}

    def mirrors(self):
        """The names of our tables of mirrors, in their order."""
        return [*dict.fromkeys(path[1] for path in self.values if path[0] == HOST and len(path) > 1)]

    def hosts(self):
        """The names of all tables of hosts, whoever made them."""
        found = self._document.get((HOST,), {})
        return list(found) if isinstance(found, dict) else []

    def with_values(self, values):
        """The bytes of the file with these values and no other of ours, or None where no line is left.

        Raises InputError where the file can't be edited so.
        """
        if self.is_ours:
            return _rendered(values).encode() if values else None
        document = without_values(self._document, lambda path: _normalised(path) not in values)
        wanted = {_as_spelled(document, path): value for path, value in values.items()}
        for path, value in wanted.items():
            document = with_value(document, path, value)
        for path, value in wanted.items():
            # One line of the owner can hold several values.
            check_value(document, path, value)
        # Without this table, containerd 1.7 does not read what stands at the top.
        return (with_table(document, (HOST,)) if values else document).text.encode()


def _normalised(path):
    """A path with the name of a header in lower case, since two spellings of it are one header."""
    return (*path[:-1], path[-1].lower()) if len(path) > 1 and path[-2] == _LOGIN[0] else path


def _as_spelled(document, path):
    """The path of a header as the file spells it."""
    if len(path) > 1 and path[-2] == _LOGIN[0]:
        there = document.get(path[:-1])
        name = next((key for key in there if key.lower() == path[-1]), None) if isinstance(there, dict) else None
        return (*path[:-1], name) if name else path
    return path


def registry_values(name, options, files, kept):
    """{path: value} of the registry itself.

    options: of registry_client. files: (CA, certificate, key), paths, each None where the registry has none.
    kept: the values of ours that are there; a login that the options do not mention stays.
    """
    plain = bool(options.get("plain_http"))
    values = {("server",): f"{'http' if plain or options['insecure'] else 'https'}://{name}"}
    if not plain:
        # Which of the two an insecure registry speaks is not known: HTTPS is tried first.
        table = (HOST, f"https://{name}") if options["insecure"] else ()
        values.update({(*table, *path): value for path, value in tls_values(*files).items()})
        if options["insecure"]:
            values[(*table, "skip_verify")] = True
    login = kept.get(_LOGIN) if options.get("username") is None else None
    if options.get("username"):
        login = basic(options["username"], options["password"])
    if login:
        values[_LOGIN] = login
        if options["insecure"] and not plain:
            values[(*table, *_LOGIN)] = login
    return values


def login_values(name, options, document):
    """{path: value} of a login in a HostsToml of a registry: at the top, and in the tables of the registry itself."""
    login = basic(options["username"], options["password"])
    own = [url for url in document.hosts() if urllib.parse.urlsplit(url).netloc == name]
    return {_LOGIN: login, **{(HOST, url, *_LOGIN): login for url in own}}


def mirror_values(table, options, files, login):
    """{path: value} of the table of a mirror.

    table: its name. options: those of its registry, or None. files: as in registry_values. login: what it is shown, or
    None.
    """
    path = (HOST, table)
    values = {(*path, "capabilities"): _READS}
    if urllib.parse.urlsplit(table).path:
        values[(*path, "override_path")] = True
    if table.startswith("https://"):
        values.update({(*path, *key): value for key, value in tls_values(*files).items()})
        if options and options["insecure"]:
            values[(*path, "skip_verify")] = True
    if login:
        values[(*path, *_LOGIN)] = login
    return values


def tls_values(authority, certificate, key):
    """{path: value} of paths of certificates, each None where there is none."""
    values = {}
    if authority:
        values["ca",] = authority
    if certificate and key:
        values["client",] = [[certificate, key]]
    return values


def table_name(url):
    """How hosts.toml and registries.yaml name a mirror: below a path, the whole way to the API."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}" + (f"/v2{path}" if path else "")


def login_of(values):
    """What is shown to a registry as a login, of the values of its own hosts.toml."""
    return values.get(_LOGIN)


def basic(username, password):
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def shown(content):
    """The lines of a hosts.toml for a diff: all of one of ours, of another one ours alone, and no header."""
    try:
        document = TomlText(content, FILE)
    except InputError:
        return []
    lines = document.text.splitlines(keepends=True)
    is_ours = document.text.startswith(HEADER)
    starts, at = {}, 0
    for number, line in enumerate(lines):
        starts[at] = number
        at += len(line)
    hidden = {}
    for path, place in document.places.items():
        if _LOGIN[0] in path:
            numbers = [starts[at] for at in starts if place.line[0] <= at < place.line[1]]
            hidden.update(dict.fromkeys(numbers, f"{path[-1]} = (hidden)"))
    return [hidden.get(number, line.rstrip("\r\n")) for number, line in enumerate(lines) if is_ours or is_managed(line)]


def _rendered(values):
    """The text of a file of ours. Each table stands once, those of the top before those of hosts."""
    tables = {}
    for path, value in values.items():
        tables.setdefault(path[:-1], []).append(f"{path[-1]} = {text_of(value)}")
    parts = []
    if not any(table[:1] == (HOST,) for table in tables):
        # Without this table, containerd 1.7 does not read what stands at the top.
        tables[HOST,] = []
    # Each host has its header below it, and hosts keep their order.
    for table in sorted(tables, key=lambda table: table[:1] == (HOST,)):
        header = [f"[{'.'.join(_name(key) for key in table)}]"] if table else []
        parts.append("\n".join([*header, *(f"  {line}" if table else line for line in tables[table])]))
    return HEADER + "\n\n".join(parts) + "\n"


def _name(key):
    return key if key.isalnum() else text_of(key)
