"""What a role wants to know of a host. What an engine says is in tests of integration."""

from __future__ import annotations

import hashlib
import os
import pwd
from typing import TYPE_CHECKING

from inprocess import run_module

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_there_and_that_is_no_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    told = run_module(
        "_host_look",
        {
            "paths": [missing],
            "read": [missing, str(tmp_path)],
            "digests": [missing],
            "accounts": ["no-such-user"],
            "groups": ["no-such-group"],
            "python_modules": ["no_such_module", "no_such.module"],
            "programs": ["no-such-program"],
            "engine": True,
            "socket": missing,
            "label": "a=b",
            "containers": ["c"],
            "images": ["i"],
        },
    )
    assert not told["changed"]
    assert told["paths"] == told["digests"] == {missing: None}
    assert told["texts"] == {missing: None, str(tmp_path): None}
    assert (told["accounts"], told["groups"]) == ({"no-such-user": None}, {"no-such-group": None})
    assert told["python_modules"] == {"no_such_module": False, "no_such.module": False}
    assert told["programs"] == {"no-such-program": ""}
    assert told["engine"] == {"answers": False, "label": "a=b", "containers": {"c": None}, "images": {"i": None}}


def test_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"text\xff")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    me = pwd.getpwuid(os.geteuid())
    told = run_module(
        "_host_look",
        {
            "paths": [str(tmp_path), str(tmp_path / "link"), "/dev/null"],
            "read": [str(file)],
            "digests": [str(file)],
            "accounts": [me.pw_name],
            "python_modules": ["json"],
            "programs": ["sh"],
        },
    )
    assert told["python_modules"] == {"json": True}
    assert told["programs"]["sh"].endswith("/sh")
    assert [found["kind"] for found in told["paths"].values()] == ["directory", "file", "other"]
    assert told["paths"][str(tmp_path / "link")]["mode"] == "0640"
    assert told["texts"][str(file)] == "text\N{REPLACEMENT CHARACTER}"
    assert told["digests"][str(file)] == hashlib.sha256(b"text\xff").hexdigest()
    assert told["accounts"][me.pw_name] == {
        "uid": me.pw_uid,
        "gid": me.pw_gid,
        "home": me.pw_dir,
        "shell": me.pw_shell,
    }
    assert told["processors"] >= 1
    # Without `engine`, none is asked.
    assert told["engine"]["answers"] is False
