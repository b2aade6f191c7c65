"""Wrong input stops before anything is touched, with one sentence that names what to change.

The cases are hosts of one play, since a play for each would take most of the time of all unit tests. There, a case is
checked by the preflights of the roles that it is about. That `playbooks/preflight.yml` stops at them is tested apart.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


@pytest.fixture(scope="module")
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


def user(**changes):
    return {"reverse_proxy_users": [{"name": "ci", "password": "geheim", "access": "push"} | changes]}


def login(**changes):
    good = {"username": "ci", "password": "geheim"}
    return {"client_logins": [good, good | changes]}


BACKUP = {"backup_repository": "/srv/backup", "backup_password": "geheim"}
S3 = {"backup_repository": "s3:https://host/x", "backup_s3_access_key_id": "a", "backup_s3_secret_access_key": "b"}
BUCKET = {
    "registry_storage": "s3",
    "registry_s3": {"endpoint": "https://s3.test", "bucket": "images", "access_key": "a", "secret_key": "geheim"},
    "backup_bucket": {"endpoint": "https://s3.test", "bucket": "copies", "access_key": "a", "secret_key": "geheim"},
}
ROCKY = {
    "distribution": "Rocky",
    "distribution_version": "9.4",
    "distribution_major_version": "9",
    "os_family": "RedHat",
}
# A Python that has no more than its standard library.
BARE_PYTHON = {"ansible_python_interpreter": str(Path(__file__).with_name("bare-python"))}

MIRROR = {"name": "hub", "source": {"registry": "docker.io"}, "images": [{"repository": "nginx"}]}

SYSTEMD = {"pretend": {"service_mgr": "systemd"}}
CACHE = {"upstream": "docker.io", "username": "ci", "password": "geheim", "min_remaining": 20}

# By the role that says it: wrong variables, and what is said of them.
WRONG = {
    # No role: the check of all hosts at once, which `test_client_problems.py` is about.
    None: [
        ({"registry_hostname": "h3-docker", "registry_port": 443}, "send the password to Docker Hub. Use a name with"),
        ({"client_registries": [{"host": "https://registry.example.com"}]}, "without scheme or path"),
        (login(password=""), "Login 2 of client_logins, for the account root, must give username and password"),
    ],
    "engine": [
        (
            {"pretend": ROCKY, **BARE_PYTHON},
            "the Python module requests (package python3-requests). It runs Rocky 9.4, and packages are installed on",
        ),
    ],
    "certificate": [
        ({"certificate_names": ["*.example.com", "a b"]}, "certificate_names has 'a b', which is no host name"),
        ({"certificate_addresses": ["192.0.2.1;"]}, 'certificate_addresses has "192.0.2.1;", which is no address'),
        ({"certificate_days": 20}, "certificate_days must be more than certificate_renew_days"),
        ({"certificate_days": 397}, "certificate_days is 397, and a server's certificate may live for 366 days"),
        ({"registry_hostname": "https://registry.example.com/"}, "Give a bare name or address"),
        ({"registry_hostname": "2001:db8::1"}, "registry_hostname is the IPv6 address"),
    ],
    "registry": [
        (
            {"registry_image_source": "dockerhub"},
            "value of registry_image_source must be one of: pull, archive, packages, auto",
        ),
        (
            {"registry_image_source": "packages", "pretend": ROCKY},
            "which runs Rocky: images are built from the packages of Debian and Ubuntu only. Set registry_image to",
        ),
        (
            {"registry_image_source": "archive", "registry_image_archive": "/nowhere/registry.tar"},
            'registry_image_archive is "/nowhere/registry.tar", but there is no such file on the control node',
        ),
        ({"registry_image": "registry:latest"}, 'registry_image is "registry:latest", which names no version'),
        ({"registry_replicas": 0}, "registry_replicas is 0"),
        ({"registry_manifest_urls_allow": ["^(?!https://evil/)"]}, "which the regular expressions of Go do not have"),
        ({"registry_manifest_urls_deny": ["a("]}, "registry_manifest_urls_deny has 'a(': it is no regular expression"),
        ({"registry_manifest_urls_allow": "^https://a/"}, "registry_manifest_urls_allow is no list"),
        ({"registry_data_directory": "/srv/the registry"}, 'registry_data_directory is "/srv/the registry"'),
        ({"registry_instance": "Staging_2"}, 'registry_instance is "Staging_2". Give a name of at most 16 lower-case'),
    ],
    "reverse_proxy": [
        ({"reverse_proxy_image_source": "x"}, "value of reverse_proxy_image_source must be one of"),
        ({"reverse_proxy_image": "localhost:5000/nginx"}, "which names no version"),
        (
            {"reverse_proxy_page": True, "reverse_proxy_storage_directory": ""},
            "unset reverse_proxy_page, or set access_key and secret_key in registry_s3",
        ),
        (
            {
                "reverse_proxy_page": True,
                "reverse_proxy_storage_directory": "",
                "registry_storage": "s3",
                "registry_s3": {},
            },
            "(registry_storage s3): unset reverse_proxy_page",
        ),
        ({"reverse_proxy_allowed_networks": ["192.0.2.1/24"]}, "which nginx takes for all of 192.0.2.0/24"),
        (user(allowed_networks=["192.0.2.0/24;"]), 'allowed_networks of reverse_proxy_users has "192.0.2.0/24;"'),
        (
            {"reverse_proxy_trusted_proxies": ["unix:"]},
            'reverse_proxy_trusted_proxies has "unix:", which is no network',
        ),
        ({"reverse_proxy_resolvers": ["192.0.2.1 valid=1s"]}, "reverse_proxy_resolvers has"),
        ({"reverse_proxy_max_upload_size": "20GB"}, 'reverse_proxy_max_upload_size is "20GB", which is no size'),
        ({"reverse_proxy_hostname": "$host"}, "reverse_proxy_hostname is '$host', which is no host name"),
        (user(password="x" * 73), "the password of user 'ci' is longer than the 72 bytes"),
        (user(password="geheim\n"), "the password of user 'ci' ends with a line feed, which no client sends"),
        (user(password=""), "reverse_proxy_users gives no password for ci"),
        (user(password=None), "reverse_proxy_users gives no password for ci"),
        (user(name="a:b"), 'reverse_proxy_users has the name "a:b"'),
        (user(access="write"), "value of access must be one of: pull, push, admin"),
        ({"reverse_proxy_users": []}, "reverse_proxy_users is empty"),
    ],
    "maintenance": [
        ({"maintenance_schedule": "daily\nPersistent=true"}, "maintenance_schedule is"),
        ({"maintenance_grace_seconds": -1}, 'maintenance_grace_seconds is "-1". Give a whole number from 0 to 86400.'),
        (
            {"maintenance_patience_seconds": 99, "maintenance_disk_warn_percent": 0},
            (
                'maintenance_patience_seconds is "99". Give a whole number from 1 to 55. '
                'maintenance_disk_warn_percent is "0". Give a whole number from 1 to 100.'
            ),
        ),
        ({"maintenance_keep_digests": ["sha256:abc"]}, 'maintenance_keep_digests has "sha256:abc", which is no digest'),
        (
            {"maintenance_retention": [{"keep_newest": 1}], "maintenance_retention_user": "nobody"},
            "reverse_proxy_users has no user nobody",
        ),
    ],
    "backup": [
        ({"backup_repository": ""}, 'backup_repository is "". Give a directory such as'),
        ({"backup_repository": "srv/backup"}, 'backup_repository is "srv/backup"'),
        ({"backup_repository": "ftp:host:/x"}, 'backup_repository is "ftp:host:/x"'),
        ({"backup_repository": "/srv/backup", "backup_password": ""}, "backup_password is empty"),
        ({"backup_repository": "/var/lib/wharf-registry/data/backup"}, "lies in /var/lib/wharf-registry/data"),
        ({"backup_repository": "/etc/wharf-registry"}, "lies in /etc/wharf-registry"),
        ({"backup_repository": "sftp:u@host:/x"}, "needs backup_sftp_key"),
        ({"backup_repository": "s3:https://host/x"}, "needs backup_s3_access_key_id"),
        (S3 | {"backup_s3_secret_access_key": "b`c"}, "has a backtick or a control character"),
        (S3 | {"backup_s3_access_key_id": "a\n"}, "has a backtick or a control character"),
        ({"backup_config_directory": "/etc/the backup"}, 'backup_config_directory is "/etc/the backup"'),
        ({"backup_on_failure": "tell-admins"}, 'backup_on_failure is "tell-admins". Give the name of a unit'),
        ({"backup_compression": "best"}, "value of backup_compression must be one of"),
        (BUCKET | {"backup_bucket": {}}, "backup_bucket is not set, and the images are in a bucket"),
        (BUCKET | {"backup_bucket": BUCKET["registry_s3"]}, "backup_bucket is the bucket of registry_s3"),
        ({"registry_storage": "other"}, "backup.yml works on images that are files of the registry host"),
        ({"restore_images": False}, "restore_images is false, and the images are files"),
    ],
    "mirror": [
        (
            {"mirror_sync": [{"name": "hub", "source": {"registry": "docker.io"}}]},
            "mirror_sync, hub: images is missing",
        ),
        ({"mirror_sync": [MIRROR | {"source": {"registry": "a.test", "username": "ci"}}]}, "only one of username and"),
        ({"mirror_sync": [MIRROR], "mirror_user": "nobody"}, "reverse_proxy_users has no user nobody with a password"),
        ({"mirror_schedule": "daily\nPersistent=true"}, "mirror_schedule is"),
    ],
    "mirror_cache": [
        ({"mirror_caches": {"upstream": "docker.io"}}, "mirror_caches is not a list: give a list"),
        (
            {"mirror_caches": [CACHE], "pretend": {"service_mgr": "sysvinit"}},
            "mirror_caches needs a host that systemd runs",
        ),
        ({"mirror_caches": [{}]}, "Entry 1 of mirror_caches has no upstream that can be the first part"),
        *(
            ({"mirror_caches": [{"upstream": name}]}, "Entry 1 of mirror_caches has no upstream")
            for name in ("apps", "Docker.io", "https://docker.io", "a.test:5000", "docker.io/library", "a..b", "")
        ),
        ({"mirror_caches": [{"upstream": "a.b"}, {"upstream": "a.b"}]}, "mirror_caches names a.b twice"),
        ({"mirror_caches": [{"upstream": "a.b", "username": "ci"}]}, "a.b has only one of username and password"),
        ({"mirror_caches": [{"upstream": "a.b", "usernam": "ci"}]}, "mirror_caches, a.b: there is no option usernam"),
        ({"mirror_caches": [{"upstream": "a.b", "min_remaining": "many"}]}, "a.b: min_remaining is 'many'"),
        ({"mirror_caches": [{"upstream": "a.b", "registry": "a b"}]}, "mirror_caches, a.b: "),
        ({"mirror_cache_size": "1m"}, "mirror_cache_size is '1m', which is no size of 100 MiB or more"),
        ({"mirror_cache_size": "much"}, "mirror_cache_size is 'much'"),
        ({"mirror_cache_seconds": -1}, "mirror_cache_seconds is"),
        (
            {"mirror_caches": [{"upstream": "quay.io"}], "mirror_cache_docker_port": 5443},
            "mirror_cache_docker_port is 5443, and mirror_caches does not name docker.io",
        ),
        ({"mirror_cache_docker_port": 70000}, "mirror_cache_docker_port is"),
        ({"mirror_cache_directory": "relative"}, "mirror_cache_directory is"),
    ],
    "monitoring": [
        ({"monitoring_networks": ["192.0.2.1/24"]}, "Write 192.0.2.0/24 for the network"),
        ({"monitoring_networks": ["here"]}, "which is no network"),
        ({"monitoring_users": ["nobody"]}, "monitoring_users names nobody, and reverse_proxy_users has no such user"),
        (
            {"monitoring_networks": ["192.0.2.0/24"], "pretend": {"service_mgr": "sysvinit"}},
            "which runs sysvinit: unset monitoring_networks, monitoring_users",
        ),
        ({"monitoring_repositories": -1}, "monitoring_repositories is"),
        ({"monitoring_textfile_directory": "relative"}, "monitoring_textfile_directory is"),
        ({"monitoring_rules_directory": "/etc/a b"}, "monitoring_rules_directory is"),
        ({"monitoring_server_address": "0.0.0.0/0"}, "monitoring_server_address is"),
        ({"monitoring_server_interval": 1}, "monitoring_server_interval is"),
    ],
    "address": [
        ({"registry_address": "vrrp"}, "value of registry_address must be one of: dns, vip, external"),
        ({"registry_address_vips": ["192.0.2.1/24"]}, "registry_address_vips is set, and registry_address is dns"),
        ({"registry_address_return_seconds": 0}, "registry_address_return_seconds is"),
        ({"registry_peer_address": "node-2"}, "registry_peer_address is"),
        ({"registry_address": "vip", "pretend": {"service_mgr": "sysvinit"}}, "registry_address=vip needs systemd"),
        ({"registry_address": "vip", **SYSTEMD}, "registry_address_vips is empty: list one address for each host"),
    ],
    "bundle": [({}, "bundle_path is missing: give the directory of the bundle")],
}

CASES = [(role, number) for role, cases in WRONG.items() for number in range(len(cases))]
# Variables of backups that are right.
RIGHT = [
    {"backup_on_failure": "tell-admins@%n.service"},
    S3 | {"backup_s3_secret_access_key": "b#c;d\"'e\\"},
    BUCKET,
]


def files(directory, certificate="server.crt", key="server.key"):
    return {
        "certificate_source": "files",
        "certificate_files": {"certificate": str(directory / certificate), "key": str(directory / key)},
    }


# Other files than those that fit, other variables, and what is said of them.
MISFITS = [
    (
        {},
        {"registry_hostname": "hub.example.com"},
        "does not cover hub.example.com; it is for DNS:registry.example.com",
    ),
    ({"certificate": "expired.crt"}, {}, "is not valid now"),
    ({"key": "other.key"}, {}, "does not belong to the key"),
    ({"certificate": "none.crt"}, {}, 'none.crt", but there is no such file'),
]


def hosts(certificate, taken):
    """All cases: the variables of their hosts."""
    found = {
        f"{role}-{number}": {"checked": [role] if role else []} | (BACKUP if role == "backup" else {}) | variables
        for role, number in CASES
        for variables, _says in [WRONG[role][number]]
    }
    for number, variables in enumerate(RIGHT):
        found[f"right-{number}"] = {"checked": ["backup"]} | BACKUP | variables
    for number, (changes, more, _says) in enumerate(MISFITS):
        found[f"misfit-{number}"] = {"checked": ["certificate"]} | files(certificate, **changes) | more
    found["caches"] = {"checked": ["mirror_cache"], "mirror_caches": [CACHE, {"upstream": "quay.io"}], **SYSTEMD}
    found["metrics"] = {"checked": ["monitoring"], "monitoring_networks": ["192.0.2.0/24", "2001:db8::/32"], **SYSTEMD}
    found["mirrors"] = {"checked": ["mirror"], "mirror_sync": [MIRROR]}
    found["fits"] = {"checked": ["certificate"]} | files(certificate)
    found["taken"] = {"checked": ["reverse_proxy"], "registry_port": taken}
    return found


def play(root, inventory, playbook, **environment):
    """The exit status and what Ansible says. Nothing is changed, and no password is said."""
    result = subprocess.run(
        [PLAYBOOK, "-i", inventory, playbook],
        # Facts that a test replaced are not gathered again.
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_GATHERING": "smart"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "geheim" not in result.stdout + result.stderr
    return result


def good():
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "registry_hostname": "registry.example.com",
        "registry_port": free_port(),
        "reverse_proxy_users": [{"name": "ci", "password": "geheim", "access": "push"}],
    }


def messages(result):
    """What a task of a host failed with, and each of its loop."""
    yield str(result.get("msg", ""))
    for item in result.get("results", []):
        # ansible-core 2.21 gives callbacks the items of a loop without "failed".
        if item.get("failed") or "exception" in item:
            yield from messages(item)


@pytest.fixture(scope="module")
def said(root, tmp_path_factory, certificate, once):
    """What is said of each case; nothing of one that is right."""

    def run():
        folder = tmp_path_factory.mktemp("cases")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            groups = {"builders": {"hosts": hosts(certificate, port)}, "all": {"vars": good()}}
            (folder / "hosts.yml").write_text(json.dumps(groups), encoding="utf-8")
            playbook = root / "tests" / "unit" / "preflight.yml"
            result = play(root, folder / "hosts.yml", playbook, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
        told = json.loads(result.stdout)
        assert not any(stats["changed"] or stats["unreachable"] for stats in told["stats"].values())
        found = dict.fromkeys(told["stats"], "")
        for of_play in told["plays"]:
            for task in of_play["tasks"]:
                for host, of_host in task["hosts"].items():
                    if of_host.get("failed"):
                        found[host] = " ".join(" ".join(messages(of_host)).split())
        return {"port": port, **found}

    return once("preflight", run)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(("role", "number"), CASES)
def test_wrong_input_is_named(said, role, number):
    assert WRONG[role][number][1] in said[f"{role}-{number}"]


@pytest.mark.parametrize("number", range(len(RIGHT)))
def test_good_input_of_backups_passes(said, number):
    assert said[f"right-{number}"] == ""


def test_a_port_in_use(said):
    assert f"Port {said['port']} of taken is in use" in said["taken"]
    assert "registry_port" in said["taken"]


def test_a_certificate_that_fits_passes(said):
    assert said["fits"] == ""


def test_rules_of_a_mirror_and_caches_pass(said):
    assert said["mirrors"] == said["caches"] == ""


@pytest.mark.parametrize("number", range(len(MISFITS)))
def test_a_certificate_that_does_not_fit(said, number):
    assert MISFITS[number][2] in said[f"misfit-{number}"]


@pytest.fixture
def preflight(root, tmp_path):
    """Runs `playbooks/preflight.yml` on the registry host; the exit status and what is said."""

    def run(variables):
        group = {"hosts": {"localhost": None}}
        inventory = {"registry": group, "builders": group, "all": {"vars": good() | variables}}
        (tmp_path / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")
        result = play(root, tmp_path / "hosts.yml", root / "playbooks" / "preflight.yml")
        output = result.stdout + result.stderr
        assert "changed=0" in output, output
        return result.returncode, " ".join(output.split())

    return run


def test_the_playbook_passes_what_is_right(preflight):
    logins = [{"username": "ci", "password": "geheim"}, {"user": "daemon", "credential_helper": "ecr-login"}]
    status, output = preflight({"client_logins": logins})
    assert status == 0, output


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (login(password=""), "localhost: Login 2 of client_logins, for the account root, must give username"),
        ({"certificate_days": 20}, "certificate_days must be more than certificate_renew_days"),
    ],
)
def test_the_playbook_stops_at_what_is_wrong(preflight, variables, says):
    status, output = preflight(variables)
    assert status != 0
    assert says in output
    assert "failed=1" in output


def test_the_playbook_checks_by_the_same_roles(root):
    _clients, of_registry = yaml.safe_load((root / "playbooks" / "preflight.yml").read_text(encoding="utf-8"))
    first, others = of_registry["tasks"]
    assert of_registry["any_errors_fatal"]
    assert first["ansible.builtin.include_role"]["name"] == "wharf.registry.engine"
    assert {"engine", *others["loop"], "backup", "bundle", "mirror"} == set(WRONG) - {None}
