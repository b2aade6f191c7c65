"""What the rollout did: all clients trust the registry, and whatever was there before is as it was."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from conftest import CLIENTS, FILES, HOSTNAME, content
from labtest import facts_of

if TYPE_CHECKING:
    import pathlib

    from conftest import Client, Runner
    from labtest import Registry

OURS = {"insecure-registries": ["plain.fleet.test:5000"], "registry-mirrors": ["https://mirror.fleet.test"]}
WITH_SETTINGS = [client for client in CLIENTS if (FILES / f"{client.name}.json").exists()]


def test_containers_go_on(busy: Client) -> None:
    assert busy.process_now() == busy.process_before()


def test_each_has_its_engine(client: Client) -> None:
    version = client.type(f"{client.cli} version --format '{{{{.Client.Version}}}}'")
    assert version.startswith(f"{client.version}.")


def test_the_registry_host_is_none_whose_packages_are_installed(registry: Registry) -> None:
    """What it is called, as Ansible sees it; what it needs was in place."""
    facts = facts_of(registry.host)
    assert (facts["ansible_distribution"], facts["ansible_os_family"]) == ("Rocky", "RedHat")


def split(text: str) -> tuple[str, dict[str, list[str]]]:
    """A daemon.json without what stands in the two lists, and what does stand there."""
    lists = re.compile(r'("(?:insecure-registries|registry-mirrors)"\s*:\s*\[)[^\]]*(\])')
    return lists.sub(r"\1\2", text), {name: json.loads(text).get(name) for name in OURS}


@pytest.mark.parametrize("client", WITH_SETTINGS, ids=lambda client: client.name)
def test_what_others_set_is_kept(client: Client) -> None:
    """Byte for byte: a list that was there grows, and a list that was not is one piece that was put in."""
    before = (FILES / f"{client.name}.json").read_text()
    after = content(client.snapshot("/etc/docker/daemon.json")["/etc/docker/daemon.json"]).decode()
    (rest_before, lists_before), (rest_after, lists_after) = split(before), split(after)
    assert lists_after == {name: [*(lists_before[name] or []), *ours] for name, ours in OURS.items()}
    same = next((at for at, pair in enumerate(zip(rest_before, rest_after, strict=False)) if len({*pair}) > 1), None)
    tail = rest_before[same:] if same is not None else ""
    assert rest_after.endswith(tail)
    added = rest_after[same : len(rest_after) - len(tail)] if same is not None else rest_after[len(rest_before) :]
    # Nothing at all where both lists were there.
    assert sorted(re.findall(r'"([^"]*)"', added)) == [name for name, value in lists_before.items() if value is None]
    assert re.sub(r'"[^"]*"|[][:,\s]', "", added) == ""


def test_ten_keys_of_others_were_among_them() -> None:
    """So that the test before is as hard as it is meant to be."""
    assert len(json.loads((FILES / "fleet-b.json").read_text()).keys() - OURS.keys()) == 10


@pytest.mark.parametrize("client", WITH_SETTINGS, ids=lambda client: client.name)
def test_neighbours_are_kept(client: Client) -> None:
    found = client.snapshot("/etc/docker")
    assert found["/etc/docker/daemon.json"]["mode"] == oct(0o100640)
    assert content(found["/etc/docker/daemon.json.example"]) == (FILES / "daemon.json.example").read_bytes()
    # Nothing that a write has left. Engine 20.10 keeps a key of its own there.
    others = {path.removeprefix("/etc/docker/") for path in found if "/certs.d" not in path}
    assert others - {"/etc/docker", "key.json"} == {"daemon.json", "daemon.json.example"}


def test_podmans_files_are_kept(clients: dict[str, Client]) -> None:
    found = clients["fleet-c"].snapshot("/etc/containers")
    for path in ("/etc/containers/registries.conf", "/etc/containers/registries.conf.d/50-elsewhere.conf"):
        assert content(found[path]) == (FILES / "registries.conf").read_bytes()


def test_the_engine_believes_it(client: Client) -> None:
    if client.engine == "docker":
        assert client.settings_now() == {
            "mirrors": [*client.mirrors, *OURS["registry-mirrors"]],
            "insecure": sorted([*client.insecure, *OURS["insecure-registries"]]),
        }
        return
    if client.engine == "containerd":
        assert tomllib.loads(client.output("cat /etc/containerd/certs.d/docker.io/hosts.toml")) == {
            "host": {"https://mirror.fleet.test": {"capabilities": ["pull", "resolve"]}}
        }
        assert 'config_path = "/etc/containerd/certs.d"' in client.output("cat /etc/containerd/config.toml")
        return
    said = json.loads(client.output("podman info --format json"))["registries"]
    assert said["plain.fleet.test:5000"]["Insecure"] is True
    assert [mirror["Location"] for mirror in said["docker.io"]["Mirrors"]] == ["mirror.fleet.test"]
    # What others wrote is still read.
    assert said["images.elsewhere.test/old"]["Location"] == "archive.elsewhere.test/images"


def test_engines_of_an_account(runner: Runner, probe: str, ephemeral: pathlib.Path) -> None:
    (ephemeral / "runner").write_text(runner.processes())
    for engine in ("docker", "podman"):
        said = runner.type(f"{engine} pull --quiet {probe} && {engine} rmi {probe}")
        assert probe.rpartition(":")[0] in said or "Untagged" in said, said
    assert "https://mirror.fleet.test" in runner.type("docker info --format '{{.RegistryConfig.Mirrors}}'")


def test_unsigned_images_are_refused(clients: dict[str, Client], probe: str) -> None:
    """Of the scope alone. The rollout has proven it by an image that the registry host pushed for it."""
    host, scope = clients["fleet-c"], f"{HOSTNAME}/signed"
    assert scope in json.loads(host.output("cat /etc/containers/policy.json"))["transports"]["docker"]
    clients["fleet-a"].type(
        f"docker pull --quiet {probe}; docker tag {probe} {scope}/app:1; docker push --quiet {scope}/app:1; "
        f"docker rmi {probe} {scope}/app:1"
    )
    said = host.run(f"podman pull --quiet {scope}/app:1", check=False).stderr
    assert "A signature was required, but no signature exists" in said
    host.run(f"podman pull --quiet {probe}; podman rmi {probe}")


def test_the_ca_is_where_the_engine_looks(client: Client, registry: Registry) -> None:
    assert client.output(f"cat {client.certificates}/{HOSTNAME}/ca.crt") == registry.ca_file.read_text().strip()


def test_root_is_logged_in(client: Client) -> None:
    assert set(client.logged_in().values()) == {"ci" if client.name == "fleet-a" else "runtime"}


def test_the_builders_account_has_a_login_of_its_own(clients: dict[str, Client]) -> None:
    home = clients["fleet-a"].output("echo ~builder")
    found = clients["fleet-a"].snapshot(home)[f"{home}/.docker/config.json"]
    assert found["mode"] == oct(0o100600)
    assert [str(number) for number in found["owner"]] == clients["fleet-a"].output(
        "id -u builder; id -g builder"
    ).split()
    auth = json.loads(content(found))["auths"][HOSTNAME]["auth"]
    assert base64.b64decode(auth).decode().partition(":")[0] == "ci"


def test_the_verification_leaves_nothing(client: Client, registry: Registry) -> None:
    assert "verify" not in client.type(f"{client.cli} images")
    names = registry.request("GET", "/v2/_catalog", "admin").json["repositories"]
    tags = {name: registry.request("GET", f"/v2/{name}/tags/list", "admin").json.get("tags") for name in names}
    assert [name for name, found in tags.items() if found and "verify" in name] == []


def test_builders_push_and_all_pull(client: Client, probe: str) -> None:
    """As root of the host, who gives no name, no password and no CA."""
    client.type(f"{client.cli} pull --quiet {probe}")
    assert client.type(f"{client.cli} image inspect --format '{{{{.Id}}}}' {probe}")
    name = probe
    if client.engine == "containerd":
        # ctr does not write what is there.
        name = f"{probe}-again"
        client.type(f"ctr images tag {probe} {name}")
    said = client.type(f"{client.cli} push {name}", check=False)
    for one in {name, probe}:
        client.type(f"{client.cli} image rm {one}")
    assert ("denied" in said) == (client.name != "fleet-a"), said
