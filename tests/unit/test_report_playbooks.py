"""What playbooks leave behind for people and for the page: by the tasks that all of them share, and by whole playbooks.

The hosts are this machine. Whole playbooks run as far as they come without a registry, so that nothing is changed here;
the scenarios of molecule look at the reports of runs that end well.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from paths import ROOT

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
TASKS = ROOT / "playbooks" / "tasks"
SAVED = {"outcome": "ok", "snapshot": "1a2b3c4d", "bytes": 4096, "lines": ["Snapshot {{ 7 * 191 }}"], "warnings": []}
PLAYS = [
    {
        "hosts": "registry",
        "gather_facts": False,
        "tasks": [
            {
                "block": [
                    {"ansible.builtin.fail": {"msg": "It is\nnot to be."}, "when": "inventory_hostname == 'bad'"},
                    {
                        "ansible.builtin.command": {"argv": ["cat", "saved.json"]},
                        "register": "read",
                        "changed_when": False,
                        "check_mode": False,
                    },
                    {"ansible.builtin.set_fact": {"backup_result": "{{ read.stdout | from_json }}"}},
                ],
                "rescue": [{"ansible.builtin.set_fact": {"__playbook_failure": "{{ ansible_failed_result.msg }}"}}],
            }
        ],
    },
    {
        "hosts": "registry:localhost",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.import_tasks": str(TASKS / "report.yml"),
                "vars": {"__report_kind": "backup", "__report_hosts": "{{ groups.registry }}"},
            }
        ],
    },
    {
        "hosts": "registry",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.import_tasks": str(TASKS / "keep_report.yml")}],
    },
    {
        "hosts": "registry:localhost",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.import_tasks": str(TASKS / "fail.yml"),
                "vars": {"__failure": "{{ __playbook_failure | default('') }}"},
            },
            {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} goes on"}},
        ],
    },
]


class Site:
    """An inventory of registry hosts, each of which is this machine, and a directory for each of them."""

    def __init__(self, directory, *hosts, **variables):
        self.directory = directory
        self.hosts = {host: {"registry_data_directory": str(directory / host)} for host in hosts}
        for host in hosts:
            (directory / host).mkdir()
        everywhere = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "registry_hostname": "registry.invalid",
            "registry_port": 5000,
            **variables,
        }
        inventory = {"all": {"vars": everywhere, "children": {"registry": {"hosts": self.hosts}}}}
        (directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
        (directory / "saved.json").write_text(json.dumps(SAVED))
        (directory / "plays.yml").write_text(yaml.safe_dump(PLAYS))

    def run(self, *arguments, playbook="plays.yml"):
        # Not what others of this machine have set, and as a shell that has changed into the directory.
        environment = {**os.environ, "PWD": str(self.directory), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        return subprocess.run(
            [PLAYBOOK, "-i", self.directory / "hosts.yml", playbook, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.directory,
            env=environment,
        )

    def report(self, name="reports", kind="backup"):
        written = self.directory / name
        page = (written / f"{kind}.html").read_text()
        assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")
        return json.loads((written / f"{kind}.json").read_text()), page

    def kept(self, host, kind="backup"):
        return self.directory / host / "reports" / f"{kind}.json"


def changed(run):
    """How many tasks have changed something."""
    return sum(map(int, re.findall(r"changed=(\d+)", run.stdout)))


class TestTasks:
    def test_one_file_for_all_hosts_also_where_one_fails(self, tmp_path):
        site = Site(tmp_path, "good", "bad")
        run = site.run("-e", json.dumps({"report": "reports/of today"}))
        assert run.returncode != 0 and run.stdout.count("It is") and changed(run) == 0, run.stdout
        report, page = site.report("reports/of today")
        assert (report["registry"], report["outcome"], report["check"]) == ("registry.invalid:5000", "failed", False)
        assert {one["host"]: one["outcome"] for one in report["sections"][1]["rows"]} == {"good": "ok", "bad": "failed"}
        assert "It is not to be." in page
        # What a host says is no template.
        assert "Snapshot {{ 7 * 191 }}" in report["lines"]
        directory = tmp_path / "reports" / "of today"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())] == [
            0o700,
            0o600,
            0o600,
        ]

    def test_it_is_kept_on_each_registry_host(self, tmp_path):
        site = Site(tmp_path, "one", "two")
        runs = [site.run(), site.run("--limit", "two")]
        assert [(run.returncode, changed(run)) for run in runs] == [(0, 0), (0, 0)], runs[0].stdout
        for host in ("one", "two"):
            assert stat.S_IMODE(site.kept(host).stat().st_mode) == 0o600
            assert sorted(json.loads(site.kept(host).read_text())["data"]["hosts"]) == ["one", "two"]
        assert not (tmp_path / "reports").exists()

    def test_check_mode_writes_what_it_foretells(self, tmp_path):
        site = Site(tmp_path, "good")
        run = site.run("--check", "-e", f"report={tmp_path}/reports")
        assert run.returncode == 0, run.stdout
        report, page = site.report()
        assert report["check"] is True and "Made in check mode" in page
        assert not site.kept("good").parent.exists()

    def test_where_it_cannot_be_written(self, tmp_path):
        """One error says so, and all else is done before."""
        site = Site(tmp_path, "good")
        (tmp_path / "file").write_text("")
        run = site.run("-e", "report=file/reports")
        assert run.returncode != 0
        said = " ".join(run.stdout.split())
        assert f"The report can't be written into {tmp_path}/file/reports: Not a directory." in said
        assert "good goes on" in said and site.kept("good").exists()
        assert said.count("FAILED!") == 1 and "localhost]: FAILED!" in said


# What lets each playbook fail on a machine without a registry, before it changes anything.
WRONG = {"reverse_proxy_users": [], "backup_repository": "", "backup_password": ""}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("doctor", "the name does not resolve"),
        # The scenarios look at what these leave that end well.
        pytest.param("maintain", "has no registry in", marks=pytest.mark.long),
        pytest.param("backup", "backup_repository is ", marks=pytest.mark.long),
    ],
)
def test_a_playbook_that_fails_leaves_its_report(tmp_path, kind, said):
    site = Site(tmp_path, "here", **WRONG, registry_config_directory=str(tmp_path / "etc"))
    run = site.run("-e", "report=reports", playbook=f"wharf.registry.{kind}")
    assert run.returncode != 0 and changed(run) == 0, run.stdout
    report, page = site.report(kind=kind)
    assert (report["kind"], report["outcome"]) == (kind, "failed")
    (failed,) = report["sections"][0]["rows"]
    assert failed["host"] == "here" and said in json.dumps(failed), failed
    assert "What failed" in page
    assert json.loads(site.kept("here", kind).read_text())["outcome"] == "failed"


SAID = "Not {{ 7 * 191 }}."
# As rollout.yml does it.
ROLLOUT = [
    {
        "hosts": "registry",
        "gather_facts": False,
        "vars": {"rollout": "{{ ['here'] | wharf.registry._rollout_report(hostvars, [1]) }}"},
        "tasks": [
            {"ansible.builtin.command": {"argv": ["cat", "saved.json"]}, "register": "read", "changed_when": False},
            {
                "ansible.builtin.set_fact": {
                    "client_result": "{{ read.stdout | from_json }}",
                    "__rollout_failure": {"said": "{{ (read.stdout | from_json).said }}"},
                }
            },
            {"ansible.builtin.set_fact": {"told": "{{ {'failed': rollout.failed, 'rows': rollout.rows} }}"}},
            {
                "ansible.builtin.import_tasks": str(TASKS / "report.yml"),
                "vars": {"__report_kind": "rollout", "__report_data": "{{ told }}"},
            },
            {"ansible.builtin.import_tasks": str(TASKS / "fail.yml"), "vars": {"__failure": "{{ told.failed.here }}"}},
        ],
    }
]


def test_what_a_host_says_is_no_template(tmp_path):
    """Not even where text that a filter has made is one, as before ansible-core 2.19."""
    site = Site(tmp_path, "here")
    (tmp_path / "plays.yml").write_text(yaml.safe_dump(ROLLOUT))
    (tmp_path / "saved.json").write_text(json.dumps({"said": SAID, "failed": True, "trust": {"changed_files": []}}))
    run = site.run("-e", "report=reports")
    report, page = site.report(kind="rollout")
    assert report["sections"][0]["rows"][0]["said"] == SAID
    assert run.returncode != 0 and SAID in run.stdout and "1337" not in run.stdout + page + json.dumps(report)
