"""No secret lies where others can look."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labtest import LabHost, Registry

# Runs on the host. The secrets come in on standard input, so that looking for them does not spread them.
SEARCH = r"""
import json, os, sys
secrets = {name: value.encode() for name, value in json.load(sys.stdin).items()}
skip = {"/proc", "/sys", "/dev"}
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in skip]
    for name in files:
        path = os.path.join(folder, name)
        try:
            if not os.path.isfile(path) or os.path.islink(path) or os.path.getsize(path) > 64 << 20:
                continue
            with open(path, "rb") as file:
                content = file.read()
        except PermissionError:
            continue
        for secret, value in secrets.items():
            if value in content:
                print(path, secret)
"""

PROCESSES = r"""
import glob, json, sys
secrets = {name: value.encode() for name, value in json.load(sys.stdin).items()}
for kind in ("cmdline", "environ"):
    for path in glob.glob("/proc/[0-9]*/" + kind):
        try:
            with open(path, "rb") as file:
                content = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for secret, value in secrets.items():
            if value in content:
                print(path, secret, content[:60])
"""


@pytest.fixture(scope="module")
def secrets(registry: Registry, lab: LabHost, guest: dict[str, str]) -> dict[str, str]:
    """Everything that is to stay secret, in each form that it is likely to lie about in."""
    found = {"http.secret": lab.output("cat /etc/wharf-registry/http.secret"), "guest's password": guest["password"]}
    for name, user in registry.users.items():
        found[f"{name}'s password"] = user["password"]
        found[f"{name}'s password, encoded"] = base64.b64encode(f"{name}:{user['password']}".encode()).decode()
    for key in ("ca.key", "server.key"):
        found[key] = lab.output(f"sed -n 2p /etc/wharf-registry/certificate/{key}")
    for line in lab.output("cat /etc/wharf-registry/proxy/auth/htpasswd").splitlines():
        name, _separator, hashed = line.partition(":")
        found[f"{name}'s hash"] = hashed
    assert all(len(value) >= 16 for value in found.values())
    return found


def look(lab: LabHost, program: str, secrets: dict[str, str], user: str = "root") -> str:
    lab.run("cat > /run/wharf-lab-look.py; chmod 0644 /run/wharf-lab-look.py", stdin=program)
    return lab.output("exec python3 /run/wharf-lab-look.py", stdin=json.dumps(secrets), user=user)


def test_files_that_anyone_can_read(lab: LabHost, secrets: dict[str, str]) -> None:
    """Read as an account without rights; a planted one is found, so the search does search."""
    planted = "/var/tmp/wharf-lab-planted"  # noqa: S108 - a name that only this test uses, on its own host
    lab.run(f"cat > {planted}; chmod 0644 {planted}", stdin="...planted-0123456789...")
    try:
        found = look(lab, SEARCH, {**secrets, "planted": "planted-0123456789"}, user="nobody")
    finally:
        lab.run(f"rm {planted}")
    assert found.splitlines() == [f"{planted} planted"]


def test_process_list(lab: LabHost, secrets: dict[str, str]) -> None:
    assert look(lab, PROCESSES, secrets) == ""


def test_containers_as_the_engine_tells_them(lab: LabHost, secrets: dict[str, str]) -> None:
    told = lab.output("docker inspect $(docker ps --all --quiet); docker image inspect $(docker images --quiet)")
    assert "wharf-proxy" in told
    assert [name for name, value in secrets.items() if value in told] == []


def test_logs(lab: LabHost, secrets: dict[str, str]) -> None:
    """The journal has each module call of Ansible, and the containers log each request."""
    journal = lab.output("journalctl --no-pager --output=cat")
    assert "ansible" in journal
    logs = lab.output("for c in $(docker ps --all --quiet); do docker logs $c 2>&1; done")
    assert "/v2/" in logs
    assert [name for name, value in secrets.items() if value in journal + logs] == []


def test_nothing_of_ansible_is_left(lab: LabHost) -> None:
    places = "/root/.ansible /tmp /var/tmp"
    assert lab.output(f"find {places} -path '*ansible*' -type f 2> /dev/null || true") == ""
