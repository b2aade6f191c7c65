#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _registry_replicas
short_description: Run the replicas of a registry, and exchange them one after another (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the role P(wharf.registry.registry#role). It can change without notice.
  - Writes the configuration of each replica, runs its container, and asks it for what is in the storage, one after
    another. One that does not serve goes back to the image and the configuration that it served with.
options:
  host:
    description: Name of the host, for messages.
    type: str
    required: true
  image:
    description: Name of the image. It must be on the host.
    type: str
    required: true
  replicas:
    description: The replicas.
    type: list
    elements: dict
    required: true
    suboptions:
      container:
        description: The definition, with options of M(community.docker.docker_container).
        type: dict
        required: true
      config:
        description: The text of its configuration.
        type: str
        required: true
      config_path:
        description: The file of its configuration.
        type: path
        required: true
      trust:
        description: Certificates (PEM) of CAs that it trusts besides, for O(replicas[].trust_path).
        type: str
        default: ""
      trust_path:
        description: The file of these certificates; removed where there are none.
        type: path
        required: true
      group:
        description: The group that can read the file.
        type: str
        required: true
      served_path:
        description: The file that keeps what it serves with.
        type: path
        required: true
      socket:
        description: The socket where it answers.
        type: path
        required: true
  network:
    description: Name of the network that the replicas have; made where it is missing. Empty where they have none.
    type: str
    default: ""
  label:
    description: The label that replicas have. Containers with it that are none of O(replicas) are ended.
    type: str
    required: true
  config_label:
    description: The label that tells the configuration of a container.
    type: str
    required: true
  start_timeout:
    description: Seconds that a replica may take to become healthy.
    type: int
    required: true
  stop_timeout:
    description: Seconds that a replica may take to end what it serves.
    type: int
    required: true
  proxy_seconds:
    description: Seconds for which the proxy leaves a replica alone that did not answer.
    type: int
    required: true
  engine_socket:
    description: The socket of the Docker Engine.
    type: path
    default: /var/run/docker.sock
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.full
"""

EXAMPLES = r"""
# See tasks/run.yml of the role registry.
"""

RETURN = r"""
changed_containers:
  description: The names of the containers that were made, exchanged or ended, or would be.
  type: list
  elements: str
  returned: success
"""

import os
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._engine.container_spec import shown_differences
from ansible_collections.wharf.registry.plugins.module_utils._engine.containers import Containers
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_replicas import (
    Replica,
    ReplicaError,
    ReplicaRun,
)
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule

TEXT = {"type": "str", "required": True}
SECONDS = {"type": "int", "required": True}
PATH = {"type": "path", "required": True}
REPLICA_OPTIONS = {
    "container": {"type": "dict", "required": True},
    "config": {"type": "str", "required": True, "no_log": True},
    "config_path": PATH,
    "trust": {"type": "str", "default": ""},
    "trust_path": PATH,
    "group": TEXT,
    "served_path": PATH,
    "socket": PATH,
}
OPTIONS = {
    "host": TEXT,
    "image": TEXT,
    "replicas": {"type": "list", "elements": "dict", "required": True, "options": REPLICA_OPTIONS},
    "network": {"type": "str", "default": ""},
    "label": TEXT,
    "config_label": TEXT,
    "start_timeout": SECONDS,
    "stop_timeout": SECONDS,
    "proxy_seconds": SECONDS,
    "engine_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def beyond(containers, replicas, label, served_path):
    """(names, files) of replicas that are one too many."""
    names = sorted(set(containers.with_label(label)) - {replica.name for replica in replicas})
    folder = os.path.dirname(served_path)
    numbers = [match.group() for match in (re.search(r"[0-9]+$", name) for name in names) if match]
    return names, [os.path.join(folder, f"served-{number}.json") for number in numbers]


def main():
    module = BaseModule(OPTIONS)
    options = module.params
    containers = Containers(options["engine_socket"])
    replicas = [Replica(one, options["config_label"]) for one in options["replicas"]]
    run = ReplicaRun(
        containers,
        replicas,
        options["image"],
        {name: options[name] for name in ("start_timeout", "stop_timeout", "proxy_seconds")},
    )
    try:
        if module.check_mode:
            run.foretell()
        else:
            if options["network"]:
                containers.make_network(options["network"], dict([options["label"].split("=", 1)]))
            run.run()
        names, files = beyond(containers, replicas, options["label"], options["replicas"][0]["served_path"])
        run.end(names, files, module.check_mode)
    except ReplicaError as error:
        module.fail_json(msg=f"{error.name} on {options['host']} {error.message}")
    except RegistryError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(run.changed_containers),
        changed_containers=run.changed_containers,
        diff=shown_differences(run.differences),
    )


if __name__ == "__main__":
    main()
