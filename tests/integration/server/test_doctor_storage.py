"""The doctor of a registry host whose images are objects: the probe of a real storage, by the tasks of the role."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import memory_s3
import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.doctor_report import doctor_report
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from certificates import Authority
    from seaweedfs import SeaweedFS

WELL = {
    "hops": [{"name": "pull", "ok": True, "said": "", "cure": "", "mistake": ""}],
    "verified": True,
    "engine": "docker",
    "registry": "r.example.com",
}


@pytest.fixture
def doctor(storage: SeaweedFS, ca: Authority, tmp_path: Path) -> Callable[..., dict]:
    """doctor(*arguments, **changes of registry_s3) is the row of the host in the table."""
    s3 = {
        **memory_s3.bucket_at(f"https://localhost:{storage.https}"),
        "ca": ca.certificate.read_text(),
    }
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "s3-ca-1.pem").write_text(s3["ca"])
    result = tmp_path / "result.json"
    tasks = [
        {"ansible.builtin.include_role": {"name": "wharf.registry.client", "tasks_from": "doctor_storage"}},
        {
            "ansible.builtin.copy": {"content": "{{ client_result | to_json }}", "dest": str(result)},
            "check_mode": False,
        },
    ]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "registry", "gather_facts": False, "tasks": tasks}]))
    (tmp_path / "hosts.yml").write_text(
        json.dumps(
            {
                "registry": {
                    "hosts": {
                        "here": {
                            "ansible_connection": "local",
                            "ansible_python_interpreter": sys.executable,
                            "client_result": WELL,
                        },
                    }
                }
            }
        )
    )

    def run(*arguments: str, **changes: object) -> dict:
        variables = {
            "registry_storage": "s3",
            "registry_s3": {**s3, **changes},
            "registry_config_directory": str(tmp_path),
            "client_registries": [{"host": "r.example.com"}],
            "client_ca_host": "",
            "doctor_timeout": 5,
        }
        (tmp_path / "vars.json").write_text(json.dumps(variables))
        done = subprocess.run(
            ["ansible-playbook", "-vvv", "-i", "hosts.yml", "-e", "@vars.json", *arguments, "play.yml"],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "NO_PROXY": "localhost",
            },
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        text = result.read_text()
        for secret in (memory_s3.SECRET_KEY, "wrong-secret-of-the-test"):
            assert secret not in said + text
        return doctor_report({"here": json.loads(text)})["rows"][0]

    return run


def test_a_storage_that_is_suitable_is_no_hop_and_keeps_nothing(doctor: Callable, storage: SeaweedFS) -> None:
    row = doctor()
    assert (row["hop"], row["said"]) == ("", "pulled by docker")
    assert [key for key in storage.objects() if key.startswith("wharf-probe/")] == []


def test_with_check_a_wrong_key_is_told(doctor: Callable) -> None:
    row = doctor("--check", secret_key="wrong-secret-of-the-test")
    assert (row["hop"], row["mistake"]) == ("storage", "storage_unusable")
    assert "403" in row["said"]
    assert row["cure"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bucket": "no-such-bucket"}, "NoSuchBucket"),
        ({"endpoint": "https://localhost:9"}, "refused the connection"),
        ({"endpoint": "ftp://localhost"}, "endpoint is no address"),
    ],
)
def test_other_mistakes_have_sentences(doctor: Callable, changes: dict, said: str) -> None:
    row = doctor(**changes)
    assert (row["hop"], row["mistake"]) == ("storage", "storage_unusable")
    assert said in row["said"]
    assert row["cure"]
