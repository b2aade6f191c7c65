"""Labels of what containers mount. The labels are real; that an engine uses SELinux is not to be had here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine.selinux import is_used, label

if TYPE_CHECKING:
    from pathlib import Path

NAME = "security.selinux"
LABEL = b"system_u:object_r:container_file_t:s0\0"


def labels(path: Path) -> dict[str, bytes]:
    """The labels at and below a path, by their paths relative to it."""
    found = {}
    for one in [path, *path.rglob("*")]:
        try:
            found[str(one.relative_to(path))] = os.getxattr(one, NAME, follow_symlinks=False)
        except OSError:
            found[str(one.relative_to(path))] = b""
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    (path / "folder" / "inner").mkdir(parents=True)
    (path / "folder" / "file").write_text("text", encoding="utf-8")
    outside = tmp_path / "outside"
    outside.write_text("text", encoding="utf-8")
    (path / "link").symlink_to(outside)
    (path / "gone").symlink_to(tmp_path / "nothing")
    return path


def test_all_below_is_labelled_and_nothing_outside(tree: Path) -> None:
    label(str(tree))
    assert set(labels(tree).values()) == {LABEL}
    assert labels(tree.parent / "outside") == {".": b""}


def test_of_what_has_the_type_a_part_is_looked_at_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label(str(tree))
    os.removexattr(tree / "folder" / "file", NAME)
    monkeypatch.setattr(f"{label.__module__}._FEW", 0)
    label(str(tree))
    assert labels(tree)["folder/file"] == b""
    monkeypatch.undo()
    label(str(tree))
    assert set(labels(tree).values()) == {LABEL}


def test_another_type_is_replaced_also_at_a_file(tree: Path) -> None:
    file = tree / "folder" / "file"
    os.setxattr(file, NAME, b"system_u:object_r:etc_t:s0\0")
    label(str(file))
    assert labels(tree)["folder/file"] == LABEL
    assert labels(tree)["folder"] == b""


def test_a_link_is_labelled_where_it_leads(tree: Path) -> None:
    (tree.parent / "alias").symlink_to(tree)
    label(str(tree.parent / "alias"))
    assert set(labels(tree).values()) == {LABEL}


@pytest.mark.parametrize("path", ["/", "/etc", "/var/lib", "/srv/", "/usr/../home"])
def test_directories_of_the_host_are_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"is a directory of the host.*Give a directory of its own below it"):
        label(path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["name=apparmor", "name=selinux", "name=cgroupns"], True),
        (["name=seccomp,profile=default", "name=rootless"], False),
        ([], False),
        (None, False),
    ],
)
def test_an_engine_says_whether_it_uses_it(options: list[str] | None, expected: bool) -> None:
    assert is_used({"SecurityOptions": options}) is expected
