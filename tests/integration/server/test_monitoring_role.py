"""The role monitoring on a host with real systemd: the program in its unit, Prometheus and Alertmanager of Debian."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from engine import command, wait_for
from metrics import line, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hosts import Machine

UNIT = "wharf-registry-metrics"
DATA = "/var/lib/wharf-registry"
PROGRAM = "/usr/local/lib/wharf-registry/metrics"
CERTIFICATES = "/etc/wharf-registry/certificate"
TEXTFILE = f"/srv/textfile/{UNIT}.prom"
SERVER = ("prometheus", "prometheus-alertmanager")
PLAY = [
    {
        "hosts": group,
        "gather_subset": ["min", "pkg_mgr", "service_mgr"],
        "tasks": [{"ansible.builtin.import_role": {"name": "wharf.registry.monitoring", "tasks_from": entry}}],
    }
    for group, entry in (("registry", "main"), ("monitoring", "server"))
]
VARIABLES = {
    "registry_hostname": "registry.test",
    "reverse_proxy_users": [
        {"name": "ci", "access": "push", "password": "password-of-ci"},
        {"name": "prometheus", "password": "password-of-prometheus"},
    ],
    "monitoring_users": ["prometheus"],
    "monitoring_textfile_directory": "/srv/textfile",
    "monitoring_rules_directory": "/srv/rules",
    "monitoring_dashboards_directory": "/srv/dashboards",
    "monitoring_server": True,
}
# What other roles make, and of the log what nginx does.
PREPARE = f"""
    getent group wharf-registry || groupadd --system wharf-registry
    mkdir -p /srv/textfile /srv/rules /srv/dashboards {CERTIFICATES} {DATA}/log
    cd {CERTIFICATES}
    openssl req -x509 -newkey rsa:2048 -nodes -keyout server.key -out server.crt -days 365 -subj /CN=registry.test \\
        2> /dev/null
    cp server.crt ca.crt
    chmod 0600 server.key
    : > {DATA}/log/requests.log
    chmod 0700 {DATA}/log
    chown -R 64321:64321 {DATA}/log
"""
CLEAN = f"""
    systemctl disable --now {UNIT} {" ".join(SERVER)} 2> /dev/null || true
    apt-get -qq purge {" ".join(SERVER)} > /dev/null 2>&1 || true
    userdel wharf-metrics 2> /dev/null || true
    groupdel wharf-registry 2> /dev/null || true
    rm -rf /srv/textfile /srv/rules /srv/dashboards /etc/wharf-registry {DATA} /var/lib/{UNIT} \\
        /usr/local/lib/wharf-registry /etc/systemd/system/{UNIT}.service /etc/systemd/system/prometheus*.service.d \\
        /etc/prometheus
    systemctl daemon-reload
"""


@pytest.fixture
def machine(machines: dict[str, Machine]) -> Iterator[Machine]:
    machine = machines["trixie-docker"]
    machine.run(CLEAN)
    machine.run(PREPARE)
    yield machine
    machine.run(CLEAN)


@pytest.fixture
def play(machine: Machine, tmp_path: Path) -> Callable[..., str]:
    """Runs the role, and returns what Ansible says."""
    host = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": machine.container,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    groups = {group: {"hosts": {"watched": None}} for group in ("registry", "monitoring")}
    inventory = {"all": {"hosts": {"watched": host}, "children": groups, "vars": VARIABLES}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAY))

    def run(*options: str, fails: bool = False, **variables: object) -> str:
        done = command(
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), "--diff", *options),
            *("-e", json.dumps(variables)),
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert "password-of" not in done.stdout + done.stderr
        return done.stdout

    return run


def changes(said: str) -> int:
    return int(re.search(r"changed=(\d+)", said)[1])


def active(machine: Machine) -> list[str]:
    said = machine.run(f"systemctl is-active {UNIT} {' '.join(SERVER)}", check=False).stdout
    return said.split()


def told(machine: Machine) -> dict:
    """By the link, as the node exporter reads it. It leads nowhere until a program that was started has written."""
    return samples(machine.run(f"cat {TEXTFILE}", check=False).stdout)


# It runs the role ten times.
@pytest.mark.long
def test_the_role(machine, play):
    assert changes(play("--check")) > 0
    assert machine.run(f"test -e /etc/systemd/system/{UNIT}.service", check=False).returncode != 0
    play()
    assert changes(play()) == 0
    assert changes(play("--check")) == 0
    assert active(machine) == ["active"] * 3
    it_counts(machine)
    it_is_shut_in(machine)
    it_is_watched(machine)

    # What is refused replaces nothing.
    said = play(fails=True, monitoring_server_alertmanager={"receivers": [{"name": "x", "nonsense": 1}]})
    assert "alertmanager.yml stays as it was: amtool refuses the new one" in said
    assert machine.run("grep nonsense /etc/prometheus/alertmanager.yml", check=False).returncode != 0
    receivers = {"receivers": [{"name": "default", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]}]}
    assert changes(play(monitoring_server_alertmanager=receivers)) == 2
    assert "127.0.0.1:9/" in machine.output("cat /etc/prometheus/alertmanager.yml")

    # Off: nothing of the program is left, and the server is left alone.
    off = {"monitoring_users": [], "monitoring_textfile_directory": "", "monitoring_server_user": "prometheus"}
    play(monitoring_server_alertmanager=receivers, **off)
    assert changes(play(monitoring_server_alertmanager=receivers, **off)) == 0
    paths = f"/etc/systemd/system/{UNIT}.service {DATA}/metrics /var/lib/{UNIT} {TEXTFILE} {PROGRAM}"
    assert machine.run(f"ls -d {paths} 2> /dev/null; getent passwd wharf-metrics", check=False).stdout == ""
    assert active(machine)[1:] == ["active", "active"]


def it_counts(machine: Machine) -> None:
    """By a log that another account owns, and over a kill."""
    pulls = ("wharf_pulls_total", ("repository", "apps/api"))
    machine.run(f"cat >> {DATA}/log/requests.log <<'END'\n{line() * 5}END")
    wait_for("lines are counted", lambda: told(machine).get(pulls) == 5, seconds=60)
    found = told(machine)
    assert found[("wharf_requests_total", ("action", "pull"), ("status", "200"), ("user_class", "push"))] == 5
    assert found[("wharf_certificate_expiry_timestamp_seconds", ("certificate", "server"))] > 0
    assert found[("wharf_source_up", ("source", "certificates"))] == 1
    machine.run(f"kill -KILL {process_of(machine)}")
    machine.run(f"cat >> {DATA}/log/requests.log <<'END'\n{line() * 2}END")
    wait_for("it runs again", lambda: active(machine)[0] == "active")
    wait_for("lines are counted again", lambda: told(machine).get(pulls) == 7, seconds=60)


def process_of(machine: Machine) -> str:
    return machine.output(f"systemctl show --property=MainPID --value {UNIT}").strip()


def it_is_shut_in(machine: Machine) -> None:
    """It may read what it tells of, and no key; write nothing elsewhere; and reach no network."""
    assert machine.output(f"stat -c '%a %U' {DATA}/metrics/metrics.sock").split() == ["660", "wharf-metrics"]
    assert machine.output(f"stat -c '%a %U' {DATA}/metrics").split() == ["750", "wharf-metrics"]
    process = process_of(machine)
    inside = f"nsenter --target {process} --mount"
    assert machine.output(f"{inside} stat -c %s {CERTIFICATES}/server.key").strip() == "0"
    assert machine.run(f"{inside} touch {DATA}/log/x", check=False).returncode != 0
    interfaces = machine.output(f"tail -n +3 /proc/{process}/net/dev").splitlines()
    assert [one.split(":")[0].strip() for one in interfaces] == ["lo"]
    status = machine.output(f"cat /proc/{process}/status")
    # CAP_DAC_READ_SEARCH alone.
    assert "CapEff:\t0000000000000004" in status
    assert "CapBnd:\t0000000000000004" in status
    assert "NoNewPrivs:\t1" in status


def it_is_watched(machine: Machine) -> None:
    """By Prometheus and Alertmanager that listen on this host alone, with the rules, the CA and the password."""
    ports = "( sport = :9090 or sport = :9093 or sport = :9094 )"
    listening = machine.output(f"ss -Hltn '{ports}' | awk '{{print $4}}'").split()
    assert sorted(listening) == ["127.0.0.1:9090", "127.0.0.1:9093"]
    place = "/etc/prometheus/wharf-registry"
    assert machine.output(f"stat -c '%a %U' {place}/password").split() == ["600", "prometheus"]
    assert machine.output(f"cat {place}/password") == "password-of-prometheus"
    ask = "python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())'"
    rules = json.loads(machine.output(f"{ask} http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    assert sum(len(group["rules"]) for group in rules) > 30
    (target,) = json.loads(machine.output(f"{ask} http://127.0.0.1:9090/api/v1/targets"))["data"]["activeTargets"]
    assert target["scrapeUrl"] == "https://registry.test:443/metrics"
    machine.run("promtool check config /etc/prometheus/prometheus.yml")
    assert machine.output("ls /srv/rules").split() == [
        f"wharf-registry-{name}.yml" for name in ("fleet", "maintenance", "metrics", "service", "storage")
    ]
    assert json.loads(machine.output("cat /srv/dashboards/wharf-registry.json"))["title"]
