"""The plugins are imported as Ansible imports them, from the collection that `make deps` links into the virtualenv."""

from __future__ import annotations

import fcntl
import json
import os
import sys

import hypothesis
import pytest
from misbehaving import Misbehaving, reply
from paths import ROOT

from examples import PATIENT

os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
# Where ansible_collections.wharf.registry is found, for what imports its own kind by that name.
sys.path.insert(0, str(ROOT / ".venv" / "collections"))
hypothesis.settings.register_profile("wharf", deadline=None, suppress_health_check=PATIENT)
hypothesis.settings.load_profile("wharf")


# Those that take longest begin first, so that the others are done beside them and none is left at the end.
LONG = ("test_preflight.py", "test_steps.py", "test_restarts.py", "test_report_playbooks.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def plugin():
    """Loads plugin files by path, so that the tests need no import hook."""
    import importlib.util

    def load(kind, name):
        path = ROOT / "plugins" / kind / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"wharf_{kind}_{name}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def server():
    """A server that misbehaves as the test tells it to."""
    with Misbehaving() as server:
        yield server


@pytest.fixture
def engine(tmp_path):
    """A server on a Unix socket, as an engine has it."""
    with Misbehaving(host=str(tmp_path / "docker.sock")) as engine:
        engine.answer("/info", reply(200, '{"ServerVersion": "20.10"}'))
        yield engine


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """What a function returned, as JSON holds it: of several workers, the first calls it for all."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent

    def call(name, function):
        file = shared / f"{name}.json"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                file.write_text(json.dumps(function()), encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))

    return call
