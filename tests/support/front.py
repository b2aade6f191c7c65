"""The proxy of the role reverse_proxy before two registries, as the role runs them, by the templates of the role.

What the tests ask goes through the proxy; what really happened is asked of a registry, by its socket.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import yaml
from certificates import NAMES, Authority
from engine import bridge_address, command, free_ports, last_words, run_container, wait_for
from http_client import Client, SocketConnection
from managed import encoded
from paths import ROOT
from role_config import role_configs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = ROOT / "roles"
# The containers' account: root's nginx would run its workers as the user nobody, for which it has no capability here.
ACCOUNT = os.getuid() or 64321
REPLICAS = (1, 2)
DIRECTORIES = (
    *("config/nginx/tls", "config/auth", "network", "sockets", "auth", "storage", "looked-at", "registry"),
    *("cache/served", "log", "page", "metrics", "blob-cache"),
)
# Where the containers see them; the role's own values.
VARIABLES = yaml.safe_load((ROLES / "reverse_proxy" / "vars" / "main.yml").read_text())
INSIDE = VARIABLES["__reverse_proxy_inside"]
# What the proxy writes is memory, in places of their own.
OWNED = f"mode=0700,uid={ACCOUNT},gid={ACCOUNT}"
MEMORY = tuple(
    f"--tmpfs={mount.replace('{{ __reverse_proxy_owned }}', OWNED)}"
    for mount in VARIABLES["__reverse_proxy_memory_mounts"]
    if "__reverse_proxy_owned" in mount
)

# A play on this host with the variables of the role, up to those of its own.
WITH_VARIABLES = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{roles}/reverse_proxy/defaults/main.yml, {roles}/reverse_proxy/vars/main.yml]
  vars:
"""
# Renders what tasks/configure.yml of the role writes, without a host to write it to. It is said and not written: a task
# that runs a module takes as long as all of the rendering.
PLAY = (
    WITH_VARIABLES
    + """
    found:
      version: "{version}"
      processors: 2
      storage: true
      access: "{{{{ __reverse_proxy_access }}}}"
      passwords: "{{{{ passwords[0] }}}}"
      former_passwords: "{{{{ passwords[1] }}}}"
    proxy: "{{{{ __reverse_proxy_options | wharf.registry._proxy_model(__reverse_proxy_constants, found) }}}}"
    templates: {roles}/reverse_proxy/templates
    rules: "{{{{ templates }}}}/connections.rules.j2"
    rendered:
      config/auth/htpasswd.former: "{{{{ passwords[1] }}}}"
      config/auth/htpasswd: "{{{{ passwords[0] }}}}"
      config/auth/auth.conf: "{{{{ lookup('template', templates ~ '/auth.conf.j2') }}}}"
      config/nginx/nginx.conf: "{{{{ lookup('template', templates ~ '/nginx.conf.j2') }}}}"
      network/iptables.rules: "{{{{ lookup('template', rules, template_vars={{'tool': 'iptables'}}) }}}}"
      network/ip6tables.rules: "{{{{ lookup('template', rules, template_vars={{'tool': 'ip6tables'}}) }}}}"
  tasks:
    # Once, since each evaluation has salts of its own.
    - ansible.builtin.set_fact:
        passwords:
          - "{{{{ reverse_proxy_users | wharf.registry.htpasswd(before[0], reverse_proxy_bcrypt_cost | int) }}}}"
          - "{{{{ reverse_proxy_users | wharf.registry.htpasswd_former(before[0], before[1])
            if reverse_proxy_keep_former_passwords | bool else '' }}}}"
    - ansible.builtin.debug:
        msg: "{{{{ rendered }}}}"
"""
)
# Those that were rendered before are what the role reads of a host.
PASSWORDS = ("config/auth/htpasswd", "config/auth/htpasswd.former")


class Front:
    """The proxy, its check of passwords and the registries behind it, in a directory of their own."""

    # Where its replicas keep images, and the network by which they reach that.
    driver: ClassVar[dict] = {"filesystem": {"rootdirectory": INSIDE["storage"]}}
    network = "none"

    def __init__(self, directory: Path, images: dict[str, str]) -> None:
        self.directory = directory
        self.images = images
        # The other one is that of the mirror of Docker Hub, where there is one.
        self.port, self.docker_port = free_ports(2)
        self.containers: dict[str, str] = {}
        self.passwords: dict[str, str] = {}
        self.options: dict[str, object] = {}
        # Of the replicas.
        self.http_secret = secrets.token_hex(16)
        # Where blobs of an object storage are kept, and by which names containers reach it.
        self.blob_cache = f"--volume={directory / 'blob-cache'}:{INSIDE['blob_cache']}"
        self.hosts: dict[str, str] = {}
        for name in DIRECTORIES:
            (directory / name).mkdir(parents=True)
        authority = Authority(directory / "ca", "ca")
        self.ca = authority.certificate
        self.authority = authority
        # Where hosts of the lab reach it.
        self.outside = f"{bridge_address()}:{self.port}"
        pair = authority.issue("server", (*NAMES, bridge_address()))
        shutil.copy(pair.certificate, directory / "config" / "nginx" / "tls" / "server.crt")
        shutil.copy(pair.key, directory / "config" / "nginx" / "tls" / "server.key")
        self.context = ssl.create_default_context(cafile=self.ca)

    # ---- start and stop ----------------------------------------------------------------------------------------------

    def configure(self, users: list[dict], **options: object) -> None:
        """Render the configuration; users get a password each, which they keep, where they bring none."""
        for user in users:
            user.setdefault("password", self.passwords.get(user["name"]) or secrets.token_urlsafe(12))
        self.passwords = {user["name"]: user["password"] for user in users}
        self.options = {name: value for name, value in options.items() if name != "registry"}
        variables = {
            "registry_hostname": "localhost",
            "registry_port": self.port,
            "reverse_proxy_users": users,
            "reverse_proxy_config_directory": str(self.directory / "config"),
            "reverse_proxy_socket_directory": str(self.directory / "sockets"),
            "reverse_proxy_storage_directory": str(self.directory / "storage"),
            "reverse_proxy_replicas": len(REPLICAS),
            "before": [self.content(name) for name in PASSWORDS],
            **options,
        }
        if "reverse_proxy_client_ca" in options:
            (self.directory / "config" / "nginx" / "client-ca.crt").write_text(options["reverse_proxy_client_ca"])
        if authority := options.get("registry_s3", {}).get("ca"):
            for place in ("config/nginx/s3-ca.crt", "registry/s3-ca.pem"):
                (self.directory / place).write_text(authority)
        # The order of several hosts is that of the inventory.
        (self.directory / "vars.yml").write_text(yaml.safe_dump(variables, sort_keys=False))
        rendered = self.play(PLAY.format(roles=ROLES, version=self.version()))
        # In their order, as the role does: the former passwords first, which are those that are about to be replaced.
        for name, text in rendered.items():
            new = self.directory / f"{name}.new"
            new.write_text(text)
            new.rename(self.directory / name)
        for name in ("auth", "nginx"):
            shutil.copy(ROLES / "reverse_proxy" / "files" / "nginx.sh", self.directory / "config" / name)
        self.give_away()

    def play(self, text: str, **variables: object) -> dict:
        """Run a play on this host, with the variables of the configuration and more; return what its last task says."""
        (self.directory / "play.yml").write_text(text)
        done = command(
            *("env", "ANSIBLE_STDOUT_CALLBACK=ansible.posix.json"),
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory=localhost,",
            f"--extra-vars=@{self.directory / 'vars.yml'}",
            f"--extra-vars={json.dumps({'ansible_python_interpreter': sys.executable, **variables})}",
            str(self.directory / "play.yml"),
        )
        return json.loads(done.stdout)["plays"][0]["tasks"][-1]["hosts"]["localhost"]["msg"]

    def content(self, name: str) -> str:
        """The text of a file, empty where there is none."""
        path = self.directory / name
        return path.read_text() if path.exists() else ""

    def version(self) -> str:
        """What nginx says of itself; asked of the image once."""
        kept = self.directory / "version"
        if not kept.exists():
            done = command("docker", "run", "--rm", "--network=none", "--entrypoint=nginx", self.images["nginx"], "-v")
            kept.write_text(re.search(r"[0-9.]+", done.stderr).group())
        return kept.read_text()

    def give_away(self) -> None:
        """Let the containers' account have all that it writes or reads."""
        if os.getuid() != ACCOUNT:
            for path in (self.directory, *self.directory.rglob("*")):
                with contextlib.suppress(FileNotFoundError):
                    os.chown(path, ACCOUNT, ACCOUNT, follow_symlinks=False)

    def start(self) -> None:
        """Start all of it and wait until it answers."""
        self.start_replicas()
        self.start_proxy()

    def start_replicas(self) -> None:
        """Start the registries."""
        storage, network = self.storage()
        for replica in REPLICAS:
            settings = {
                "version": 0.1,
                # What reaches it is read there.
                "log": {"level": "warn"},
                "storage": storage,
                "http": {
                    "net": "unix",
                    "addr": f"{INSIDE['sockets']}/registry-{replica}.sock",
                    "secret": self.http_secret,
                    "relativeurls": True,
                },
            }
            (self.directory / "registry" / f"config-{replica}.yml").write_text(yaml.safe_dump(settings))
        self.give_away()
        for replica in REPLICAS:
            self.containers[f"registry-{replica}"] = run_container(
                self.images["registry"],
                "-c",
                f"umask 0007 && exec registry serve /etc/wharf-registry/config-{replica}.yml",
                options=(
                    "--entrypoint=/bin/sh",
                    *self.shut_in({"registry": "/etc/wharf-registry:ro"}),
                    *self.mounts({"storage": INSIDE["storage"], "sockets": INSIDE["sockets"]}),
                    "--env=SSL_CERT_FILE=/etc/wharf-registry/s3-ca.pem",
                    *(f"--add-host={name}:{address}" for name, address in self.hosts.items()),
                ),
                network=network,
            )

    def storage(self) -> tuple[dict, str]:
        """What the registries are told of it, and the network that they need for it."""
        if self.options.get("registry_storage") == "s3":
            (made,) = role_configs(
                self.directory, **{name: self.options[name] for name in ("registry_storage", "registry_s3")}
            )
            return made["storage"], "bridge"
        settings = {
            **self.driver,
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        }
        return settings, self.network

    def start_proxy(self) -> None:
        """Start the proxy and its check of passwords, and wait until all of it answers."""
        self.containers["auth"] = run_container(
            self.images["nginx"],
            f"{INSIDE['config']}/auth/nginx.sh",
            "start",
            "auth",
            options=(
                "--entrypoint=/bin/sh",
                "--cpu-shares=512",
                *self.shut_in({"config/auth": f"{INSIDE['config']}/auth:ro"}),
                *self.mounts({"auth": INSIDE["auth"]}),
            ),
            network="none",
        )
        self.containers["proxy"] = run_container(
            self.images["nginx"],
            f"{INSIDE['config']}/nginx/nginx.sh",
            "start",
            "nginx",
            options=(
                "--entrypoint=/bin/sh",
                f"--publish=127.0.0.1:{self.port}:{INSIDE['https']}",
                f"--publish={self.outside}:{INSIDE['https']}",
                *self.mirror_ports(),
                "--ulimit=nofile=16384:16384",
                "--memory=1g",
                *MEMORY,
                self.blob_cache,
                *self.shut_in({"config/nginx": f"{INSIDE['config']}/nginx:ro"}),
                *self.mounts(
                    {
                        "sockets": INSIDE["sockets"],
                        "auth": INSIDE["auth"],
                        "storage": f"{INSIDE['storage']}:ro",
                        "looked-at": INSIDE["looked_at"],
                        "cache/served": f"{INSIDE['cache']}:ro",
                        "log": INSIDE["log"],
                        "page": f"{INSIDE['page']}:ro",
                        "metrics": f"{INSIDE['metrics']}:ro",
                    }
                ),
            ),
            network="bridge",
        )
        self.limit()
        try:
            wait_for("the proxy answers", self.healthy)
            wait_for("passwords are asked for", self.asking)
            for replica in REPLICAS:
                wait_for("a replica listens", lambda replica=replica: self.socket(replica).exists())
        except AssertionError as error:
            said = "\n".join(f"{name}:\n{last_words(container)}" for name, container in self.containers.items())
            raise AssertionError(f"{error}\n{said}") from None

    def mirror_ports(self) -> tuple[str, ...]:
        if not self.options.get("reverse_proxy_cache_docker_port"):
            return ()
        addresses = ("127.0.0.1", self.outside.partition(":")[0])
        return tuple(f"--publish={one}:{self.docker_port}:{INSIDE['docker_mirror']}" for one in addresses)

    def limit(self) -> None:
        """Count connections by address in the network of the proxy, as proxy-network does there."""
        # By the engine, so that an account that may use it is enough.
        load = "for tool in iptables ip6tables; do $tool-restore /rules/$tool.rules; done"
        command(
            *("docker", "run", "--rm", "--pull=never", "--user=0", "--cap-drop=ALL", "--cap-add=NET_ADMIN"),
            f"--network=container:{self.containers['proxy']}",
            *self.mounts({"network": "/rules:ro"}),
            *("--entrypoint=/bin/sh", self.images["clients"], "-ec", load),
        )

    def shut_in(self, mounts: dict[str, str]) -> tuple[str, ...]:
        return (
            f"--user={ACCOUNT}:{ACCOUNT}",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges:true",
            "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m,mode=1777",
            *self.mounts(mounts),
        )

    def mounts(self, mounts: dict[str, str]) -> tuple[str, ...]:
        return tuple(f"--volume={self.directory / name}:{target}" for name, target in mounts.items())

    def stop(self) -> None:
        """Remove what was started."""
        if self.containers:
            command("docker", "rm", "--force", "--volumes", *self.containers.values())
            self.containers = {}

    def reload(self) -> None:
        """Load the configuration as the handlers of the role do, and wait until it is served."""
        for name, config in (("auth", "auth"), ("proxy", "nginx")):
            nginx = ("docker", "exec", self.containers[name], "sh", f"{INSIDE['config']}/{config}/nginx.sh")
            command(*nginx, "test", config)
            before = self.workers(name)
            command(*nginx, "load", config)
            # The former ones are told to go once the new ones are there, and take connections until then.
            wait_for("workers of another generation", lambda name=name, before=before: self.anew(name, before))
        wait_for("the proxy answers", self.healthy)

    def workers(self, name: str) -> set[str]:
        """The processes that take new connections."""
        listed = command("docker", "top", self.containers[name], "-o", "pid,args").stdout.splitlines()[1:]
        return {line.split()[0] for line in listed if "worker process" in line and "shutting down" not in line}

    def anew(self, name: str, before: set[str]) -> bool:
        """Whether there are workers, and none of those takes new connections that were there before."""
        now = self.workers(name)
        return bool(now) and not now & before

    def change(self, users: list[dict], **options: object) -> None:
        """Another configuration, loaded."""
        self.configure(users, **options)
        self.reload()

    def healthy(self) -> bool:
        """What the engine asks, within the container: networks that are not served hear nothing else of it."""
        health = "curl --fail --silent --insecure --unix-socket /tmp/front.sock https://localhost/healthz"
        return command("docker", "exec", self.containers["proxy"], *health.split(), check=False).returncode == 0

    def asking(self) -> bool:
        """Whether those who check passwords are there."""
        return all((self.directory / "auth" / f"{kind}.sock").exists() for kind in ("auth", "suspects"))

    # ---- ask ---------------------------------------------------------------------------------------------------------

    def basic(self, user: str, password: str | None = None) -> str:
        """The header of a user, with the right password where none is given."""
        return f"Basic {encoded(f'{user}:{self.passwords[user] if password is None else password}')}"

    def client(
        self, user: str | None = None, password: str | None = None, context: ssl.SSLContext | None = None
    ) -> Client:
        """A connection to the proxy; without credentials if no user is given."""
        context = context or self.context
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=context)
        return Client(connection, None if user is None else self.basic(user, password))

    def docker_connection(self) -> http.client.HTTPSConnection:
        """A connection to the mirror of Docker Hub."""
        return http.client.HTTPSConnection("localhost", self.docker_port, timeout=30, context=self.context)

    def socket(self, replica: int = 1) -> Path:
        return self.directory / "sockets" / f"registry-{replica}.sock"

    def registry(self, replica: int = 1) -> Client:
        """A connection to a replica, past the proxy."""
        return Client(SocketConnection(self.socket(replica)))

    def answers(self, replica: int) -> bool:
        """Whether a replica is there, past the proxy."""
        try:
            return self.registry(replica).ask("GET", "/v2/").status == 200
        except OSError:
            return False

    def raw(self, text: bytes, seconds: float = 3) -> bytes:
        """Send bytes as they are by TLS, and read until the server ends or says nothing more."""
        said = b""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as plain,
            self.context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(text)
            end = time.monotonic() + seconds
            with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
                while time.monotonic() < end and (piece := connection.recv(65536)):
                    said += piece
        return said

    def log(self) -> str:
        """What the proxy has logged."""
        done = command("docker", "logs", self.containers["proxy"])
        return done.stdout + done.stderr

    def seen_as(self) -> str:
        """The address by which the proxy knows these tests."""
        path = f"/{secrets.token_hex(8)}"
        self.client().ask("GET", path)
        wait_for("a line of the log", lambda: path in self.log())
        line = next(line for line in self.log().splitlines() if path in line)
        return json.loads(line)["address"]


@contextlib.contextmanager
def running(
    directory: Path,
    images: dict[str, str],
    users: list[dict],
    *,
    kind: type[Front] = Front,
    hosts: dict[str, str] | None = None,
    blob_cache: str = "",
    **options: object,
) -> Iterator[Front]:
    """A front with these users and these options of the role, stopped in the end."""
    front = kind(directory, images)
    front.hosts.update(hosts or {})
    front.blob_cache = blob_cache or front.blob_cache
    try:
        front.configure(users, **options)
        front.start()
        yield front
    finally:
        front.stop()
