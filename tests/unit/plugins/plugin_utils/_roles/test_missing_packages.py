"""What a host lacks is named with its packages, by the data of the role engine."""

from __future__ import annotations

from inspect import signature

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.missing_packages import missing_packages
from paths import ROOT

# ansible-core 2.19 and later evaluate no template of a file that is not marked as trusted.
TRUST = (
    {"trusted_as_template": True} if "trusted_as_template" in signature(DataLoader.load_from_file).parameters else {}
)
VARIABLES = DataLoader().load_from_file(str(ROOT / "roles" / "engine" / "vars" / "main.yml"), **TRUST)
OF_ROLE = yaml.safe_load((ROOT / "roles" / "engine" / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))


def host(distribution: str, version: str, family: str) -> dict:
    return {
        "distribution": distribution,
        "distribution_version": version,
        "distribution_major_version": version.split(".", maxsplit=1)[0],
        "os_family": family,
        "python": {"version": {"major": 3, "minor": 11}},
    }


DEBIAN = host("Debian", "13.1", "Debian")
HOSTS = [
    (DEBIAN, "docker.io docker-cli", True),
    (host("Debian", "12.9", "Debian"), "docker.io", True),
    (host("Debian", "11.4", "Debian"), "docker.io docker-cli", False),
    (host("Ubuntu", "24.04", "Debian"), "docker.io", True),
    (host("Ubuntu", "20.04", "Debian"), "docker.io", False),
    (host("Linux Mint", "22", "Debian"), "docker.io docker-cli", False),
    (host("RedHat", "9.4", "RedHat"), "docker-ce docker-ce-cli", False),
    (host("Rocky", "10.0", "RedHat"), "docker-ce docker-ce-cli", False),
    (host("Fedora", "42", "RedHat"), "moby-engine docker-cli", False),
    (host("openSUSE Leap", "15.6", "Suse"), "docker", False),
    (host("Archlinux", "", "Archlinux"), "docker", False),
    (host("Gentoo", "2.17", "Gentoo"), "", False),
]


def known(facts: dict) -> dict:
    """The data of the role for a host."""
    templar = Templar(loader=DataLoader(), variables={**VARIABLES, "ansible_facts": facts})
    return templar.template(VARIABLES["__engine_known"])


@pytest.mark.parametrize(("facts", "packages", "installs"), HOSTS)
def test_the_packages_of_each_distribution(facts: dict, packages: str, installs: bool) -> None:
    assert " ".join(known(facts)["packages"].get("docker", [])) == packages
    templar = Templar(loader=DataLoader(), variables={**VARIABLES, "ansible_facts": facts})
    assert templar.template(VARIABLES["__engine_installs"]) is installs


@pytest.mark.parametrize("facts", [facts for facts, packages, _installs in HOSTS if packages])
def test_each_family_has_packages_for_all_that_roles_need(facts: dict) -> None:
    assert set(known(facts)["packages"]) == set(VARIABLES["__engine_titles"])


def test_what_roles_can_ask_for_has_a_title() -> None:
    choices = set(OF_ROLE["argument_specs"]["packages"]["options"]["engine_missing"]["choices"])
    assert choices | {"docker_client"} == set(VARIABLES["__engine_titles"])


def test_the_message_names_the_packages_and_where_they_come_from() -> None:
    facts = host("Rocky", "9.4", "RedHat")
    assert missing_packages(["docker", "requests"], "reg-1", facts, known(facts)) == (
        "reg-1 lacks a Docker Engine (packages docker-ce, docker-ce-cli from Docker's own repository) and the Python "
        "module requests (package python3-requests). It runs Rocky 9.4, and packages are installed on Debian 12 and "
        "Ubuntu 22 or later only. Install what is missing, and run the playbook again."
    )


def test_suse_has_packages_for_each_python() -> None:
    facts = host("openSUSE Leap", "15.6", "Suse")
    assert "(package python311-requests)" in missing_packages(["requests"], "reg-1", facts, known(facts))


def test_of_an_unknown_family_the_thing_alone_is_named() -> None:
    facts = host("Gentoo", "2.17", "Gentoo")
    assert "reg-1 lacks the program restic. It runs Gentoo" in missing_packages(
        ["restic"], "reg-1", facts, known(facts)
    )
