"""The sites of the guides as hosts of the lab, and a host that calls itself Docker Hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import vulnerable
from certificates import Authority
from content import Content
from labtest import LabHost, Registry, RegistryConnection, wait_for
from paths import ROOT
from reader import CACHE, GATE, GATE_ONCE, Site, as_reader, play

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB_CONFIGURATION = """
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: "0.0.0.0:443", tls: {certificate: /hub/hub.crt, key: /hub/hub.key}}
"""

# Of the page on the gate.
USERS = ("admin", "ci", "promoter", "mirror", "runtime")


def lab(playbook: str) -> None:
    inventories = [f"--inventory={ROOT / 'tests' / place}" for place in ("lab/inventory", "guides/hosts.yml")]
    play(*inventories, "--extra-vars=lab_scenario=guides", f"tests/lab/{playbook}.yml")


@pytest.fixture(scope="session")
def machines() -> Iterator[None]:
    lab("destroy")
    try:
        lab("create")
        yield
    finally:
        if not os.environ.get("KEEP"):
            lab("destroy")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: a directory with the playbooks, and with inventories of the reader's own."""
    place = tmp_path_factory.mktemp("checkout")
    (place / "playbooks").symlink_to(ROOT / "playbooks")
    return place


@pytest.fixture(scope="session")
def sites(machines: None, checkout: Path) -> dict[str, Site]:
    """Both sites by the names of their hosts, with a running registry each."""
    found = {}
    for name, hostname, inventory in (
        ("near", "registry.example.com", "near"),
        ("far", "registry.far.example.com", "far"),
    ):
        host, state = LabHost(name), checkout / "state" / name
        registry = Registry(host, hostname, state / "ca.crt", state / "credentials.yml")
        site = found[name] = Site(host, registry, checkout / "inventories" / inventory)
        site.prepare(state)
        play("-i", f"inventories/{inventory}", "playbooks/site.yml", cwd=checkout)
    # The inventory that most guides speak of is that of the near site.
    (checkout / "inventories" / "production").symlink_to("near")
    return found


@pytest.fixture(scope="session")
def hub(sites: dict[str, Site], tmp_path_factory: pytest.TempPathFactory) -> Content:
    """What Docker Hub and GitHub have. It takes no login, and the near site trusts its CA as it trusts public ones."""
    authority = Authority(tmp_path_factory.mktemp("hub"), "hub")
    pair = authority.issue("registry-1", ("registry-1.docker.io", "ghcr.io", "hub"))
    host = LabHost("hub")
    host.run("mkdir /hub && cat >/hub/hub.yml", stdin=HUB_CONFIGURATION)
    for path, name in ((pair.certificate, "hub.crt"), (pair.key, "hub.key")):
        host.run(f"cat >/hub/{name}", stdin=path.read_text(encoding="utf-8"))
    with (CACHE / "lab/registry.tar").open("rb") as archive:
        command = ["docker", "exec", "--interactive", host.container, "docker", "load", "--quiet"]
        loaded = subprocess.run(command, stdin=archive, capture_output=True, check=True, text=True).stdout
    image = loaded.strip().rpartition(" ")[2]
    host.run(
        "docker run --detach --network=host --volume=/hub:/hub:ro --entrypoint=/usr/bin/registry "
        f"{image} serve /hub/hub.yml"
    )
    trust = "cat >/usr/local/share/ca-certificates/hub.crt && update-ca-certificates"
    sites["near"].host.run(trust, stdin=authority.certificate.read_text(encoding="utf-8"))
    content = Content(RegistryConnection(Registry(host, "hub", authority.certificate, Path(os.devnull))))
    wait_for("the hub answers", lambda: content.ask("GET", "/v2/")[0] == 200)
    return content


@pytest.fixture(scope="session")
def near(sites: dict[str, Site], hub: Content, checkout: Path) -> Site:
    """The site with the inventory of the page, its keys, and a copy of the database."""
    near = sites["near"]
    vulnerable.put_database(hub, "aquasecurity/trivy-db", "2")
    hub.artifact("aquasecurity/trivy-java-db", "1", "application/vnd.example", "application/vnd.example")
    near.host.run("apt-get -qq update && apt-get -qq install --no-install-recommends cosign >/dev/null")
    trivy = shutil.which("trivy")
    subprocess.run(["docker", "cp", "--follow-link", trivy, f"{near.host.container}:/usr/bin/trivy"], check=True)
    near.says(GATE.yaml("Who may do what"), "group_vars/all/main.yml")
    near.says("".join(GATE.blocks(GATE_ONCE, "yaml")))
    known = near.registry.users
    passwords = {name: known.get(name, {}).get("password", f"of-the-lab-and-of-no-worth-{name}") for name in USERS}
    vault = {f"vault_{name}_password": password for name, password in passwords.items()}
    # The registry host of the page is no client.
    near.says(json.dumps(vault | {"client_logins": []}), "group_vars/all/vault.yml")
    as_reader("$ ansible-playbook -i inventories/production playbooks/site.yml", checkout)
    for command in GATE.commands(GATE_ONCE):
        near.host.run(command.removeprefix("# "))
    build = "COSIGN_PASSWORD= cosign generate-key-pair --output-key-prefix build"
    near.host.run(f"cd /etc/wharf-registry/gate && {build}")
    as_reader("$ ansible-playbook -i inventories/production playbooks/mirror.yml", checkout)
    return near
