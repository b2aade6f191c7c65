#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _proxy_replace
short_description: Run the containers of the proxy, and replace them while clients are served (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the role P(wharf.registry.reverse_proxy#role). It can change without notice.
  - Brings the containers of the proxy to their definitions, image and configuration. One that serves is replaced by
    another one beside it, which has to be healthy before the former one ends. If the new one does not serve, the former
    image and configuration come back.
  - A run that was interrupted is finished by the next one.
options:
  host:
    description: Name of the host, for messages.
    type: str
    required: true
  image:
    description: Name of the image. It must be on the host.
    type: str
    required: true
  parts:
    description: The container that checks passwords, and the one that serves, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the part, as its program has it.
        type: str
        required: true
      script:
        description: Path of the program in the container.
        type: path
        required: true
      stop_timeout:
        description: Seconds that the container may take to end what it serves.
        type: int
        required: true
      container:
        description: The definition, with options of M(community.docker.docker_container).
        type: dict
        required: true
  network:
    description: The container that holds the network and the ports, as O(parts[].container).
    type: dict
    required: true
  network_name:
    description: Name of the network.
    type: str
    required: true
  network_labels:
    description: Labels of the network.
    type: dict
    default: {}
  config_directory:
    description: The directory of the configuration.
    type: path
    required: true
  counting_files:
    description: The files of the configuration that have to be loaded where they have changed.
    type: list
    elements: path
    required: true
  files_change:
    description: In check mode, whether one of O(counting_files) is about to change.
    type: bool
    default: false
  trial_command:
    description: The command that tries the image with the configuration.
    type: list
    elements: str
    required: true
  trial_header:
    description: What the command reads from standard input.
    type: str
    required: true
  start_timeout:
    description: Seconds that a container may take to become healthy.
    type: int
    required: true
  drain_seconds:
    description: Seconds that a container which is replaced may take to end what it serves.
    type: int
    required: true
  socket:
    description: The socket of the Docker Engine.
    type: path
    default: /var/run/docker.sock
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.full
"""

EXAMPLES = r"""
# See tasks/run.yml of the role reverse_proxy.
"""

RETURN = r"""
actions:
  description: What was done, or would be, each as the name of the container and the action.
  type: list
  elements: list
  returned: success
network_changed:
  description: Whether the network was made, or started anew.
  type: bool
  returned: success
"""

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._engine.container_spec import (
    ContainerSpec,
    shown_differences,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.containers import Containers
from ansible_collections.wharf.registry.plugins.module_utils._engine.held_network import HeldNetwork
from ansible_collections.wharf.registry.plugins.module_utils._engine.loaded_config import LoadedConfig
from ansible_collections.wharf.registry.plugins.module_utils._engine.proxy_replace import (
    NetworkError,
    Part,
    ProxyReplacement,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.proxy_trial import ProxyError, Trial, TrialError
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule

TEXT = {"type": "str", "required": True}
SECONDS = {"type": "int", "required": True}
PART_OPTIONS = {
    "name": TEXT,
    "script": {"type": "path", "required": True},
    "stop_timeout": SECONDS,
    "container": {"type": "dict", "required": True},
}
OPTIONS = {
    "host": TEXT,
    "image": TEXT,
    "parts": {"type": "list", "elements": "dict", "required": True, "options": PART_OPTIONS},
    "network": {"type": "dict", "required": True},
    "network_name": TEXT,
    "network_labels": {"type": "dict", "default": {}},
    "config_directory": {"type": "path", "required": True},
    "counting_files": {"type": "list", "elements": "path", "required": True},
    "files_change": {"type": "bool", "default": False},
    "trial_command": {"type": "list", "elements": "str", "required": True},
    "trial_header": {"type": "str", "required": True, "no_log": True},
    "start_timeout": SECONDS,
    "drain_seconds": SECONDS,
    "socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def part(options):
    definition = options["container"]
    following = {**definition, "name": f"{definition['name']}-next"}
    specs = ContainerSpec(definition), ContainerSpec(following)
    return Part(options["name"], *specs, options["stop_timeout"], options["script"])


def replacement(options):
    """The run that the options ask for. Raises InputError."""
    holder = ContainerSpec(options["network"])
    return ProxyReplacement(
        Containers(options["socket"]),
        [part(one) for one in options["parts"]],
        HeldNetwork(options["network_name"], options["network_labels"], holder),
        image=options["image"],
        loaded=LoadedConfig(options["config_directory"], options["counting_files"]),
        trial=Trial(options["trial_command"], options["trial_header"]),
        limits={name: options[name] for name in ("start_timeout", "drain_seconds")},
    )


def explained(error, options):
    """What a user is told of an error."""
    host = options["host"]
    if isinstance(error, TrialError):
        tried = f"{options['image']} with the configuration of this run"
        return f"nginx as {host} was to run it, {tried}, {error.message}"
    if isinstance(error, ProxyError):
        return f"{options['parts'][-1]['container']['name']} on {host} {error.message}"
    if isinstance(error, NetworkError):
        holder = options["network"]["name"]
        return (
            f"{holder} on {host}, which has the ports of the registry, can't be started, and no client can connect. "
            "Correct reverse_proxy_listen_addresses and the ports, and run this again. "
            f"The engine said: {error.message}"
        )
    return str(error)


def main():
    module = BaseModule(OPTIONS)
    options = module.params
    with module.errors_explained():
        run = replacement(options)
    try:
        if module.check_mode:
            run.foretell(options["files_change"])
        else:
            run.run()
    except RegistryError as error:
        module.fail_json(msg=explained(error, options), actions=run.actions)
    module.exit_json(
        changed=bool(run.actions),
        actions=run.actions,
        network_changed=run.network_changed,
        diff=shown_differences(run.differences),
    )


if __name__ == "__main__":
    main()
