"""The sites of the guides as hosts of the lab, and a host that calls itself Docker Hub."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from content import Content
from labtest import LabHost, Registry, RegistryConnection, wait_for
from paths import ROOT
from reader import CACHE, Site, play

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB_CONFIGURATION = """
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: "0.0.0.0:443", tls: {certificate: /hub/hub.crt, key: /hub/hub.key}}
"""


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
