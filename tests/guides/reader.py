"""A reader of the guides: what the reader has, and how the reader runs Ansible."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import textwrap
from typing import TYPE_CHECKING

import yaml
from paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from labtest import LabHost, Registry

CACHE = ROOT / ".cache"

_BLOCK = re.compile(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1   .*\n|\n)+)", re.MULTILINE)
_HEADING = re.compile(r"^(.+)\n(?:-+|=+)$", re.MULTILINE)


class Guide:
    """A page of the documentation, by the headings of its sections."""

    def __init__(self, page: str) -> None:
        text = (ROOT / "docs/docsite/rst" / page).read_text(encoding="utf-8")
        heads = list(_HEADING.finditer(text))
        ends = [*(head.start() for head in heads[1:]), len(text)]
        self._sections = {head[1]: text[head.end() : end] for head, end in zip(heads, ends, strict=True)}

    def blocks(self, section: str, language: str) -> list[str]:
        found = _BLOCK.findall(self._sections[section])
        return [textwrap.dedent(text).strip() + "\n" for _indent, kind, text in found if kind == language]

    def yaml(self, section: str) -> str:
        (text,) = self.blocks(section, "yaml")
        return text

    def commands(self, section: str) -> list[str]:
        return [line for text in self.blocks(section, "console") for line in text.splitlines()]


@dataclasses.dataclass(frozen=True)
class Site:
    """A registry host and its inventory: hosts.yml, what the lab adds, and what the guide says."""

    host: LabHost
    registry: Registry
    inventory: Path

    def says(self, text: str, place: str = "group_vars/registry/main.yml") -> None:
        """Write what a guide has for a file of the inventory."""
        self._write(place, text)

    def _write(self, name: str, text: str) -> None:
        path = self.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def prepare(self, state: Path) -> None:
        """Write what a reader has before the guide begins: the hosts, the name, the users, the images."""
        groups = {group: {"hosts": {self.host.name: {}}} for group in ("registry", "builders", "runtimes")}
        self._write("hosts.yml", yaml.safe_dump(groups))
        reached = yaml.safe_load((ROOT / "tests/lab/inventory/lab.yml").read_text(encoding="utf-8"))["lab"]["vars"]
        own = {
            "registry_hostname": self.registry.hostname,
            "registry_image_source": "archive",
            "registry_image_archive": str(CACHE / "lab/registry.tar"),
            "reverse_proxy_image_source": "archive",
            "reverse_proxy_image_archive": str(CACHE / "lab/nginx.tar"),
            "certificate_ca_fetch_to": str(self.registry.ca_file),
            "registry_credentials_file": str(self.registry.credentials_file),
            "reverse_proxy_users": "{{ lookup('wharf.registry.credentials', registry_credentials_file, "
            "users={'admin': 'admin', 'ci': 'push', 'runtime': 'pull'}) + guide_users | default([]) }}",
            "client_logins": [
                {
                    "username": "runtime",
                    "password": "{{ (reverse_proxy_users | selectattr('name', 'eq', 'runtime') | first).password }}",
                }
            ],
        }
        self._write("group_vars/all/lab.yml", yaml.safe_dump(reached | own))
        state.mkdir(parents=True, exist_ok=True)


def run(*arguments: str, program: str = "ansible-playbook", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible from a directory; both of its streams are in stdout."""
    # A shell would set PWD.
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PWD": str(cwd)}
    return subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, cwd=cwd, env=environment,
    )  # fmt: skip


def play(*arguments: str, cwd: Path = ROOT) -> str:
    """Run ansible-playbook from a directory, and return what it says."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, f"{shlex.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def module(site: Site, cwd: Path, name: str, options: dict[str, object]) -> None:
    """Run a module on the host of a site."""
    arguments = ["-i", str(site.inventory), site.host.name, f"--module-name={name}", f"--args={json.dumps(options)}"]
    done = run(*arguments, program="ansible", cwd=cwd)
    assert done.returncode == 0, done.stdout


def as_reader(command: str, checkout: Path) -> str:
    """Run a line of a console that begins with `$ ansible-playbook`, and return what it says."""
    prompt, program, *arguments = shlex.split(command)
    assert (prompt, program) == ("$", "ansible-playbook"), command
    return play(*arguments, cwd=checkout)


GATE = Guide("gate.rst")
GATE_ONCE = "Once: keys and databases"
