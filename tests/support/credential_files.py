"""Runs of registry_login on credential files, and what lies in those. The registry is not asked."""

from __future__ import annotations

import base64
import json
import stat

from inprocess import run_module

HOST = "r.example.com"
USER = {"username": "ci", "password": "geheim-4711"}
AUTH = base64.b64encode(b"ci:geheim-4711").decode()


def login(path, registry=HOST, *, check=False, **options):
    return run("present", path, registry, check, {**USER, "verify": False, **options})


def logout(path, registry=HOST, *, check=False, **options):
    return run("absent", path, registry, check, options)


def run(state, path, registry, check, options):
    options = {"state": state, "config_path": str(path), "registry": registry, **options}
    given = {name: value for name, value in options.items() if value is not None}
    result = run_module("registry_login", given, check=check)
    for secret in ("geheim", AUTH, "dG9rZW4"):
        assert secret not in json.dumps(result).replace("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "")
    assert "Traceback" not in json.dumps(result)
    return result


def write(path, content, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(mode)
    return path


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)
