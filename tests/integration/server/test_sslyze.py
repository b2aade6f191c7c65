"""Mozilla's intermediate profile, checked by sslyze: the proxy with a certificate of the role `certificate`."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from engine import command
from front import ROLES, Front
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

USERS = [{"name": "ci", "access": "push"}]
# What it says changes with a new version of it alone. The scenario default asks for versions and suites in each run.
pytestmark = pytest.mark.long
SSLYZE = ROOT / ".venv" / "sslyze" / "bin" / "python"
# What the role does once its packages are there.
PLAY = {
    "hosts": "localhost",
    "connection": "local",
    "gather_facts": False,
    "vars_files": [str(ROLES / "certificate" / part / "main.yml") for part in ("defaults", "vars")],
    "tasks": [{"ansible.builtin.include_tasks": str(ROLES / "certificate" / "tasks" / "private_ca.yml")}],
}


def make(directory: Path, **variables: object) -> bytes:
    """Have the role make its certificates, or keep what is there; the certificate of the server."""
    given = {
        "registry_hostname": "localhost",
        "certificate_addresses": ["127.0.0.1"],
        "certificate_directory": str(directory),
        "ansible_python_interpreter": sys.executable,
        **variables,
    }
    directory.mkdir(exist_ok=True)
    (directory / "play.yml").write_text(yaml.safe_dump([PLAY]))
    (directory / "vars.yml").write_text(yaml.safe_dump(given))
    # They are root's: here of a root that is the account of the tests, where that is another one.
    root = ["unshare", "--map-root-user"] if os.getuid() else []
    ansible_playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    files = (f"--extra-vars=@{directory / 'vars.yml'}", str(directory / "play.yml"))
    command(*root, ansible_playbook, "--inventory=localhost,", *files)
    return (directory / "server.crt").read_bytes()


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front], tmp_path_factory: pytest.TempPathFactory) -> Front:
    return fronts(USERS)


def audit(proxy: Front, certificates: Path) -> list[str]:
    """Serve a certificate, and return what sslyze finds in what is served."""
    for name in ("server.crt", "server.key"):
        shutil.copy(certificates / name, proxy.directory / "config" / "nginx" / "tls" / name)
    proxy.context = ssl.create_default_context(cafile=certificates / "ca.crt")
    proxy.give_away()
    proxy.reload()
    # Without the CA there would be one more: that no trust store has it.
    of_profile = ("--mozilla_config=intermediate", f"--certinfo_ca_file={certificates / 'ca.crt'}")
    done = command(str(SSLYZE), "-m", "sslyze", *of_profile, f"localhost:{proxy.port}", check=False)
    verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    assert verdict, done.stdout + done.stderr
    found = re.findall(r"^ +\* (\w+): ", verdict, re.MULTILINE)
    assert (done.returncode == 0, "OK - Compliant." in verdict) == (not found, not found), done.stdout
    return found


@pytest.mark.parametrize(
    "variables",
    [{}, {"certificate_days": 366}, {"certificate_days": 31}],
    ids=str,
)
def test_an_auditor_finds_nothing(proxy: Front, tmp_path: Path, variables: dict[str, int]) -> None:
    make(tmp_path, **variables)
    assert audit(proxy, tmp_path) == []


def test_a_certificate_of_before_is_found_and_replaced(proxy: Front, tmp_path: Path) -> None:
    """The auditor can find something, and the next run of the role mends it, from the same CA."""
    former = make(tmp_path, certificate_days=397)
    authority = (tmp_path / "ca.crt").read_bytes()
    assert audit(proxy, tmp_path) == ["maximum_certificate_lifespan"]
    assert make(tmp_path) != former
    assert (tmp_path / "ca.crt").read_bytes() == authority
    assert audit(proxy, tmp_path) == []


@pytest.mark.parametrize("days", [90, 365, 366])
def test_what_lives_no_longer_than_it_may_is_kept(tmp_path: Path, days: int) -> None:
    former = make(tmp_path, certificate_days=days)
    about = x509.load_pem_x509_certificate(former)
    assert (about.not_valid_after_utc - about.not_valid_before_utc).days == days
    # Another lifetime is for the next one.
    assert make(tmp_path, certificate_days=200) == former
