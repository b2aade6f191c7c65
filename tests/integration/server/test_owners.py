"""What tasks do as root where another account owns the directory never leads out of it, whatever is planted there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from engine import command, run_container

if TYPE_CHECKING:
    from collections.abc import Callable

# The number that the data has, of an account that is no more.
FORMER = 4711
BLOBS = "docker/registry/v2/blobs/sha256/ab"
REPOSITORIES = "docker/registry/v2/repositories"
VERIFIED = f"{REPOSITORIES}/wharf-verify"
# In a directory of each case: a storage, and what lies outside of it.
PREPARE = f"""
    mkdir -p data/{BLOBS}/abc data/{REPOSITORIES}/app/_manifests outside/deep/wharf-verify/_manifests
    echo layer > data/{BLOBS}/abc/data
    echo secret > outside/secret
    echo link > outside/deep/wharf-verify/_manifests/link
    install --mode=4755 /bin/true outside/tool
    chmod 0600 outside/secret
    chmod 0700 outside/deep
"""
OUTSIDE = "find outside -printf '%p %y %U:%G %m %s\\n' | sort"
# As the role makes it: it has nothing to change.
ACCOUNT = ("--system", "--user-group", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin")
# What the account that owns the storage may have left there, all in one: what is passed over has its former owner.
PLANTED = {
    "a link in place of the whole tree": "rm -r data/docker; ln -s ../outside data/docker",
    "links, and a FIFO": f"""
        ln -s $PWD/outside/secret data/{BLOBS}/abc/to-a-file
        ln -s $PWD/outside data/{BLOBS}/to-a-directory
        ln -s ../../../../../../../../outside/deep data/{REPOSITORIES}/app/_manifests/climbs
        ln -s $PWD/outside/tool data/{BLOBS}/abc/to-a-program-that-runs-as-root
        ln -s ../outside data/one; ln -s one/deep data/two; ln -s ../two data/docker/by-links
        ln -s circle data/circle; ln -s .. data/docker/circle-by-a-directory
        ln -s /nowhere data/{BLOBS}/nowhere
        mkfifo data/{BLOBS}/abc/link
    """,
}
# The same, on the way to what a verification leaves.
LED = {
    "no link": f"mkdir data/{VERIFIED}; touch data/{VERIFIED}/link",
    "nothing": "true",
    "the directory of all": f"mv data/{REPOSITORIES} data/kept; ln -s $PWD/outside/deep data/{REPOSITORIES}",
    "a link that climbs": f"rm -r data/{REPOSITORIES}; ln -s ../../../../outside/deep data/{REPOSITORIES}",
    "the top": "mkdir -p outside/registry/v2; ln -s ../../deep outside/registry/v2/repositories; rm -r data/docker; "
    "ln -s ../outside data/docker",
    "the repository itself": f"ln -s $PWD/outside/deep data/{VERIFIED}",
    "what is in it": f"mkdir data/{VERIFIED}; ln -s $PWD/outside data/{VERIFIED}/evil",
}
# Directories and links take each other's place all the time.
SWAP = """
import os
while True:
    for number in range(200):
        os.rename(f"data/{number}/real", f"data/{number}/kept")
        os.symlink("../../outside", f"data/{number}/real")
        os.unlink(f"data/{number}/real")
        os.rename(f"data/{number}/kept", f"data/{number}/real")
"""


@pytest.fixture(scope="module")
def machine(images: dict[str, str]) -> str:
    """A container in which tasks run as root."""
    container = run_container(images["clients"], network="none")
    # The cases of a play, at once, would be in each other's way as they make it.
    command("docker", "exec", container, "useradd", *ACCOUNT, "wharf-registry")
    return container


class Cases:
    """Storages of one host, each with what was planted in it, in a directory of its own."""

    def __init__(self, machine: str, directory: Path, planted: dict[str, str]) -> None:
        self.machine = machine
        self.directory = directory
        self.names = list(planted)
        for name, script in planted.items():
            self.run(name, PREPARE + script)
        self.before = self.outside()

    def place(self, name: str) -> str:
        return f"/srv/{self.directory.name}/{self.names.index(name)}"

    def run(self, name: str, script: str) -> str:
        """Run shell code as root in the directory of a case."""
        place = self.place(name)
        script = f"mkdir -p {place}; cd {place}; {script}"
        return command("docker", "exec", self.machine, "/bin/sh", "-euc", script).stdout

    def give(self, owner: str) -> None:
        for name in self.names:
            self.run(name, f"chown --recursive --no-dereference {owner}:{owner} data")

    def outside(self) -> dict[str, str]:
        return {name: self.run(name, OUTSIDE) for name in self.names}

    def play(self, role: str, tasks: str) -> dict[str, str]:
        """Run tasks of a role for all cases; return what came of each, by the recap."""
        include = {"name": f"wharf.registry.{role}", "tasks_from": tasks}
        play = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": include}]}
        hosts = {f"case{self.names.index(name)}": {"registry_data_directory": self.place(name)} for name in self.names}
        variables = {
            "ansible_connection": "community.docker.docker",
            "ansible_host": self.machine,
            "ansible_python_interpreter": "/usr/bin/python3",
            "registry_hostname": "registry.test",
            "client_ca_host": "{{ inventory_hostname }}",
        }
        (self.directory / "play.yml").write_text(yaml.safe_dump([play]))
        (self.directory / "hosts.yml").write_text(yaml.safe_dump({"cases": {"hosts": hosts, "vars": variables}}))
        files = (f"--inventory={self.directory / 'hosts.yml'}", str(self.directory / "play.yml"))
        said = command(str(Path(sys.executable).with_name("ansible-playbook")), *files, check=False).stdout
        # For the report of a failure.
        print(said)
        recap = said.rpartition("PLAY RECAP")[2]
        return {name: re.search(rf"case{number} +: (.*)", recap)[1] for number, name in enumerate(self.names)}


@pytest.fixture
def cases(machine: str, tmp_path: Path) -> Callable[[dict[str, str]], Cases]:
    return lambda planted: Cases(machine, tmp_path, planted)


def test_data_of_another_owner_becomes_the_accounts_own_and_nothing_else(cases: Callable[..., Cases]) -> None:
    found = cases(PLANTED)
    found.give(str(FORMER))
    done = found.play("registry", "host")
    assert found.outside() == found.before
    assert not {name: recap for name, recap in done.items() if "changed=0" in recap or "failed=0" not in recap}
    for name in PLANTED:
        assert found.run(name, "find data ! -user wharf-registry -o ! -group wharf-registry") == "", name
    # It is done once.
    assert not {name: recap for name, recap in found.play("registry", "host").items() if "changed=0" not in recap}


@pytest.mark.long
def test_a_directory_that_becomes_a_link_meanwhile(cases: Callable[..., Cases]) -> None:
    many = "for at in $(seq 0 199); do mkdir -p data/$at/real; touch data/$at/real/secret data/$at/real/tool; done"
    found = cases({f"swapping {number}": many for number in range(2)})
    found.give(str(FORMER))
    for name in found.names:
        found.run(name, f"python3 -c {shlex.quote(SWAP)} > /dev/null 2>&1 & echo $! > swapping")
    try:
        found.play("registry", "host")
    finally:
        for name in found.names:
            found.run(name, "kill $(cat swapping)")
    assert found.outside() == found.before


def test_what_a_verification_leaves_is_removed_and_nothing_else(cases: Callable[..., Cases]) -> None:
    found = cases(LED)
    found.give("wharf-registry")
    before = found.outside()
    done = found.play("client", "clean")
    assert found.outside() == before
    assert "failed=0" in done["no link"] and "failed=0" in done["nothing"], done
    # Its directory is left: the collection takes one without any for a storage that is not mounted.
    for case in ("no link", "what is in it"):
        assert found.run(case, f"ls data/{REPOSITORIES}; ls -A data/{VERIFIED}") == "app\nwharf-verify\n"
    assert found.run("the repository itself", f"ls data/{REPOSITORIES}") == "app\n"
