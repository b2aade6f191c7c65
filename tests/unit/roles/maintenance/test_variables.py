"""What the role makes of its variables: who collects, what the unit may reach, and where the keys of a bucket are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from paths import ROOT

ROLE = ROOT / "roles" / "maintenance"
SECRET = "geheim-and-secret"
S3 = {
    "endpoint": "https://s3.test",
    "bucket": "images",
    "access_key": "AK",
    "secret_key": SECRET,
    "root_directory": "a",
}
FACTS = {
    "elected": "{{ __maintenance_elected }}",
    "collectable": "{{ __maintenance_collectable }}",
    "scheduled": "{{ __maintenance_scheduled }}",
    "unit": "{{ lookup('ansible.builtin.template', '" + str(ROLE / "templates/service.j2") + "') }}",
    "settings": "{{ __maintenance_settings_file }}",
    "bucket": "{{ __maintenance_bucket_list if registry_s3.access_key is defined else __maintenance_no_bucket_list }}",
}
HOSTS = {
    "disk": {},
    "first": {"registry_storage": "s3", "registry_s3": S3},
    "second": {"registry_storage": "s3", "registry_s3": S3},
    "elsewhere": {"registry_storage": "s3", "registry_s3": {**S3, "bucket": "others", "ca": "-----BEGIN"}},
    "without_keys": {"registry_storage": "s3", "registry_s3": {"bucket": "images", "region": "eu-central-1"}},
    "other": {"registry_storage": "other"},
}


@pytest.fixture(scope="module")
def made(once, tmp_path_factory):
    """{host: {name: value}}."""
    return once("maintenance-variables", lambda: rendered(tmp_path_factory.mktemp("variables")))


def rendered(directory):
    (directory / "hosts.yml").write_text(
        yaml.safe_dump({"registry": {"hosts": HOSTS, "vars": {"registry_hostname": "registry.example.com"}}})
    )
    play = {
        "hosts": "registry",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "ansible_facts": {"service_mgr": "systemd"},
            "ansible_managed": "By the tests.",
        },
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ dict(names | zip(names | map('extract', of))) | to_json }}",
                    "dest": f"{directory}/{{{{ inventory_hostname }}}}.json",
                    "mode": "0600",
                },
                "vars": {"names": list(FACTS), "of": FACTS},
            }
        ],
    }
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [playbook, "--inventory", str(directory / "hosts.yml"), str(directory / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: json.loads((directory / f"{host}.json").read_text()) for host in HOSTS}


def test_the_first_of_those_with_the_same_bucket_collects(made):
    elected = {host: of["elected"] for host, of in made.items()}
    assert elected == {**{host: host for host in HOSTS}, "second": "first"}
    assert [host for host, of in made.items() if not of["scheduled"]] == ["second"]
    assert list(made["first"]["settings"]["json"]["peers"]) == ["second"]
    assert "peers" not in made["elsewhere"]["settings"]["json"]
    assert [host for host, of in made.items() if not of["collectable"]] == ["without_keys", "other"]


def test_only_the_collector_of_a_bucket_has_a_network(made):
    for host, of in made.items():
        in_bucket = HOSTS[host].get("registry_storage") == "s3"
        assert ("PrivateNetwork=true" in of["unit"]) != in_bucket
        assert ("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n" in of["unit"]) == in_bucket
        assert "RestrictAddressFamilies=AF_UNIX" in of["unit"]


def test_keys_are_in_one_file_that_root_alone_can_read(made):
    place = "/etc/wharf-registry/maintenance-s3.json"
    of = made["first"]
    assert SECRET not in json.dumps({**of, "bucket": []})
    assert of["settings"]["json"]["s3"] == place
    keys, ca = of["bucket"]
    assert (keys["path"], keys["mode"]) == (place, "0600")
    assert "content" not in keys and "json" not in keys
    given = json.loads(keys["secret"]) if isinstance(keys["secret"], str) else keys["secret"]
    assert given["secret_key"] == SECRET
    assert given["root_directory"] == "a"
    assert given["ca_path"] is None and ca["state"] == "absent"
    given = made["elsewhere"]["bucket"][0]["secret"]
    given = json.loads(given) if isinstance(given, str) else given
    assert given["ca_path"] == made["elsewhere"]["bucket"][1]["path"]


def test_a_disk_has_none_of_it(made):
    of = made["disk"]
    assert "s3" not in of["settings"]["json"]
    assert of["settings"]["json"]["storage"] == "/var/lib/wharf-registry/data"
    assert [one["state"] for one in of["bucket"]] == ["absent", "absent"]
