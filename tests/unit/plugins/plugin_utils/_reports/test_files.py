"""The files of a report on the control node: whole, for their owner alone, where they were asked for."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.files import ReportError, directory_of, write


def test_where_it_is():
    assert directory_of("reports", "/srv/play") == "/srv/play/reports"
    assert directory_of("/reports/", "/srv/play") == "/reports"
    assert directory_of("~/reports", "/srv/play") == str(Path("~/reports").expanduser())
    assert directory_of("..", "/srv/play") == "/srv"


def test_for_its_owner_alone(tmp_path):
    directory = tmp_path / "a" / "b"
    write(str(directory), {"x.json": "1"})
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "x.json").stat().st_mode) == 0o600


def test_it_replaces_what_is_there(tmp_path):
    directory = tmp_path / "there"
    directory.mkdir(mode=0o755)
    (directory / "x.json").write_text("a longer one")
    (directory / "elsewhere").write_text("kept")
    (directory / "y.json").symlink_to("elsewhere")
    write(str(directory), {"x.json": "2", "y.json": "half \ud83d one"})
    assert (directory / "x.json").read_text() == "2"
    # A link that lies there is replaced, and what it led to stays.
    assert (directory / "y.json").read_text() == "half ? one" and (directory / "elsewhere").read_text() == "kept"
    assert sorted(one.name for one in directory.iterdir()) == ["elsewhere", "x.json", "y.json"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


@pytest.mark.parametrize("inside", ["", "sub"])
def test_where_it_cannot_be_written(tmp_path, inside):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ReportError, match=r"can't be written into .*file.*: .*\. Give a directory .* by -e report=DIR\."
    ):
        write(str(tmp_path / "file" / inside), {"x.json": "1"})


def test_what_fails_leaves_nothing(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(ReportError):
        write(str(tmp_path), {"x.json": "1"})
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]
