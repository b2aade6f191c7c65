"""The role address on two hosts with systemd and nginx: keepalived of Debian 12 and 13, and a client that polls."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import random
import re
import shlex
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import hosts
import pytest
import yaml
from certificates import Authority
from engine import LABEL, RUN, command, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Machine

# They run roles, and wait for failovers.
pytestmark = pytest.mark.long

IMAGES = ("trixie-docker", "bookworm-docker")
NAME = "registry.test"
UNIT = "wharf-registry-address"
CERTIFICATES = "/etc/wharf-registry/certificate"
# What is promised, and asserted as such: a machine that is too busy to tell in time fails this.
FAILOVER = 5
# For a proxy that takes connections and says nothing.
HANG = 12
# How long a host that returns has to be healthy here.
RETURN = 4
PLAY = [
    {
        "hosts": "registry",
        "gather_subset": ["min"],
        "tasks": [{"ansible.builtin.include_role": {"name": "wharf.registry.{{ role }}", "tasks_from": "{{ entry }}"}}],
    }
]
NGINX = f"""
user www-data;
pid /run/nginx.pid;
events {{}}
http {{
    access_log off;
    server {{
        listen 443 ssl;
        listen [::]:443 ssl;
        ssl_certificate {CERTIFICATES}/server.crt;
        ssl_certificate_key {CERTIFICATES}/server.key;
        location = /healthz {{ if (-f /run/sick) {{ return 503; }} return 200 $hostname; }}
    }}
}}
"""
PREPARE = """
    apt-get -qq update > /dev/null
    apt-get -qq install --no-install-recommends nginx-light > /dev/null
    systemctl disable --now nginx docker.service docker.socket 2> /dev/null
    mkdir -p /etc/wharf-registry/certificate
"""
# What check mode must not change.
STATE = """
    find /etc /usr/local /usr/sbin /var/lib/systemd -printf '%p %y %m %u %g %s %T@\\n' | sort
    dpkg-query --show
    systemctl list-units --all --plain --no-legend 'wharf*'
"""
# Healthy until the check has seen it, and then sick until it has seen that.
TURN = f"""
    said() {{ journalctl --unit {UNIT} --output cat | grep -c "now returning $1" || true; }}
    healthy=$(said 0)
    sick=$(said 1)
    rm /run/sick
    while [ $(said 0) -le $healthy ]; do sleep 0.1; done
    touch /run/sick
    while [ $(said 1) -le $sick ]; do sleep 0.1; done
"""


@dataclasses.dataclass
class Pair:
    """Two hosts, the network that they are in, and how roles run on them."""

    network: str
    machines: list[Machine]
    addresses: list[str]
    sixes: list[str]
    vips: list[str]
    ca: Path
    folder: Path
    image: str

    def play(
        self, *options: str, role: str = "address", entry: str = "main", fails: bool = False, **variables: object
    ) -> str:
        done = command(
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(self.folder / "hosts.yml"), str(self.folder / "play.yml"), "--diff", *options),
            *("-e", json.dumps({"role": role, "entry": entry, **variables})),
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    def holders(self) -> dict[str, list[str]]:
        """Which hosts have each virtual address, by their names."""
        found: dict[str, list[str]] = {vip: [] for vip in self.vips}
        for machine in self.machines:
            said = machine.run("ip -json address show", check=False).stdout
            for link in json.loads(said or "[]"):
                for one in link.get("addr_info", []):
                    if one.get("local") in found:
                        found[one["local"]].append(machine.name)
        return found

    def settled(self) -> dict[str, list[str]]:
        """Each host has the address that it prefers, IPv4 and IPv6."""
        names = [machine.name for machine in self.machines]
        return {vip: [names[number % 2]] for number, vip in enumerate(self.vips)}

    def settle(self) -> None:
        wait_for("each host has its own address", lambda: self.holders() == self.settled(), seconds=60)

    def cable(self, machine: Machine, state: str) -> None:
        """Pull the cable of a host, or plug it in: this machine's end of it goes down or up."""
        name = self.interface(machine)
        index = machine.output(f"cat /sys/class/net/{name}/iflink").strip()
        script = f"ip link set dev $(ip -oneline link | sed -n 's/^{index}: \\([^@:]*\\).*/\\1/p') {state}"
        options = ("--rm", "--network=host", "--cap-add=NET_ADMIN", "--pull=never", f"--label={LABEL}")
        command("docker", "run", *options, self.image, "/bin/sh", "-ec", script)

    def interface(self, machine: Machine) -> str:
        """The one in the network."""
        found = machine.output(f"ip -json address show to {self.addresses[self.machines.index(machine)]}")
        return json.loads(found)[0]["ifname"]

    def plug(self, machine: Machine) -> None:
        """Give a host its interface in the network."""
        number = self.machines.index(machine)
        addresses = (f"--ip={self.addresses[number]}", f"--ip6={self.sixes[number]}")
        command("docker", "network", "connect", *addresses, self.network, machine.container)

    def ask(self, vip: str) -> tuple[int, str]:
        """What an address answers, and which host that is."""
        context = ssl.create_default_context(cafile=str(self.ca))
        with (
            socket.create_connection((vip, 443), 0.5) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as secured,
        ):
            secured.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry.test\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := secured.recv(4096):
                answer += part
        if not answer.startswith(b"HTTP/1.1 "):
            # A connection that an address has left.
            raise ConnectionError(answer)
        return int(answer.split()[1]), answer.rpartition(b"\r\n")[2].decode()


class Poll:
    """A client that asks a virtual address every 0.1 s, who it is that answers."""

    def __init__(self, pair: Pair, vip: str) -> None:
        self.answers: list[tuple[float, str]] = []
        self._pair = pair
        self._vip = vip
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for("the address answers", lambda: self.answers)
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(0.1):
            with contextlib.suppress(OSError):
                status, name = self._pair.ask(self._vip)
                if status == 200:
                    self.answers.append((time.monotonic(), name))

    def last(self) -> str:
        return self.answers[-1][1]

    def gap(self) -> float:
        """The longest time without an answer."""
        times = [moment for moment, _name in self.answers]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def moves(self) -> int:
        """How often another host has answered than the one before."""
        names = [name for _moment, name in self.answers]
        return sum(one != other for one, other in itertools.pairwise(names))


@pytest.fixture(scope="module")
def network(session: None) -> Iterator[tuple[str, str, str]]:
    """A network with IPv4 and IPv6, of its own: its hosts get their addresses back."""
    name = f"wharf-address-{RUN.name}"
    for _attempt in range(20):
        number = random.randrange(1 << 16)  # noqa: S311
        four, six = f"10.{number >> 8}.{number & 255}", f"fd00:{number:x}:1:"
        subnets = (f"--subnet={four}.0/24", "--ipv6", f"--subnet={six}:/64")
        if command("docker", "network", "create", f"--label={LABEL}", *subnets, name, check=False).returncode == 0:
            break
    else:
        raise AssertionError("no network can be made")
    yield name, four, six
    command("docker", "network", "rm", name, check=False)


@pytest.fixture(scope="module")
def pair(
    images: dict[str, str], network: tuple[str, str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("address")
    name, four, six = network
    machines = list(hosts.start(images, IMAGES).values())
    made = Pair(
        name,
        machines,
        [f"{four}.11", f"{four}.12"],
        [f"{six}:11", f"{six}:12"],
        [f"{four}.101", f"{four}.102", f"{six}:101", f"{six}:102"],
        folder / "ca" / "ca.crt",
        folder,
        images[IMAGES[0]],
    )
    authority = Authority(folder / "ca", "ca")
    made.ca = Path(authority.certificate)
    server = authority.issue("server", (NAME,))
    for machine in machines:
        made.plug(machine)
    hosts.wait(dict(zip(IMAGES, machines, strict=True)))
    with concurrent.futures.ThreadPoolExecutor() as preparing:
        list(preparing.map(lambda machine: prepare(machine, made.ca, server), machines))
    inventory = {
        "registry": {
            "hosts": {
                machine.name: {
                    "ansible_connection": "community.docker.docker",
                    "ansible_host": machine.container,
                    "ansible_python_interpreter": "/usr/bin/python3",
                }
                for machine in machines
            },
            "vars": {
                "registry_hostname": NAME,
                "registry_address": "vip",
                "registry_address_vips": made.vips,
                "registry_address_return_seconds": RETURN,
            },
        }
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY))
    yield made
    # The network goes after the hosts.
    command("docker", "rm", "--force", "--volumes", *(machine.container for machine in machines))


def prepare(machine: Machine, ca: Path, server: object) -> None:
    machine.run(PREPARE)
    files = {
        f"{CERTIFICATES}/ca.crt": ca.read_text(),
        f"{CERTIFICATES}/server.crt": Path(server.certificate).read_text(),
        f"{CERTIFICATES}/server.key": Path(server.key).read_text(),
        "/etc/nginx/nginx.conf": NGINX,
    }
    for path, text in files.items():
        machine.run(f"printf %s {shlex.quote(text)} > {path}")
    machine.run("systemctl start nginx")


def changes(said: str) -> list[int]:
    return [int(found) for found in re.findall(r"changed=(\d+)", said)]


def transitions(machine: Machine) -> list[str]:
    """The states that its instances have entered, in their order."""
    said = machine.output(f"journalctl --unit {UNIT} --output cat --no-pager")
    return re.findall(r"\((wharf-registry-\d)\) Entering (\w+) STATE", said)


def states(pair: Pair) -> list[str]:
    return [machine.output(STATE) for machine in pair.machines]


@pytest.fixture(scope="module")
def held(pair: Pair) -> Pair:
    """The role has run, in check mode first."""
    before = states(pair)
    said = pair.play("--check")
    assert all(count > 0 for count in changes(said)), said
    assert states(pair) == before
    said = pair.play()
    # The control node does not know the name.
    assert f"{NAME} has no address for the control node" in said
    return pair


def test_it_changes_nothing_twice(held):
    held.settle()
    for options in (["--check"], []):
        assert changes(held.play(*options)) == [0, 0]
    assert held.holders() == held.settled()


def test_nginx_dies(held):
    """Its address is served by the other host, and goes back once, after the time that was set."""
    held.settle()
    first, second = held.machines
    before = len(transitions(first))
    with Poll(held, held.vips[0]) as poll:
        first.run("systemctl kill --signal=KILL nginx")
        wait_for("the other host answers", lambda: poll.last() == second.name, seconds=20)
        assert poll.gap() <= FAILOVER, poll.gap()
        first.run("systemctl restart nginx")
        wait_for("it returns", lambda: poll.last() == first.name, seconds=30)
        held.settle()
    print(f"nginx dead: {poll.gap():.2f} s")
    assert poll.moves() == 2
    # For IPv4 and IPv6: gone once, come back once.
    assert [state for _instance, state in transitions(first)[before:]] == ["BACKUP"] * 2 + ["MASTER"] * 2


def test_a_host_that_is_healthy_by_turns_gets_no_address(held):
    held.settle()
    first, second = held.machines
    with Poll(held, held.vips[0]) as poll:
        first.run("touch /run/sick")
        wait_for("the other host answers", lambda: poll.last() == second.name, seconds=20)
        for _turn in range(3):
            first.run(TURN)
        assert poll.moves() == 1
        first.run("rm /run/sick")
        wait_for("it returns", lambda: poll.last() == first.name, seconds=60)


def test_a_proxy_that_is_late_keeps_its_address_and_one_that_hangs_does_not(held):
    held.settle()
    first, second = held.machines
    with Poll(held, held.vips[0]) as poll:
        first.run("pkill -STOP -x nginx; sleep 4; pkill -CONT -x nginx")
        wait_for("the check has seen it", lambda: healthy(first))
        assert poll.moves() == 0
    with Poll(held, held.vips[0]) as poll:
        first.run("pkill -STOP -x nginx")
        try:
            wait_for("the other host answers", lambda: poll.last() == second.name, seconds=60)
        finally:
            first.run("pkill -CONT -x nginx")
        print(f"nginx hangs: {poll.gap():.2f} s")
        assert poll.gap() <= HANG
        held.settle()


def healthy(machine: Machine) -> bool:
    """Whether what is said of the check last, if anything is, is that it has found a registry."""
    said = machine.output(f"journalctl --unit {UNIT} --output cat --no-pager")
    return (re.findall(r"Script `registry` now returning (\d)", said) or ["0"])[-1] == "0"


def test_the_storage_of_all_is_gone(held):
    """No host is healthy: the addresses stay, and clients get an answer."""
    held.settle()
    for machine in held.machines:
        machine.run("touch /run/sick")
    try:
        wait_for("both are seen as sick", lambda: not any(healthy(machine) for machine in held.machines))
        wait_for("each address is held once", lambda: all(len(names) == 1 for names in held.holders().values()))
        before = held.holders(), [transitions(machine) for machine in held.machines]
        # Longer than a failover takes.
        time.sleep(FAILOVER)
        assert (held.holders(), [transitions(machine) for machine in held.machines]) == before
        assert [held.ask(vip)[0] for vip in held.vips[:2]] == [503, 503]
    finally:
        for machine in held.machines:
            machine.run("rm /run/sick")
    held.settle()


def test_the_cable_is_pulled(held):
    held.settle()
    first, second = held.machines
    with Poll(held, held.vips[0]) as poll:
        held.cable(first, "down")
        wait_for("the other host answers", lambda: poll.last() == second.name, seconds=20)
        print(f"cable: {poll.gap():.2f} s")
        assert poll.gap() <= FAILOVER
        held.cable(first, "up")
        held.settle()
        wait_for("it returns", lambda: poll.last() == first.name, seconds=30)
    assert poll.gap() <= FAILOVER, poll.gap()
    assert poll.moves() == 2


@pytest.mark.parametrize("number", [0, 1])
def test_the_interface_goes_and_comes_back(held, number):
    """As a network card that is reset, or a bond that is made anew: another interface, with the name of the former."""
    held.settle()
    machine, other = held.machines[number], held.machines[1 - number]
    name = held.interface(machine)
    with Poll(held, held.vips[number]) as poll:
        command("docker", "network", "disconnect", held.network, machine.container)
        wait_for("the other host answers", lambda: poll.last() == other.name, seconds=20)
        print(f"interface gone: {poll.gap():.2f} s")
        assert poll.gap() <= FAILOVER
        held.plug(machine)
        # The engine counts on, where udev gives a card its name again.
        new = held.interface(machine)
        if new != name:
            six = f"{held.sixes[number]}/64"
            machine.run(f"ip link set {new} down; ip link set {new} name {name}; ip link set {name} up")
            machine.run(f"ip address replace {six} dev {name} nodad")
        held.settle()
        wait_for("it returns", lambda: poll.last() == machine.name, seconds=30)
    assert poll.moves() == 2


def test_a_host_keeps_its_own_address(held):
    """Also where that comes after the virtual one: the kernel removes all addresses of a network with the first."""
    held.settle()
    first, second = held.machines
    name = held.interface(first)
    own = f"{held.addresses[0]}/24"
    first.run(f"ip address delete {own} dev {name}; ip address add {own} dev {name}")
    held.settle()
    with Poll(held, held.vips[0]) as poll:
        first.run("touch /run/sick")
        wait_for("the other host answers", lambda: poll.last() == second.name, seconds=20)
        first.run("rm /run/sick")
        assert held.interface(first) == name
        held.settle()


def test_the_host_dies(held):
    """It stops to run at once, as one that has no power, and goes on."""
    held.settle()
    first, second = held.machines
    with Poll(held, held.vips[0]) as poll:
        command("docker", "pause", first.container)
        try:
            wait_for("the other host answers", lambda: poll.last() == second.name, seconds=20)
        finally:
            command("docker", "unpause", first.container)
        print(f"host dead: {poll.gap():.2f} s")
        assert poll.gap() <= FAILOVER
        held.settle()


def test_it_is_stopped_in_order(held):
    held.settle()
    first, second = held.machines
    with Poll(held, held.vips[0]) as poll:
        first.run(f"systemctl stop {UNIT}")
        wait_for("the other host answers", lambda: poll.last() == second.name, seconds=20)
        print(f"ordered: {poll.gap():.2f} s")
        first.run(f"systemctl start {UNIT}")
        held.settle()
        wait_for("it returns", lambda: poll.last() == first.name, seconds=30)
    assert poll.gap() <= FAILOVER
    assert poll.moves() == 2


def test_keepalived_is_killed(held):
    """The address is on one host in the end, not on both."""
    held.settle()
    first, _second = held.machines
    with Poll(held, held.vips[0]) as poll:
        before = len(transitions(first))
        first.run(f"systemctl kill --signal=KILL {UNIT}")
        wait_for("it has them again", lambda: transitions(first)[before:].count("MASTER") >= 2, seconds=60)
        held.settle()
    assert poll.gap() <= FAILOVER


def test_another_configuration_moves_nothing(held):
    held.settle()
    before = [transitions(machine) for machine in held.machines]
    with Poll(held, held.vips[0]) as poll:
        said = held.play(registry_address_return_seconds=RETURN + 1)
        assert changes(said) == [2, 2], said
        held.play()
        # Longer than it takes until an address is lost.
        time.sleep(FAILOVER)
    assert poll.moves() == 0
    assert [transitions(machine) for machine in held.machines] == before


def test_what_can_not_be_is_refused(held):
    """Before anything is changed."""
    vips = held.vips
    gateway = re.sub(r"\.101$", ".1", vips[0])
    for variables, says in (
        ({"registry_address_vips": [f"{gateway}/24"]}, "and that is none of the group registry"),
        ({"registry_address_vips": ["192.0.2.10/24"]}, "which is in no network of any interface"),
        ({"registry_address_interface": "eth7"}, "registry_address_interface is eth7, which trixie-docker has not"),
        ({"reverse_proxy_listen_addresses": vips[:2]}, "reverse_proxy_listen_addresses lacks"),
        ({"reverse_proxy_listen_addresses": [*vips, "127.0.0.1"]}, "set net.ipv4.ip_nonlocal_bind"),
    ):
        said = held.play(entry="preflight", fails=True, **variables)
        assert says in " ".join(said.split()), said
        assert changes(said) == [0, 0]
    # The other host is asked all the same, and nothing is another configuration.
    first, _second = held.machines
    assert changes(held.play("--limit", first.name)) == [0]


def test_the_port_of_a_virtual_address_is_that_of_its_holder(held):
    """The role reverse_proxy looks whether its ports are free, and a peer may serve at a virtual address already."""
    held.settle()
    first, second = held.machines
    options = {
        "role": "reverse_proxy",
        "entry": "preflight",
        "reverse_proxy_users": [{"name": "ci", "password": "geheim"}],
    }
    listens = [], [*held.vips[:2], f"[{held.vips[2]}]", held.vips[3], held.addresses[0]]
    first.run("systemctl stop nginx")
    wait_for("the other host has all", lambda: all(names == [second.name] for names in held.holders().values()))
    for listen in listens:
        held.play("--limit", first.name, reverse_proxy_listen_addresses=listen, **options)
    first.run("systemctl start nginx")
    held.settle()
    for listen in listens:
        said = held.play("--limit", first.name, fails=True, reverse_proxy_listen_addresses=listen, **options)
        assert f"Port 443 of {first.name} is in use" in " ".join(said.split()), said


def test_teardown(held):
    """The last one: nothing is left but the package, and the addresses go."""
    held.settle()
    before = states(held)
    said = held.play("--check", entry="teardown")
    assert all(count > 0 for count in changes(said)), said
    assert (states(held), held.holders()) == (before, held.settled())
    held.play(entry="teardown")
    for options in (["--check"], []):
        assert changes(held.play(*options, entry="teardown")) == [0, 0]
    paths = (
        f"/etc/systemd/system/{UNIT}.service /etc/wharf-registry/keepalived.conf /usr/local/lib/wharf-registry/address"
    )
    for machine in held.machines:
        assert machine.run(f"ls -d {paths} 2> /dev/null; getent passwd wharf-address", check=False).stdout == ""
    assert not any(held.holders().values())
