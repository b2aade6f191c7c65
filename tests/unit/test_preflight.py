"""Wrong input stops in the first play, with one sentence that names what to change, and touches nothing."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for registry.example.com, its key, and a key that is not its own."""
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry.example.com")])
    now = dt.datetime.now(dt.UTC)

    def write(file, end):
        (directory / file).write_bytes(
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=20))
            .not_valid_after(now + end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("registry.example.com")]), critical=False)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    write("server.crt", dt.timedelta(days=20))
    write("expired.crt", dt.timedelta(days=-1))
    for file, private in (("server.key", key), ("other.key", ec.generate_private_key(ec.SECP256R1()))):
        (directory / file).write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return directory


@pytest.fixture
def preflight(root, tmp_path):
    """Runs the preflight play as far as it goes; with `variables` it must fail, and the message is returned."""

    def run(variables, *, host="localhost"):
        good = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
            "registry_hostname": "registry.example.com",
            "registry_port": free_port(),
            "reverse_proxy_users": [{"name": "ci", "password": "geheim", "access": "push"}],
        }
        inventory = tmp_path / "hosts.json"
        group = {"hosts": {host: None}}
        inventory.write_text(
            json.dumps({"registry": group, "builders": group, "all": {"vars": good | variables}}), encoding="utf-8"
        )
        inventory = inventory.rename(tmp_path / "hosts.yml")
        result = subprocess.run(
            [PLAYBOOK, "-i", inventory, root / "tests" / "unit" / "preflight.yml"],
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
                # Facts that a test replaced are not gathered again.
                "ANSIBLE_GATHERING": "smart",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = result.stdout + result.stderr
        assert "geheim" not in output
        assert "changed=0" in output, output
        # Before ansible-core 2.19 a message may stand in quotes, and its own ones are doubled.
        return result.returncode, " ".join(output.split()).replace("''", "'")

    return run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_good_input_passes(preflight):
    logins = [{"username": "ci", "password": "geheim"}, {"user": "daemon", "credential_helper": "ecr-login"}]
    status, output = preflight({"client_logins": logins})
    assert status == 0, output


# Two hosts with the same mistake each, and what is said of it.
MISTAKES = [
    (
        {"client_logins": [{"username": "runtime"}]},
        "Login 1 of client_logins, for the account root, must give username",
    ),
    ({"client_logins": [{}]}, "or neither and a credential_helper"),
    ({"client_logins": [{"username": "runtime", "passwd": "x"}]}, "client_logins.passwd. Supported parameters include"),
    (
        {"client_logins": [{"username": "ci", "password": "geheim"}]},
        "no user who may only pull, but ci (push): log in a user",
    ),
    ({"client_logins": "runtime"}, "client_logins"),
    (
        {"client_logins": [{"username": "a", "password": "{{ vault_missing }}"}]},
        "client_logins can't be read: 'vault_missing'",
    ),
    ({"client_registries": []}, "client_registries is empty"),
    ({"client_registries": [{"ca": "x"}]}, "missing required arguments: host found in client_registries"),
    (
        {"client_registries": [{"host": "r.example.com/team"}]},
        'client_registries names "r.example.com/team": give host',
    ),
    ({"client_registries": [{"host": "r.example.com", "ca": "/ca.crt"}]}, "is no PEM text: give what is in the file"),
    ({"client_registries": [{"host": "r.example.com", "client_key": "PRIVATE KEY"}]}, "give both, or none"),
    ({"registry_hostname": ""}, "registry_hostname is not set"),
    (
        {"registry_hostname": "h3-docker"},
        "send the password to Docker Hub. Use a name with a dot, or set registry_port to another port than 443.",
    ),
    ({"registry_hostname": "h3_docker.example.com"}, "a host name with an underscore, which engines refuse"),
    ({"registry_hostname": "registry.example.com", "registry_port": 0}, 'registry_port is "0"'),
    (
        {"client_registries": [{"host": "h3-docker"}]},
        "a registry of client_registries is 'h3-docker', which engines do not take for a host",
    ),
    ({"client_registries": [{"host": "registry-.example.com:5000"}]}, "begins or ends with a hyphen"),
    (
        {"client_logins": [{"username": "ci", "password": "geheim", "registry": "hub"}]},
        "a registry of client_logins is 'hub', which engines do not take for a host",
    ),
    (
        {"client_logins": [{"username": "runtime", "password": "geheim\n"}]},
        "Login 1 of client_logins, for the account root: password ends with a line feed, which no client sends.",
    ),
    ({"client_logins": [{"username": "a:b", "password": "geheim"}]}, "account root: username is 'a:b'"),
    ({"registry_hostname": "{{ nowhere_said }}"}, "registry_hostname can't be read: 'nowhere_said'"),
    ({"client_mirrors": ["mirror.example.com"]}, 'client_mirrors has "mirror.example.com": give http:// or https://'),
    ({"client_mirrors": ["https://mirror.example.com/hub"]}, "and no path"),
    ({"client_apply": "kill"}, "value of client_apply must be one of: never, reload, restart, got: kill"),
    (
        {"client_engines": ["lxc"]},
        "value of client_engines must be one or more of: docker, podman. Got no match for: lxc",
    ),
    ({"client_access": "write"}, "value of client_access must be one of"),
    ({"rollout_batches": ["some"]}, 'rollout_batches has "some"'),
    ({"rollout_batches": [0]}, 'rollout_batches has "0"'),
    ({"rollout_batches": []}, "rollout_batches is empty"),
    ({"rollout_max_fail_percentage": 101}, "rollout_max_fail_percentage must be from 0 to 100"),
]
CI, RUNTIME = ({"username": name, "password": "geheim"} for name in ("ci", "runtime"))
RIGHT = {
    "builders": {"b1": {"client_logins": [CI]}, "b2": {}},
    "runtimes": {
        "r1": {"client_logins": [RUNTIME], "client_mirrors": ["https://mirror.example.com:5000/"]},
        "r2": {"client_logins": [CI], "client_access": "push", "rollout_batches": [1, "10%", "100%"]},
        "r3": {"client_logins": [{"user": "app", "credential_helper": "ecr-login"}]},
        "r4": {"client_registries": [{"host": "[2001:db8::1]:5000", "ca": "-----BEGIN CERTIFICATE-----"}]},
    },
    # One that is in no group is no client, whatever it says.
    "ungrouped": {"other": {"client_logins": "none"}},
}
WRONG = {"builders": {"w1": {"client_logins": [RUNTIME]}}}
LOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ cases | map('wharf.registry._validate_clients', hostvars) | to_json }}"
        dest: "{{ out }}"
        mode: "0600"
"""


@pytest.fixture(scope="session")
def problems(root, tmp_path_factory):
    """What the filter says of the fleets above, in one run, which asks no host anything."""
    folder = tmp_path_factory.mktemp("fleets")
    fleets = [RIGHT, WRONG]
    for number, (variables, _says) in enumerate(MISTAKES):
        fleets.append(
            {"runtimes": {f"m{number}-{letter}": good for letter, good in (("a", variables), ("b", variables))}}
        )
    groups = {name: {"hosts": {}} for name in ("registry", "builders", "runtimes", "ungrouped")}
    groups["registry"]["hosts"]["hub"] = {}
    for fleet in fleets:
        for group, hosts in fleet.items():
            groups[group]["hosts"].update(hosts)
    users = [{"name": name, "password": "geheim", "access": may} for name, may in (("ci", "push"), ("runtime", "pull"))]
    shared = {"registry_hostname": "registry.example.com", "reverse_proxy_users": users}
    (folder / "hosts.yml").write_text(json.dumps({**groups, "all": {"vars": shared}}), encoding="utf-8")
    (folder / "look.yml").write_text(LOOK, encoding="utf-8")
    cases = [["hub", *(host for hosts in fleet.values() for host in hosts)] for fleet in fleets]
    said = json.dumps({"cases": cases, "out": str(folder / "out.json")})
    result = subprocess.run(
        [PLAYBOOK, "-i", folder / "hosts.yml", folder / "look.yml", "-e", said],
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = (folder / "out.json").read_text(encoding="utf-8")
    assert "geheim" not in result.stdout + result.stderr + found
    return json.loads(found)


def test_a_fleet_that_is_right(problems):
    assert problems[0] == []


def test_who_may_only_pull_builds_nothing(problems):
    (found,) = problems[1]
    assert found == (
        "w1: client_logins has no user who may push, but runtime (pull): log in a user of reverse_proxy_users with "
        "access push, or set client_access to what this host is meant to do."
    )


@pytest.mark.parametrize(("number", "says"), list(enumerate(says for _variables, says in MISTAKES)))
def test_a_fleet_that_is_wrong(problems, number, says):
    """What several hosts have in common is said once, with the name of the first."""
    found = problems[2 + number]
    assert len(found) == 1, found
    assert found[0].startswith(f"m{number}-a and 1 more: ")
    assert says in found[0]


def user(**changes):
    return {"reverse_proxy_users": [{"name": "ci", "password": "geheim", "access": "push"} | changes]}


def login(**changes):
    good = {"username": "ci", "password": "geheim"}
    return {"client_logins": [good, good | changes]}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {"registry_image_source": "dockerhub"},
            "value of registry_image_source must be one of: pull, archive, packages, auto",
        ),
        ({"reverse_proxy_image_source": "x"}, "value of reverse_proxy_image_source must be one of"),
        (
            {"registry_image_source": "archive", "registry_image_archive": "/nowhere/registry.tar"},
            'registry_image_archive is "/nowhere/registry.tar", but there is no such file on the control node',
        ),
        ({"registry_image": "registry:latest"}, 'registry_image is "registry:latest", which names no version'),
        ({"reverse_proxy_image": "localhost:5000/nginx"}, "which names no version"),
        ({"registry_replicas": 0}, "registry_replicas is 0"),
        ({"registry_manifest_urls_allow": ["^(?!https://evil/)"]}, "which the regular expressions of Go do not have"),
        ({"registry_manifest_urls_deny": ["a("]}, "registry_manifest_urls_deny has 'a(': it is no regular expression"),
        ({"registry_manifest_urls_allow": "^https://a/"}, "registry_manifest_urls_allow is no list"),
        ({"registry_hostname": "https://registry.example.com/"}, "Give a bare name or address"),
        ({"registry_hostname": "h3-docker", "registry_port": 443}, "send the password to Docker Hub. Use a name with"),
        ({"registry_hostname": "2001:db8::1"}, "registry_hostname is the IPv6 address"),
        ({"certificate_names": ["*.example.com", "a b"]}, "certificate_names has 'a b', which is no host name"),
        ({"certificate_addresses": ["192.0.2.1;"]}, 'certificate_addresses has "192.0.2.1;", which is no address'),
        ({"reverse_proxy_allowed_networks": ["192.0.2.1/24"]}, "which nginx takes for all of 192.0.2.0/24"),
        (user(allowed_networks=["192.0.2.0/24;"]), 'allowed_networks of reverse_proxy_users has "192.0.2.0/24;"'),
        (
            {"reverse_proxy_trusted_proxies": ["unix:"]},
            'reverse_proxy_trusted_proxies has "unix:", which is no network',
        ),
        ({"reverse_proxy_resolvers": ["192.0.2.1 valid=1s"]}, "reverse_proxy_resolvers has"),
        ({"reverse_proxy_max_upload_size": "20GB"}, 'reverse_proxy_max_upload_size is "20GB", which is no size'),
        ({"reverse_proxy_hostname": "$host"}, "reverse_proxy_hostname is '$host', which is no host name"),
        ({"registry_data_directory": "/srv/the registry"}, 'registry_data_directory is "/srv/the registry"'),
        ({"maintenance_schedule": "daily\nPersistent=true"}, "maintenance_schedule is"),
        ({"certificate_days": 20}, "certificate_days must be more than certificate_renew_days"),
        ({"certificate_days": 397}, "certificate_days is 397, and a server's certificate may live for 366 days"),
        ({"registry_instance": "Staging_2"}, 'registry_instance is "Staging_2". Give a name of at most 16 lower-case'),
        (user(password="x" * 73), "the password of user 'ci' is longer than the 72 bytes"),
        (user(password="geheim\n"), "the password of user 'ci' ends with a line feed, which no client sends"),
        (user(password=""), "reverse_proxy_users gives no password for ci"),
        (user(password=None), "reverse_proxy_users gives no password for ci"),
        (user(name="a:b"), 'reverse_proxy_users has the name "a:b"'),
        (user(access="write"), "value of access must be one of: pull, push, admin"),
        ({"reverse_proxy_users": []}, "reverse_proxy_users is empty"),
        ({"client_registries": [{"host": "https://registry.example.com"}]}, "without scheme or path"),
        (
            login(password=""),
            "localhost: Login 2 of client_logins, for the account root, must give username and password",
        ),
    ],
)
def test_wrong_input_is_named(preflight, variables, says):
    status, output = preflight(variables)
    assert status != 0
    assert says in output


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"backup_repository": ""}, 'backup_repository is "". Give a directory such as'),
        ({"backup_repository": "srv/backup"}, 'backup_repository is "srv/backup"'),
        ({"backup_repository": "ftp:host:/x"}, 'backup_repository is "ftp:host:/x"'),
        ({"backup_repository": "/srv/backup", "backup_password": ""}, "backup_password is empty"),
        ({"backup_repository": "/var/lib/wharf-registry/data/backup"}, "lies in /var/lib/wharf-registry/data"),
        ({"backup_repository": "/etc/wharf-registry"}, "lies in /etc/wharf-registry"),
        ({"backup_repository": "sftp:u@host:/x"}, "needs backup_sftp_key"),
        ({"backup_repository": "s3:https://host/x"}, "needs backup_s3_access_key_id"),
        (
            {
                "backup_repository": "s3:https://host/x",
                "backup_s3_access_key_id": "a",
                "backup_s3_secret_access_key": "b`c",
            },
            "has a backtick or a control character",
        ),
        (
            {
                "backup_repository": "s3:https://host/x",
                "backup_s3_access_key_id": "a\n",
                "backup_s3_secret_access_key": "b",
            },
            "has a backtick or a control character",
        ),
        ({"backup_config_directory": "/etc/the backup"}, 'backup_config_directory is "/etc/the backup"'),
        ({"backup_on_failure": "tell-admins"}, 'backup_on_failure is "tell-admins". Give the name of a unit'),
        ({"backup_compression": "best"}, "value of backup_compression must be one of"),
    ],
)
def test_wrong_input_of_backups_is_named(preflight, variables, says):
    status, output = preflight({"backup_repository": "/srv/backup", "backup_password": "geheim"} | variables)
    assert status != 0
    assert says in output


@pytest.mark.parametrize(
    "variables",
    [
        {"backup_repository": "/srv/backup", "backup_on_failure": "tell-admins@%n.service"},
        {
            "backup_repository": "s3:https://host/x",
            "backup_s3_access_key_id": "a",
            "backup_s3_secret_access_key": "b#c;d\"'e\\",
        },
    ],
)
def test_good_input_of_backups_passes(preflight, variables):
    status, output = preflight({"backup_password": "geheim"} | variables)
    assert status == 0, output


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"maintenance_grace_seconds": -1}, "maintenance_grace_seconds is -1; give 0 to 86400."),
        (
            {"maintenance_patience_seconds": 99, "maintenance_disk_warn_percent": 0},
            "maintenance_patience_seconds is 99; give 1 to 55. maintenance_disk_warn_percent is 0; give 1 to 100.",
        ),
        ({"maintenance_keep_digests": ["sha256:abc"]}, 'maintenance_keep_digests has "sha256:abc", which is no digest'),
        (
            {"maintenance_retention": [{"keep_newest": 1}], "maintenance_retention_user": "nobody"},
            "reverse_proxy_users has no user nobody",
        ),
    ],
)
def test_wrong_input_of_the_maintenance_is_named(preflight, variables, says):
    status, output = preflight(variables)
    assert status != 0
    assert says in " ".join(output.split())


def test_a_port_in_use(preflight):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, output = preflight({"registry_port": port})
    assert status != 0
    assert f"Port {port} of localhost is in use" in output
    assert "registry_port" in output


def test_a_distribution_that_is_not_supported(preflight):
    status, output = preflight(
        {"pretend": {"distribution": "CentOS", "distribution_version": "7.9", "distribution_major_version": "7"}}
    )
    assert status != 0
    assert "localhost runs CentOS 7.9; supported are Debian 12 and Ubuntu 22 or later." in output


def files(directory, certificate="server.crt", key="server.key"):
    return {
        "certificate_source": "files",
        "certificate_files": {"certificate": str(directory / certificate), "key": str(directory / key)},
    }


def test_a_certificate_that_fits_passes(preflight, certificate):
    status, output = preflight(files(certificate))
    assert status == 0, output


@pytest.mark.parametrize(
    ("changes", "more", "says"),
    [
        (
            {},
            {"registry_hostname": "hub.example.com"},
            "does not cover hub.example.com; it is for DNS:registry.example.com",
        ),
        ({"certificate": "expired.crt"}, {}, "is not valid now"),
        ({"key": "other.key"}, {}, "does not belong to the key"),
        ({"certificate": "none.crt"}, {}, 'none.crt", but there is no such file'),
    ],
)
def test_a_certificate_that_does_not_fit(preflight, certificate, changes, more, says):
    status, output = preflight(files(certificate, **changes) | more)
    assert status != 0
    assert says in output
