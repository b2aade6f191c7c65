#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _running_images
short_description: See which images run on a host, by their digests (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the role P(wharf.registry.exposure#role). It can change without notice.
  - Asks the Docker Engine, Podman, containerd, k3s and RKE2 of the host, and the engines of accounts. Changes nothing.
options:
  accounts:
    description: Accounts with engines of their own. One that does not exist runs nothing.
    type: list
    elements: str
    default: []
  socket:
    description: Socket of the Docker Engine.
    type: path
    default: /var/run/docker.sock
  timeout:
    description: Seconds in which an engine has to answer.
    type: int
    default: 30
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.info_module
"""

EXAMPLES = r"""
- name: See what runs
  wharf.registry._running_images:
  register: seen
"""

RETURN = r"""
platform:
  description: Platform of the host.
  type: str
  returned: always
  sample: linux/x86_64
containers:
  description: The containers that run.
  type: list
  elements: dict
  returned: always
  contains:
    engine:
      description: Its engine, V(docker), V(podman), V(containerd), V(k3s) or V(rke2).
      type: str
    account:
      description: The account whose engine it is. Empty for those of the host.
      type: str
    container:
      description: Its name. For Kubernetes, namespace, pod and container.
      type: str
    image:
      description: The image by the name that it was started with.
      type: str
      sample: registry.example.com/apps/web:1.4.2
    digests:
      description: Names with digests by which registries know its image. None for one that was built on the host.
      type: list
      elements: str
    since:
      description: When it was made, in UTC. Empty where its engine does not tell it.
      type: str
      sample: "2026-11-30T09:12:44Z"
unknown:
  description: Engines that do not tell what runs, with C(engine), C(account) and the problem, C(said).
  type: list
  elements: dict
  returned: always
"""

import os

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import (
    Account,
    MissingAccountError,
    set_runtime_directory,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import SOCKET
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_images import running_images
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule


def of_account(name, timeout):
    """What runs in the engines of an account."""
    try:
        found = Account(name).do(lambda: running_images(set_runtime_directory(), timeout))
    except MissingAccountError:
        return {"containers": [], "unknown": []}
    except RegistryError as error:
        return {"containers": [], "unknown": [{"engine": "engines", "account": name, "said": str(error).rstrip(".")}]}
    return {kind: [{**one, "account": name} for one in told] for kind, told in found.items()}


def main():
    module = BaseModule(
        {
            "accounts": {"type": "list", "elements": "str", "default": []},
            "socket": {"type": "path", "default": SOCKET},
            "timeout": {"type": "int", "default": 30},
        }
    )
    timeout = module.params["timeout"]
    found = running_images(module.params["socket"], timeout)
    for name in module.params["accounts"]:
        for kind, told in of_account(name, timeout).items():
            found[kind] += told
    module.exit_json(changed=False, platform=f"linux/{os.uname().machine}", **found)


if __name__ == "__main__":
    main()
