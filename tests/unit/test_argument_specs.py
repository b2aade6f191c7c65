"""The contract of a role, its defaults and its documentation must tell the same."""

from __future__ import annotations

import re

import pytest
import yaml
from paths import ROOT

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
IMPORT = "ansible.builtin.import_tasks"
IMPORTS = {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks"}
SHARED = {"registry_hostname", "registry_port", "registry_instance", "registry_peer_address"}
# What clients connect to is said of the registry as a whole; preflight of other roles reads it as well.
SHARED |= {f"registry_address{part}" for part in ("", "_vips", "_interface", "_router_id", "_return_seconds")}


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


@pytest.fixture(params=ROLES)
def role(request, root):
    path = root / "roles" / request.param
    specs = load(path / "meta" / "argument_specs.yml")["argument_specs"]
    return request.param, path, specs, load(path / "defaults" / "main.yml") or {}


def test_every_default_is_in_the_contract_and_the_other_way_round(role):
    name, _path, specs, defaults = role
    options = specs["main"]["options"]
    assert set(defaults) <= set(options)
    without = {option for option, spec in options.items() if option not in defaults and not spec.get("required")}
    # The role `registry` sets these for all.
    without -= SHARED
    assert not without, f"options of {name} that nothing sets: {without}"


def test_defaults_agree(role):
    _name, _path, specs, defaults = role
    for option, spec in specs["main"]["options"].items():
        value = defaults.get(option)
        if "default" in spec and not (isinstance(value, str) and "{{" in value):
            assert spec["default"] == value, option


def test_names_have_the_prefix_of_the_role(role):
    name, path, specs, defaults = role
    assert all(option.startswith(f"{name}_") for option in (set(defaults) | set(specs["main"]["options"])) - SHARED)
    internal = load(path / "vars" / "main.yml") or {}
    assert all(variable.startswith(f"__{name}_") for variable in internal)


def test_every_entry_point_has_its_tasks(role):
    _name, path, specs, _defaults = role
    for entry in specs:
        assert (path / "tasks" / f"{entry}.yml").exists()


def test_main_is_a_table_of_contents(role):
    name, path, _specs, _defaults = role
    tasks = load(path / "tasks" / "main.yml")
    assert tasks and all(IMPORTS & set(task) for task in tasks), name
    # A client is checked on the control node, with all others at once.
    first = {"ansible.builtin.include_tasks": "prepare.yml"} if name == "client" else {IMPORT: "preflight.yml"}
    assert first.items() <= tasks[0].items()


def test_images_have_explicit_versions(root):
    for path in root.glob("roles/*/defaults/main.yml"):
        for option, value in (load(path) or {}).items():
            if option.endswith("_image") and value:
                assert re.search(r":\d+\.\d+\.\d+$|@sha256:", value), option


def test_no_result_hides_a_variable(role):
    """What is registered wins over vars and defaults, from then on: where a role runs twice in a play, too."""
    _name, path, _specs, defaults = role
    tasks = "\n".join(file.read_text(encoding="utf-8") for file in (path / "tasks").glob("*.yml"))
    variables = {*(load(path / "vars" / "main.yml") or {}), *defaults}
    assert not variables & set(re.findall(r"^ +register: (\w+)$", tasks, re.MULTILINE))
