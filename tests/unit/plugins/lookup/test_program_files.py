"""The files of a program that a role installs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.wharf.registry.plugins.lookup._program_files import program_files

if TYPE_CHECKING:
    from pathlib import Path


def test_directories_come_before_what_is_in_them_and_nothing_else_comes(tmp_path: Path) -> None:
    (tmp_path / "library" / "deep").mkdir(parents=True)
    (tmp_path / "__pycache__").mkdir()
    for name in ("__main__.py", "library/__init__.py", "library/deep/a.py", "__pycache__/a.pyc", "README.md"):
        (tmp_path / name).write_text(f"{name}\n")
    assert [(one["path"], one["state"], one["mode"]) for one in program_files(tmp_path, "/opt/p")] == [
        ("/opt/p", "directory", "0755"),
        ("/opt/p/library", "directory", "0755"),
        ("/opt/p/library/deep", "directory", "0755"),
        ("/opt/p/__main__.py", "file", "0644"),
        ("/opt/p/library/__init__.py", "file", "0644"),
        ("/opt/p/library/deep/a.py", "file", "0644"),
    ]
    assert program_files(tmp_path, "/opt/p")[-1]["content"] == "library/deep/a.py\n"
