# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container is to be, and what differs from it. Private to this collection.

A definition has the words of community.docker.docker_container, and the engine has its own: `Config`, `HostConfig`.
"""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NANOSECONDS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
# What an engine changes while the container runs.
_LIVE = ("Memory", "MemorySwap", "PidsLimit", "CpuShares", "RestartPolicy")
# More of these than was asked for is a difference: a port that is not wanted any more.
_EXACT = ("PortBindings", "Tmpfs", "Sysctls")
# Engines before 25.0 drop it.
_NOT_COMPARED = ("StartInterval",)


def size(text):
    """Bytes of a size such as 256m. Raises InputError."""
    match = re.fullmatch(r"(\d+)([bkmgt]?)b?", str(text).lower())
    if not match:
        raise InputError(f'"{text}" is no size', "Give a number of bytes, or one with a unit, such as 512m")
    return int(match.group(1)) * _UNITS[match.group(2)]


def nanoseconds(text):
    """Nanoseconds of a time such as 5s. Raises InputError."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", str(text))
    if not match:
        raise InputError(f'"{text}" is no time', "Give a number with a unit, such as 5s")
    return int(match.group(1)) * _NANOSECONDS[match.group(2)]


def _tmpfs(lines):
    return dict(line.split(":", 1) if ":" in line else (line, "") for line in lines)


def _mounts(mounts):
    return [
        {
            "Type": mount.get("type", "bind"),
            "Source": mount["source"],
            "Target": mount["target"],
            "ReadOnly": bool(mount.get("read_only", False)),
        }
        for mount in mounts
    ]


def _ulimits(lines):
    limits = []
    for line in lines:
        name, soft, hard = [*line.split(":"), line.split(":")[-1]][:3]
        limits.append({"Name": name, "Soft": int(soft), "Hard": int(hard)})
    return limits


def _ports(lines):
    """[ADDRESS:]PORT:CONTAINER_PORT; an address of IPv6 is in brackets."""
    bindings = {}
    for line in lines:
        match = re.fullmatch(r"(?:\[?(?P<address>[^\]]*)\]?:)?(?P<port>\d+):(?P<inside>\d+)", str(line))
        if not match:
            raise InputError(f'"{line}" is no published port', "Give PORT:CONTAINER_PORT, with an address before it")
        entry = {"HostIp": match.group("address") or "0.0.0.0", "HostPort": match.group("port")}  # noqa: S104
        bindings.setdefault(f"{match.group('inside')}/tcp", []).append(entry)
    return bindings


def _healthcheck(check):
    return {
        "Test": list(check["test"]),
        "Retries": int(check["retries"]),
        **{
            name: nanoseconds(check[option])
            for name, option in (
                ("Interval", "interval"),
                ("Timeout", "timeout"),
                ("StartPeriod", "start_period"),
                ("StartInterval", "start_interval"),
            )
            if option in check
        },
    }


# Option -> (part of the body, name there, translation).
_OPTIONS = {
    "entrypoint": ("Config", "Entrypoint", list),
    "command": ("Config", "Cmd", list),
    "user": ("Config", "User", str),
    "env": ("Config", "Env", lambda env: [f"{name}={value}" for name, value in env.items()]),
    "stop_signal": ("Config", "StopSignal", str),
    "stop_timeout": ("Config", "StopTimeout", int),
    "healthcheck": ("Config", "Healthcheck", _healthcheck),
    "labels": ("Config", "Labels", dict),
    "groups": ("HostConfig", "GroupAdd", lambda groups: [str(group) for group in groups]),
    "network_mode": ("HostConfig", "NetworkMode", str),
    "published_ports": ("HostConfig", "PortBindings", _ports),
    "sysctls": ("HostConfig", "Sysctls", dict),
    "read_only": ("HostConfig", "ReadonlyRootfs", bool),
    "cap_drop": ("HostConfig", "CapDrop", list),
    "security_opts": ("HostConfig", "SecurityOpt", list),
    "tmpfs": ("HostConfig", "Tmpfs", _tmpfs),
    "mounts": ("HostConfig", "Mounts", _mounts),
    "cpu_shares": ("HostConfig", "CpuShares", int),
    "memory": ("HostConfig", "Memory", size),
    "memory_swap": ("HostConfig", "MemorySwap", size),
    "memory_swappiness": ("HostConfig", "MemorySwappiness", int),
    "pids_limit": ("HostConfig", "PidsLimit", int),
    "ulimits": ("HostConfig", "Ulimits", _ulimits),
    "restart_policy": ("HostConfig", "RestartPolicy", lambda name: {"Name": name}),
    "log": ("HostConfig", "LogConfig", lambda log: {"Type": log["driver"], "Config": dict(log.get("options", {}))}),
}


class Difference:
    """A property of a container that is not as it should be."""

    def __init__(self, name, before, after):
        self.name = name
        self.before = before
        self.after = after

    @property
    def live(self):
        """Whether the engine can change it while the container runs."""
        return self.name in _LIVE


class ContainerSpec:
    """A definition. Raises InputError for one that can't be meant.

    options: name, image, and those of _OPTIONS, which have the names and forms of community.docker.docker_container.
    `log` alone is another one (`driver`, `options`). Those that are None count as not given.
    """

    def __init__(self, options):
        # Before ansible-core 2.19, an expression that gives none is an empty text.
        options = {name: value for name, value in options.items() if value is not None and value != ""}
        self.name = options.pop("name")
        # By its name, or its ID where that may be another one's name by now.
        self.image = options.pop("image", "")
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise InputError(f"{self.name} has unknown options: {', '.join(unknown)}", "Correct its definition")
        self.parts = {"Config": {}, "HostConfig": {}}
        for option, value in options.items():
            part, name, translated = _OPTIONS[option]
            self.parts[part][name] = translated(value)

    def body(self):
        """The body of POST /containers/create."""
        ports = {port: {} for port in self.parts["HostConfig"].get("PortBindings", {})}
        exposed = {"ExposedPorts": ports} if ports else {}
        return {**self.parts["Config"], **exposed, "Image": self.image, "HostConfig": self.parts["HostConfig"]}

    def live(self):
        """The body of POST /containers/NAME/update: all that an engine changes while the container runs."""
        return {name: value for name, value in self.parts["HostConfig"].items() if name in _LIVE}

    @property
    def sources(self):
        """The paths of the host that it mounts."""
        return [mount["Source"] for mount in self.parts["HostConfig"].get("Mounts", []) if mount["Type"] == "bind"]

    @property
    def health_command(self):
        """The command of the health check, or None."""
        test = self.parts["Config"].get("Healthcheck", {}).get("Test", ["NONE"])
        if test[0] == "CMD":
            return test[1:]
        return ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else None

    def differences(self, found, image_id=""):
        """What differs in a container as the engine inspects it. Without image_id, its image is not looked at.

        A container tells its image by name, so that another name of the same image is a difference, too.
        """
        differing = []
        if image_id and (found["Image"], found["Config"].get("Image")) != (image_id, self.image):
            differing.append(Difference("Image", found["Config"].get("Image"), self.image))
        for part, wanted in self.parts.items():
            for name, value in wanted.items():
                before = found[part].get(name)
                if not _holds(before, value) or (name in _EXACT and len(before or {}) > len(value)):
                    differing.append(Difference(name, before, value))
        return differing


def _holds(found, wanted):
    """Whether what the engine says is what was asked for. More entries of a mapping are the image's or the engine's."""
    if isinstance(wanted, dict):
        found = found or {}
        return all(_holds(found.get(name), value) for name, value in wanted.items() if name not in _NOT_COMPARED)
    if isinstance(wanted, list):
        found = found or []
        if wanted and isinstance(wanted[0], dict):
            return len(found) == len(wanted) and all(any(_holds(one, each) for one in found) for each in wanted)
        # The variables of a container are those of its image as well.
        return set(wanted) <= set(found) if wanted and "=" in str(wanted[0]) else list(found) == wanted
    if found is None:
        # What the engine leaves out is off, or empty.
        return not wanted
    return found == wanted


def shown_differences(differences):
    """What a module returns as its diff, of the lists of Difference by container."""
    return [
        {
            "before_header": name,
            "after_header": name,
            "before": {one.name: one.before for one in differing},
            "after": {one.name: one.after for one in differing},
        }
        for name, differing in differences.items()
    ]
