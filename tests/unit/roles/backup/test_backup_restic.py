"""How restic is run: over SSH, for hours, told to stop, and what its failures mean."""

from __future__ import annotations

import os
import sys
import tracemalloc

import pytest
from backup_host import config
from wharf_backup import places, restic, restore
from wharf_backup.common import BackupError


@pytest.mark.parametrize(
    ("repository", "host", "port"),
    [
        ("sftp:u@host:/srv/x", "u@host", None),
        ("sftp:host:x", "host", None),
        ("sftp://u@host//srv/x", "u@host", None),
        ("sftp://u@host:2222//srv/x", "u@host", "2222"),
    ],
)
def test_ssh_asks_nobody_and_knows_its_host(tmp_path, repository, host, port):
    (_option, command) = restic.sftp_command(config(tmp_path, repository))
    words = command.partition("=")[2].split()
    assert words[-3:] == [host, "-s", "sftp"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={tmp_path}/known_hosts"} <= set(words)
    assert (words[words.index("-p") + 1] if "-p" in words else None) == port


# What restic 0.14 and 0.18 say.
@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("Fatal: wrong password or no key found", "the password does not open it"),
        ("Save(<data/1>) returned error: write: no space left on device", "a disk is full"),
        (
            "subprocess ssh: Host key verification failed.\nFatal: unable to open repository",
            "not the one that is known",
        ),
        ("subprocess ssh: vault@spare: Permission denied (publickey).", "refuses the key"),
        ("Fatal: unable to open config file: Stat: Access Denied.", "refuses the credentials"),
        ("dial tcp 192.0.2.1:443: connect: connection refused", "can't be reached"),
        ("mkdir /mnt/r/data: permission denied", "can't be written to"),
        (
            "Get https://s3/x: tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "trusted",
        ),
        ("stat /srv/certificates/config: something new", "restic failed"),
    ],
)
def test_failures_have_a_cure(said, what):
    found, cure = restic.meaning(said)
    assert what in found
    assert cure


def test_the_last_words_are_for_a_reader():
    said = 'Save(x) failed\n{"message_type":"exit_error","code":1,"message":"Fatal: unable to save snapshot"}\n'
    assert restic.last_words(said) == "Fatal: unable to save snapshot"
    assert restic.last_words("one\n\ntwo\n") == "one two"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A restic that does what a test writes."""

    def write(script):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin/restic").write_text(f"#!{sys.executable}\n{script}")
        (tmp_path / "bin/restic").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        return restic.Restic(config(tmp_path, "/r"))

    return write


STATUS = '{"message_type":"status","current_files":["' + "x" * 900 + '"]}'


def test_what_restic_says_for_hours_is_not_kept(program):
    made = program(
        f"import os, sys\nfor _turn in range(20000):\n    print({STATUS!r})\n    print('a note', file=sys.stderr)\n"
        'print(\'{"message_type":"summary","snapshot_id":"abcd","fps":"\' + os.environ["RESTIC_PROGRESS_FPS"] + \'"}\')'
    )
    tracemalloc.start()
    try:
        summary = made.backup("registry.example.com", ["/x"])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (summary["snapshot_id"], summary["fps"]) == ("abcd", "0.01")
    # Of the 18 MB that were said.
    assert most < 2_000_000


def test_why_restic_failed_is_kept(program):
    made = program(
        f"import sys\nfor _turn in range(500):\n    print({STATUS!r})\n    print('a note', file=sys.stderr)\n"
        "print('Fatal: write: no space left on device', file=sys.stderr)\nsys.exit(1)"
    )
    with pytest.raises(BackupError, match="a disk is full") as failed:
        made.backup("registry.example.com", ["/x"])
    assert failed.value.details["said"] == "Fatal: write: no space left on device"


def test_restic_ends_with_who_started_it(program, tmp_path, monkeypatch):
    made = program(
        # A handler in Python would run only after a sleep that begins just as the signal comes.
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "print('{}', flush=True)\n"
        "signal.sigwait([signal.SIGTERM])\n"
        f"open({str(tmp_path / 'ended')!r}, 'w').close()\n"
        "sys.exit(1)"
    )

    def stop(_line):
        raise SystemExit(143)

    monkeypatch.setattr(restic, "_message", stop)
    with pytest.raises(SystemExit):
        made.backup("registry.example.com", ["/x"])
    assert (tmp_path / "ended").exists()


def test_small_files_take_room_too(program):
    made = program("""print('{"total_size": 1000, "total_file_count": 3}')""")
    assert made.size_of("abcd") == 1000 + 3 * 8192


def test_a_snapshot_comes_to_where_it_was_meant_to(program, tmp_path):
    """The account of the registry owns the directory around it, and puts another one there when restic begins."""
    elsewhere, data = tmp_path / "elsewhere", tmp_path / "storage"
    elsewhere.mkdir()
    data.mkdir()
    made = program(
        "import os, pathlib, sys\n"
        f"os.rename({str(data / '.restore')!r}, {str(data / 'aside')!r})\n"
        f"os.symlink({str(elsewhere)!r}, {str(data / '.restore')!r})\n"
        "target = pathlib.Path(sys.argv[sys.argv.index('--target') + 1])\n"
        "target.mkdir()\n(target / 'file').write_text('brought')\n"
    )
    with places.private_directory(data, restore.WORK) as work:
        made.restore("abcd", work.descriptor)
        assert (restic.by_descriptor(work.descriptor) / "files/file").read_text() == "brought"
    assert (data / "aside/files/file").exists()
    assert not list(elsewhere.iterdir())
