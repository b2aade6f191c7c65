"""A container with the real clients of registries, where modules run beside them, as root and as an ordinary user."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from typing import TYPE_CHECKING

from engine import command, run_container
from managed import TREE, Host

if TYPE_CHECKING:
    from pathlib import Path

USER = "deployer"
HOME = f"/home/{USER}"


@dataclasses.dataclass(frozen=True)
class Box:
    """An account of the container."""

    container: str
    user: str

    @property
    def home(self) -> str:
        return "/root" if self.user == "root" else HOME

    @property
    def host(self) -> Host:
        """Where modules run."""
        return Host(
            python="python3",
            prefix=("docker", "exec", "--interactive", f"--user={self.user}", self.container),
            tree="/managed",
            env={"HOME": self.home, "PYTHONPYCACHEPREFIX": f"/var/cache/python/{self.user}"},
        )

    def run(
        self, script: str, *, stdin: str = "", check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run shell code. What is secret goes in on `stdin`, never into `script` or `env`."""
        settings = [f"--env={key}={value}" for key, value in {"HOME": self.home, **(env or {})}.items()]
        return command(
            "docker",
            "exec",
            "--interactive",
            f"--user={self.user}",
            f"--workdir={self.home}",
            *settings,
            self.container,
            "/bin/sh",
            "-euc",
            script,
            stdin=stdin,
            check=check,
        )

    def output(self, script: str, **options: object) -> str:
        return self.run(script, **options).stdout.strip()

    def read(self, path: str) -> str:
        return self.run(f"cat {shlex.quote(path)}").stdout

    def write(self, path: str, text: str) -> None:
        """Write a private file, in directories that are made where they are missing."""
        quoted = shlex.quote(path)
        self.run(f'umask 077; mkdir -p "$(dirname {quoted})"; cat > {quoted}', stdin=text)

    def stat(self, path: str) -> tuple[str, str]:
        """The owner and the mode of a file."""
        owner, mode = self.output(f"stat --format='%U %a' {shlex.quote(path)}").split()
        return owner, mode


def start(image: str, ca: Path, read_only: Path) -> str:
    """Start the container: it trusts nothing yet, and /full is small, and /read-only is what its name says."""
    container = run_container(
        image,
        options=(
            "--init",
            "--hostname=clients",
            "--add-host=registry.test:127.0.0.1",
            # Podman unpacks layers, for which it mounts.
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--tmpfs=/full:size=64k,mode=1777",
            "--tmpfs=/run",
            # The managed tree is read-only, and each account keeps its bytecode here.
            "--tmpfs=/var/cache/python:mode=1777",
            f"--volume={TREE}:/managed:ro",
            f"--volume={read_only}:/read-only:ro",
            f"--volume={ca}:/ca.crt:ro",
        ),
    )
    root = Box(container, "root")
    root.run(
        f"""
        useradd --create-home --shell /bin/sh {USER}
        install -d -o {USER} -g {USER} -m 0700 /run/user/$(id -u {USER})
        mkdir -p /etc/containers
        cat > /etc/containers/storage.conf
        # One account is enough for Podman here, and more need programs that would have to be set-user-ID.
        : > /etc/subuid
        : > /etc/subgid
        """,
        # What Podman keeps images in without mounting anything.
        stdin='[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers"\n',
    )
    return container
