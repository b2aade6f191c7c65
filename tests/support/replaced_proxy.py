"""A front whose proxy the module `_proxy_replace` runs, by the definitions of the role."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import TYPE_CHECKING

from engine import LABEL, command
from front import ACCOUNT, ROLES, WITH_VARIABLES, Front
from managed import collect, encoded

if TYPE_CHECKING:
    import subprocess

    from managed import Host

MODULE = "_proxy_replace"
USERS = [{"name": "ci", "access": "push"}]
# What the role gives to the module.
PLAY = (
    WITH_VARIABLES
    + """
    found:
      parts: "{{{{ __reverse_proxy_parts }}}}"
      network: "{{{{ __reverse_proxy_holder }}}}"
      network_name: "{{{{ __reverse_proxy_network }}}}"
      counting_files: "{{{{ __reverse_proxy_counting_files }}}}"
      trial_command: "{{{{ __reverse_proxy_trial }}}}"
  tasks:
    - ansible.builtin.debug:
        msg: "{{{{ found }}}}"
"""
)
# What it has learnt of a host by then.
LEARNT = {
    "__reverse_proxy_uid": ACCOUNT,
    "__reverse_proxy_gid": ACCOUNT,
    "__reverse_proxy_socket_gid": ACCOUNT,
    "__reverse_proxy_cgroup_v2": True,
    "__reverse_proxy_migrates": True,
    "__reverse_proxy_blobs": True,
    "__reverse_proxy_keeps_blobs": False,
}


class Proxy(Front):
    """A front whose proxy the module runs."""

    def prepare(self) -> None:
        """The registries, and the definitions of the role."""
        self.instance = f"t{secrets.token_hex(4)}"
        self.options_of_role = {
            "registry_instance": self.instance,
            "reverse_proxy_listen_addresses": ["127.0.0.1"],
            "reverse_proxy_bcrypt_cost": 5,
        }
        self.configure(USERS, **self.options_of_role)
        self.start_replicas()
        image = {"name": self.images["nginx"]}
        self.found = self.play(PLAY.format(roles=ROLES), **LEARNT, reverse_proxy_image_result=image)
        name, _equals, value = LABEL.partition("=")
        definitions = {part["name"]: part["container"] for part in self.found["parts"]}
        definitions["network"] = self.found["network"]
        for definition in definitions.values():
            definition["labels"][name] = value
        self.names = {kind: one["name"] for kind, one in definitions.items()}

    def arguments(self, **changes: object) -> dict[str, object]:
        """The options of the module. changes: its own options, and nginx and auth, keys of the definitions."""
        found = json.loads(json.dumps(self.found))
        for part in found["parts"]:
            part["container"].update(changes.pop(part["name"], {}))
        image = changes.get("image", self.images["nginx"])
        seconds = str(changes.get("start_timeout", 60))
        found["trial_command"][-1] = seconds
        found["trial_command"][found["trial_command"].index(self.images["nginx"])] = image
        return {
            **found,
            "host": "here",
            "image": image,
            "config_directory": str(self.directory / "config"),
            "trial_header": f'header = "Authorization: {self.basic("ci")}"',
            "start_timeout": 60,
            "drain_seconds": 5,
            **changes,
        }

    def begin(self, host: Host, *, check: bool = False, **changes: object) -> subprocess.Popen[str]:
        return host.start(MODULE, self.arguments(**changes), check=check)

    def run(self, host: Host, *, check: bool = False, failed: bool = False, **changes: object) -> dict:
        """One run of the module, which tells no password however it ends."""
        password = self.passwords["ci"]
        hidden = (password, encoded(f"ci:{password}"))
        process = self.begin(host, check=check, **changes)
        return collect(process, {}, failed=failed, secrets=hidden, timeout=300)

    def inspect(self, kind: str) -> dict | None:
        """What the engine knows of network, auth or nginx, or of what is beside it: nginx-next."""
        kind, _dash, beside = kind.partition("-")
        name = self.names[kind] + (f"-{beside}" if beside else "")
        done = command("docker", "inspect", "--type=container", name, check=False)
        return json.loads(done.stdout)[0] if done.returncode == 0 else None

    def ids(self) -> dict[str, str]:
        return {kind: self.inspect(kind)["Id"] for kind in self.names}

    def answers(self) -> bool:
        """Whether a client that logs in is served, by a connection of its own."""
        for _attempt in range(2):
            # A kernel before 5.14 drops connections that an nginx has not taken when it goes.
            with contextlib.suppress(OSError):
                return self.client("ci").ask("GET", "/v2/").status == 200
        return False

    def drains(self, kind: str) -> bool:
        name = self.names[kind]
        return command("docker", "exec", name, "test", "-e", "/tmp/drained", check=False).returncode == 0  # noqa: S108

    def assert_right(self, host: Host, **changes: object) -> None:
        """One of each, and nothing is left to do."""
        assert self.answers()
        assert not self.run(host, **changes)["changed"]
        listed = command("docker", "ps", "--all", f"--filter=name={self.names['nginx']}", "--format={{.Names}}").stdout
        assert sorted(listed.split()) == sorted(self.names.values())

    def configuration(self) -> str:
        return (self.directory / "config" / "nginx" / "nginx.conf").read_text()
