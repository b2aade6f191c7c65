"""A run does not take over containers that another inventory has made; their labels and mounts tell."""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from engine import LABEL, command

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA, CONFIG = "registry_data_directory", "registry_config_directory"
# What an inventory says; the containers that are there, and where they have other directories than by default; and the
# variable that is named, if the run ends.
CASES = {
    "none is there": ({}, {}, None),
    "they are its own": ({}, {"registry-1": {}}, None),
    "its own, by other words": ({DATA: "{top}/./data/", CONFIG: "{top}/config/."}, {"registry-1": {}}, None),
    "those of another instance": ({}, {"other": {DATA: "{top}/elsewhere"}}, None),
    "other data": ({DATA: "{top}/mine"}, {"registry-1": {}}, DATA),
    "other data, of a directory above": ({DATA: "{top}/data/staging"}, {"registry-1": {}}, DATA),
    "other data, of a name that goes on": ({DATA: "{top}/dat"}, {"registry-1": {}}, DATA),
    "other settings": ({CONFIG: "{top}/mine"}, {"registry-1": {}}, CONFIG),
    "the last replica alone": ({DATA: "{top}/mine"}, {"registry-7": {}}, DATA),
    "the proxy alone": ({DATA: "{top}/mine"}, {"proxy": {}}, DATA),
    "one of several": ({}, {"registry-1": {}, "registry-2": {DATA: "{top}/elsewhere"}}, DATA),
}


@pytest.fixture(scope="module")
def said(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the preflight of the role says in each case, of one play: each case is an instance of its own."""
    directory = tmp_path_factory.mktemp("claims")
    room = f"t{secrets.token_hex(3)}"
    made, hosts = [], {}
    for number, (variables, containers, _named) in enumerate(CASES.values()):
        instance, top = f"{room}-{number}", directory / str(number)
        own = {DATA: "{top}/data", CONFIG: "{top}/config"}
        for name, others in containers.items():
            used = {key: value.format(top=top) for key, value in {**own, **others}.items()}
            made.append(make(images["registry"], f"{room}-{name}" if name == "other" else instance, name, used))
        given = {key: value.format(top=top) for key, value in {**own, **variables}.items()}
        hosts[f"case{number}"] = {"registry_instance": instance, **given}
    yield play(directory, hosts)
    command("docker", "rm", *made)


def make(image: str, instance: str, name: str, directories: dict[str, str]) -> str:
    """A container as the role makes it, of which only these things are looked at."""
    role = "proxy" if name == "proxy" else "replica"
    places = {
        f"{directories[DATA]}/data": "/var/lib/registry",
        f"{directories[CONFIG]}/registry": "/etc/wharf-registry",
    }
    for path in places:
        Path(path).mkdir(parents=True, exist_ok=True)
    return command(
        "docker",
        "create",
        "--pull=never",
        f"--label={LABEL}",
        f"--label=registry.wharf-{instance}.role={role}",
        f"--name=wharf-{instance}-{name}",
        *(f"--mount=type=bind,src={path},dst={target}" for path, target in places.items()),
        image,
        "never-started",
    ).stdout.strip()


def play(directory: Path, hosts: dict[str, dict]) -> dict[str, str]:
    include = {"name": "wharf.registry.registry", "tasks_from": "preflight"}
    tasks = [{"ansible.builtin.include_role": include}]
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "registry_hostname": "registry.test",
    }
    (directory / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}))
    files = (f"--inventory={directory / 'hosts.yml'}", str(directory / "play.yml"))
    output = command(str(Path(sys.executable).with_name("ansible-playbook")), *files, check=False).stdout
    told = re.split(r"\[ERROR\]|fatal: |PLAY RECAP", output)
    return {
        name: " ".join(" ".join(part for part in told if f"on case{number} is" in part).split())
        or re.search(rf"case{number} .*", output.rpartition("PLAY RECAP")[2])[0]
        for number, name in enumerate(CASES)
    }


@pytest.mark.parametrize("case", CASES)
def test_what_is_there_is_of_this_inventory(said: dict[str, str], case: str) -> None:
    named = CASES[case][2]
    if named is None:
        assert "failed=0" in said[case], said[case]
    else:
        assert "is that of another inventory" in said[case], said[case]
        assert f"({named})" in said[case]
        assert "give registry_instance a name of its own" in said[case]
