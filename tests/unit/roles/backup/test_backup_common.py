"""What the commands of the program share: its locks and its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from backup_host import config
from wharf_backup.common import BackupError, Config, lock


def test_a_lock_that_others_have(tmp_path):
    wrong = BackupError("It is held", "Wait")
    with lock(tmp_path / "lock", exclusive=False, seconds=0, otherwise=wrong):
        with lock(tmp_path / "lock", exclusive=False, seconds=0, otherwise=wrong):
            pass
        with (
            pytest.raises(BackupError, match="It is held"),
            lock(tmp_path / "lock", exclusive=True, seconds=0, otherwise=wrong),
        ):
            pass


def test_nobody_else_can_hold_a_lock(tmp_path):
    """Not even one that flock(1) has made."""
    (tmp_path / "lock").touch(0o644)
    with lock(tmp_path / "lock", exclusive=True, seconds=0, otherwise=BackupError("It is held", "Wait")):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_no_directory_is_saved_twice(tmp_path):
    assert config(tmp_path, "/r").settings == [Path("/etc/w"), Path("/srv/tls")]


def test_numbers_are_numbers_however_ansible_wrote_them(tmp_path):
    found = config(tmp_path, "/r")
    assert (found.keep, found.check_days) == ({"last": 3}, 7)


def test_a_configuration_of_another_version_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackupError, match="Run the playbook backup for this host"):
        Config.read(tmp_path / "config.json")
