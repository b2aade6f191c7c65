# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: instance_names
short_description: What the parts of a registry are called on its host
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - All names of one instance, so that several registries on one host share none. Those of the instance V(wharf) begin
    with C(wharf-), those of V(staging) with C(wharf-staging-).
options:
  _input:
    description: The name of the instance, V(registry_instance) of the roles.
    type: string
    required: true
"""

EXAMPLES = r"""
- name: Check the proxy of this instance
  community.docker.docker_container_info:
    name: "{{ (registry_instance | wharf.registry.instance_names).proxy }}"
"""

RETURN = r"""
_value:
  description: The names.
  type: dict
  contains:
    registry:
      description: Account and group of the replicas. The names of their containers are this, a hyphen and a number.
      type: str
    proxy:
      description:
        - Account, group, container and network of the proxy. Its other containers have this, a hyphen and what they do.
      type: str
    proxy_unit:
      description: Unit that starts the proxy in its network.
      type: str
    maintenance:
      description: Unit of the garbage collection, and its directory below C(/run).
      type: str
    backup:
      description: Unit, command and directories of the backup.
      type: str
    mirror:
      description: Unit and directories of the mirror.
      type: str
    mirror_account:
      description: Account and group of the mirror.
      type: str
    mirror_cache:
      description: Unit of the caches of other registries.
      type: str
    mirror_cache_account:
      description: Account and group of the caches of other registries.
      type: str
    exposure:
      description: Unit and directories of the exposure.
      type: str
    page:
      description: Unit of the program that keeps the data of the page up to date, and its directory below C(/var/lib).
      type: str
    metrics:
      description: Unit and directories of the program that counts requests and measures the registry.
      type: str
    metrics_account:
      description: Account and group of that program.
      type: str
    address:
      description: Unit and directories of what holds the virtual addresses.
      type: str
    address_account:
      description: Account and group of its check.
      type: str
    label:
      description: What the labels of the containers begin with.
      type: str
    programs:
      description: Directory of the programs that the roles install.
      type: str
    config_directory:
      description: Default of V(registry_config_directory).
      type: str
    data_directory:
      description: Default of V(registry_data_directory).
      type: str
    certificate_directory:
      description: Default of V(certificate_directory).
      type: str
    proxy_config_directory:
      description: Default of V(reverse_proxy_config_directory).
      type: str
"""

import re

from ansible.errors import AnsibleFilterError

_DEFAULT = "wharf"
# An account has at most 32 characters, and the longest is wharf-INSTANCE-registry.
_RULE = re.compile(r"[a-z](?:[a-z0-9-]{0,14}[a-z0-9])?\Z")


def instance_names(instance):
    if not isinstance(instance, str) or not _RULE.match(instance):
        raise AnsibleFilterError(
            f'registry_instance is "{instance}". Give a name of at most 16 lower-case letters, digits and hyphens, the '
            "first a letter and the last no hyphen, such as staging."
        )
    prefix = _DEFAULT if instance == _DEFAULT else f"{_DEFAULT}-{instance}"
    registry = f"{prefix}-registry"
    config = f"/etc/{registry}"
    return {
        "registry": registry,
        "proxy": f"{prefix}-proxy",
        "proxy_unit": f"{registry}-proxy",
        "maintenance": f"{registry}-maintenance",
        "backup": f"{registry}-backup",
        "mirror": f"{registry}-mirror",
        "mirror_account": f"{prefix}-mirror",
        "mirror_cache": f"{registry}-mirror-cache",
        "mirror_cache_account": f"{prefix}-cache",
        "exposure": f"{registry}-exposure",
        "page": f"{registry}-page",
        "metrics": f"{registry}-metrics",
        "metrics_account": f"{prefix}-metrics",
        "address": f"{registry}-address",
        "address_account": f"{prefix}-address",
        "label": f"registry.{prefix}",
        "programs": f"/usr/local/lib/{registry}",
        "config_directory": config,
        "data_directory": f"/var/lib/{registry}",
        "certificate_directory": f"{config}/certificate",
        "proxy_config_directory": f"{config}/proxy",
    }


class FilterModule:
    def filters(self):
        return {"instance_names": instance_names}
