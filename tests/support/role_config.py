"""The configuration of a registry, as the role makes it of its variables, without a host to write it to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from engine import command
from paths import ROOT

ROLE = ROOT / "roles" / "registry"
PLAY = {
    "hosts": "localhost",
    "connection": "local",
    "gather_facts": False,
    "vars_files": [f"{ROLE}/{part}/main.yml" for part in ("defaults", "vars")],
    "vars": {"made": {"config": f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/config.yml.j2') }}}}"}},
    "tasks": [
        {
            "ansible.builtin.copy": {
                "content": "{{ (made | wharf.registry._each_replica(replicas) | map(attribute='config')) | to_json }}",
                "dest": "{{ to }}",
                "mode": "0600",
            }
        }
    ],
}


def role_configs(directory: Path, replicas: int = 1, **variables: object) -> list[dict]:
    """Of each replica, what the registry reads."""
    (directory / "play.yml").write_text(yaml.safe_dump([PLAY]))
    to = directory / "configs.json"
    given = {"replicas": replicas, "to": str(to), "__registry_secret_text": "x", **variables}
    (directory / "vars.json").write_text(json.dumps({"ansible_python_interpreter": sys.executable, **given}))
    command(
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--inventory=localhost,",
        f"--extra-vars=@{directory / 'vars.json'}",
        str(directory / "play.yml"),
    )
    return [yaml.safe_load(text) for text in json.loads(to.read_text())]
