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
        return result.returncode, " ".join(output.split())

    return run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_good_input_passes(preflight):
    logins = [{"username": "ci", "password": "geheim"}, {"user": "daemon", "credential_helper": "ecr-login"}]
    status, output = preflight({"client_logins": logins})
    assert status == 0, output


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
        ({"registry_hostname": "https://registry.example.com/"}, "give a bare name or address"),
        ({"registry_hostname": "registry.example.com:5000"}, 'has "registry.example.com:5000"'),
        ({"registry_hostname": "2001:db8::1"}, "registry_hostname is the IPv6 address"),
        ({"certificate_names": ["*.example.com", "a b"]}, 'certificate_names or certificate_addresses has "a b"'),
        ({"certificate_days": 20}, "certificate_days must be more than certificate_renew_days"),
        (user(password="x" * 73), "the password of user 'ci' is longer than the 72 bytes"),
        (user(password=""), "reverse_proxy_users gives no password for ci"),
        (user(password=None), "reverse_proxy_users gives no password for ci"),
        (user(name="a:b"), 'reverse_proxy_users has the name "a:b"'),
        (user(access="write"), "value of access must be one of: pull, push, admin"),
        ({"reverse_proxy_users": []}, "reverse_proxy_users is empty"),
        ({"client_registries": [{"host": "https://registry.example.com"}]}, "without scheme or path"),
        (login(password=""), "Login 2 of client_logins, for the account root, must give username and password"),
        (login(username=None, password=None, credential_helper=""), "or neither and a credential_helper"),
        (login(user="no-such-account"), "client_logins names accounts that localhost does not have: no-such-account."),
    ],
)
def test_wrong_input_is_named(preflight, variables, says):
    status, output = preflight(variables)
    assert status != 0
    assert says in output


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
