"""What a person sees of a run by the callback `steps`, in a pipe and on a terminal: real plays, all on this host."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ansible.template
import pytest
from paths import ROOT
from steps_plays import FLEET, files

ANSIBLE = Path(sys.executable).parent


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's project: playbooks, roles and an inventory."""
    place = tmp_path_factory.mktemp("project")
    for name, text in files(sys.executable).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not re.match("ANSIBLE_|NO_COLOR|WHARF_", name)}
    ours = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "wharf.registry.steps"}
    # No step is slow only since this machine has much to do.
    seconds = {"WHARF_STEPS_SLOW_SECONDS": "1.5", "WHARF_STEPS_QUICK_SECONDS": "60"}
    return {**kept, **ours, "LC_ALL": "C.UTF-8", "TERM": "xterm", **seconds, **more}


def command(project, playbook, *arguments):
    (project / "made").mkdir(exist_ok=True)
    extra = ("-e", f"place={project}/made")
    return [str(ANSIBLE / "ansible-playbook"), "-i", "inventory.yml", playbook, *extra, *arguments]


def run(project, playbook, *arguments, **more):
    """In a pipe. The exit status, and what is said."""
    result = subprocess.run(
        command(project, playbook, *arguments),
        cwd=project,
        env=environment(**more),
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return result.returncode, result.stdout


def run_on_terminal(project, playbook, **more):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(project, playbook), cwd=project, env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # The other end is closed.
                break
            if not part:
                break
            said += part
        os.close(ours)
    return process.returncode, said.decode().replace("\r\n", "\n")


def left_on_screen(said):
    """What a terminal shows in the end: lines that were overwritten are gone."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    return [re.split(r"\r\x1b\[K", line)[-1].rsplit("\r", 1)[-1] for line in plain.split("\n")]


def stepped(label, state):
    """The pattern of the line of a step."""
    return rf"(?m)^ *{re.escape(label)} +\d+\.\d s  {state}$"


@pytest.fixture(scope="module")
def good(project, once):
    """It changes a file, so that what is made there is removed first."""
    (project / "made" / "file").unlink(missing_ok=True)
    return once("steps-good", lambda: run(project, "good.yml", WHARF_STEPS_STILL_SECONDS="1"))


@pytest.fixture(scope="module")
def fleet(project, once):
    return once("steps-fleet", lambda: run(project, "fleet.yml"))


def test_a_good_run_is_a_line_a_step(good):
    status, said = good
    assert status == 0, said
    lines = [line for line in said.splitlines() if "still:" not in line]
    assert lines[:2] == ["good.yml", "Make it"]
    assert re.search(stepped("outer: network", r"changed  \(Make the network: \d+\.\d s\)"), said), said
    assert re.search(stepped("outer: configure", "changed"), said), said
    assert re.search(stepped("outer: inner pull", "changed"), said), said
    assert re.search(stepped("outer: handlers", "changed"), said), said
    # Quick, and changed nothing.
    assert "check" not in said
    assert "TASK [" not in said
    assert len(lines) <= 40


def test_what_takes_long_is_named_in_a_pipe(good):
    found = re.findall(r"(?m)^  still: (.*)$", good[1])
    assert any(line.startswith("outer : network | Make the network (") for line in found)
    assert "\r" not in good[1]
    assert "\x1b" not in good[1]


def test_what_is_no_end_is_one_line(good):
    said = good[1]
    # Since ansible-core 2.21 it is a sentence.
    assert re.search("  ignored: \\[localhost\\] Fail on purpose: .*non-zero return code\\.?\n", said)
    assert "  rescued: [localhost] Fail and be helped: The first line.\n" in said
    assert "The second line." not in said
    assert "fatal:" not in said


def test_what_the_play_tells_is_whole(good):
    said = good[1]
    assert "The summary\n  Address     https://host:5000\n  Users       ci\nTook " in said
    assert "    told one\n" in said
    assert "    told two\n" in said
    assert re.search(r"(?m)^Nobody +no hosts$", said)


def test_secrets_are_hidden(good, fleet):
    assert "Say nothing of it" in good[1]
    assert "hunter2" not in good[1] + fleet[1]


def test_the_recap_is_that_of_ansible(good, fleet):
    for status, said in (good, fleet):
        title, *lines = said.rpartition("PLAY RECAP")[2].strip().splitlines()
        assert set(title.strip()) == {"*"}
        assert all(re.match(r"\S+ +: ok=\d+ +changed=\d+ +unreachable=\d+ +failed=\d+ ", line) for line in lines)
        assert any("failed=1" in line or "unreachable=1" in line for line in lines) == (status != 0)


def test_many_hosts_are_counted(fleet):
    said = fleet[1]
    assert re.search(stepped("walk", "5 hosts  changed: all"), said), said
    assert re.search(stepped("rest", "5 hosts  changed: h1, h2"), said), said
    assert re.search(stepped("break", r"6 hosts  changed: h1  failed: all(  \(.*\))?"), said), said


def test_batches_are_plays(fleet):
    said = fleet[1]
    assert len(re.findall(r"(?m)^ +all the same$", said)) == 1
    assert "In batches" not in said.replace("In batches, batch 2", "")
    assert len(re.findall(r"(?m)^h\d: Tell all the same: as on h1$", said)) == 4


def of(said, host):
    """The lines of the failure of a host."""
    lines = said[said.index(f"fatal: [{host}]") :].splitlines()
    end = next(number for number, line in enumerate(lines[1:], 1) if not line.startswith("    "))
    return lines[:end]


@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh to fail")
def test_unreachable_hosts_are_shown_at_once(fleet):
    status, said = fleet
    assert status != 0
    lines = of(said, "gone")
    assert lines[0] == "fatal: [gone]: UNREACHABLE! => break | Reach them"
    assert "port 1: Connection refused" in "\n".join(lines)
    assert said.index("fatal: [gone]") < said.index("fatal: [h1]")


def test_items_that_failed_are_shown(fleet):
    lines = of(fleet[1], "h1")
    assert lines[0] == "fatal: [h1]: FAILED! => break | A loop"
    assert re.fullmatch(r"    fleet\.yml:\d+", lines[1])
    items = [line for line in lines if line.startswith("    item=")]
    assert items == ["    item=false", "    item=sh -c 'echo said >&2; exit 3'"]
    assert "      rc: 3" in lines
    assert "      stderr: said" in lines


def test_a_failure_is_whole_with_what_ran_before(fleet):
    said = fleet[1]
    first, other = sorted(("h4", "h5"), key=lambda host: said.index(f"fatal: [{host}]"))
    lines = of(said, first)
    assert lines[2:4] == ["    It does not answer.", "    Check the log, and start it."]
    before = lines[lines.index(f"    What ran before it on {first}:") + 1 :]
    assert [re.sub(r" +\d+\.\d s", "", line).split() for line in before] == [
        ["changed", "walk", "|", "Take", "time"],
        ["ok", "rest", "|", "Take", "none"],
        ["ok", "Tell", "all", "the", "same"],
        ["ok", "break", "|", "Reach", "them"],
    ]
    assert of(said, other)[1] == f"    as on {first}"


def test_a_wrong_value_is_named_where_it_stands(fleet):
    lines = of(fleet[1], "h3")
    given = FLEET[: FLEET.index("wrong:")].count("\n") + 1
    # What ansible-core does not know before 2.19.
    assert f"    by what stands at fleet.yml:{given}" in lines or not hasattr(ansible.template, "trust_as_template")
    assert any("'nowhere' is undefined" in line for line in lines)


def test_what_is_censored_says_so(fleet):
    assert any("no_log: true" in line for line in of(fleet[1], "h2"))


def test_failures_are_named_in_the_end(fleet):
    end = fleet[1].rpartition("Took ")[2]
    failed = re.findall(r"(?m)^Failed  (\w+): break \| .* \(fleet\.yml:\d+\)$", end)
    assert sorted(failed) == ["gone", "h1", "h2", "h3", "h4", "h5"]


def test_a_check_is_told_and_differences_lie_below_their_step(project):
    (project / "made").mkdir(exist_ok=True)
    (project / "made" / "file").write_text("old\n")
    status, said = run(project, "make.yml", "--check", "--diff")
    assert status == 0, said
    assert said.startswith("make.yml in check mode: nothing is changed\n")
    lines = said.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  outer: configure"))
    assert lines[start + 1] == "    outer : configure | Write the file"
    assert {"    -old", "    +new"} <= set(lines[start + 2 : start + 8])


def test_a_terminal_shows_what_runs(project):
    (project / "made" / "file").unlink(missing_ok=True)
    status, said = run_on_terminal(project, "make.yml")
    assert status == 0, said
    assert re.search(r"\r\x1b\[K  outer: network  \d+ s\r", said)
    assert re.search(r"\r\x1b\[K  outer: network  \d+ s  Make the network \(\d+ s\)\r", said)
    assert "still:" not in said
    assert "\x1b[0;33m" in said
    screen = "\n".join(left_on_screen(said))
    assert re.search(stepped("outer: configure", "changed"), screen), screen
    assert len(re.findall(r"(?m)^ +outer: network", screen)) == 1


def test_colours_are_what_is_asked_for(project):
    assert "\x1b[0;33m" in run(project, "small.yml", ANSIBLE_FORCE_COLOR="1")[1]
    for name in ("NO_COLOR", "ANSIBLE_NOCOLOR"):
        said = run_on_terminal(project, "small.yml", **{name: "1"})[1]
        assert "note" in said
        assert "\x1b[0;" not in said


def test_verbose_runs_and_ad_hoc_commands_show_everything(project):
    said = run(project, "small.yml", "-v")[1]
    assert "TASK [note | Write it] **" in said
    assert "changed: [localhost] =>" in said
    assert "Took " not in said
    ad_hoc = [str(ANSIBLE / "ansible"), "-i", "inventory.yml", "localhost", "-m", "debug", "-a", "msg=told"]
    result = subprocess.run(ad_hoc, cwd=project, env=environment(), check=True, text=True, capture_output=True)
    assert re.fullmatch(r"localhost \| SUCCESS => *\n +msg: told\n", result.stdout)


def test_make_shows_steps_unless_it_is_told_otherwise():
    def shown(target, *variables, **more):
        result = subprocess.run(
            ["make", "-n", target, *variables],
            cwd=ROOT,
            env=environment(**more),
            check=True,
            text=True,
            capture_output=True,
        )
        return set(re.findall(r"ANSIBLE_STDOUT_CALLBACK=(\S+)", result.stdout))

    for target in ("up", "down"):
        assert shown(target) == {"wharf.registry.steps"}
        assert shown(target, "V=1") == {"ansible.builtin.default"}
    assert shown("up", ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal") == {"ansible.builtin.minimal"}
