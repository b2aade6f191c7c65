#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_onboard
short_description: Bring a host to use registries in one run, with trust, logins and a proof
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Does what M(wharf.registry.registry_client), M(wharf.registry.registry_login) and M(wharf.registry.registry_check)
    do, in this order and in one run on the host. To start a module costs more than most of what modules do, and a fleet
    has many hosts.
  - If a step fails, all that was changed before it is taken back. Files hold what they held, credential helpers keep
    what they kept, and the engine was told. The host is as it was, or has all of it.
  - The role P(wharf.registry.client#role) uses it.
options:
  registries:
    description:
      - The registries, with the options of M(wharf.registry.registry_client). Logins and the check that do not name a
        registry mean the first one.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The registry as it stands in the names of images, C(host) or C(host:port).
        type: str
        required: true
      ca:
        description: The CAs to trust as PEM text. Without it, what is there stays; with an empty string it is removed.
        type: str
      client_cert:
        description: The client certificate that the registry asks for, as PEM text.
        type: str
      client_key:
        description:
          - The key of it, as PEM text. Since root alone can read it then, logins of other accounts are not verified one
            by one.
        type: str
      insecure:
        description: Whether to use the registry without checking who answers.
        type: bool
        default: false
      username:
        description:
          - Name of the user that engines without accounts are logged in as, which are containerd, k3s and RKE2.
          - By default that of the first of O(logins) that is for root and has no O(logins[].credential_helper).
        type: str
      password:
        description: Its password.
        type: str
      plain_http:
        description: Whether the registry has no TLS. It is insecure then, too.
        type: bool
        default: false
  logins:
    description: The logins, one after another, with the options of M(wharf.registry.registry_login).
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry. By default the first of O(registries).
        type: str
      username:
        description: Name of the user. Needs O(logins[].password).
        type: str
      password:
        description: Its password.
        type: str
      user:
        description: The account of the host that is logged in. By default the one that runs the module.
        type: str
      credential_helper:
        description: The helper that keeps the secret; an empty string for the file.
        type: str
      config_path:
        description: The credential file. By default the one that Docker reads for the account.
        type: str
      verify:
        description: Whether to ask the registry.
        type: bool
        default: true
  policies:
    description:
      - Which images are accepted, with the options of M(wharf.registry.registry_client), and the images that prove it.
      - Where the host has Podman, it is made to pull them. A policy that does not hold is an error, and what was done
        is taken back.
    type: list
    elements: dict
    default: []
    suboptions:
      scope:
        description: A registry, a namespace or a repository.
        type: str
        required: true
      accept:
        description: What is accepted of it.
        type: str
        choices: [anything, nothing, signed]
        default: signed
      public_keys:
        description: The public keys, as PEM text.
        type: list
        elements: str
      signed_repository:
        description: The repository that the signatures name, where it is another one.
        type: str
      signed_image:
        description: An image of the scope that is signed, as C(repository:tag). It has to be pulled.
        type: str
      unsigned_image:
        description:
          - An image of the scope that is not signed, as C(repository:tag) or C(repository@digest). Its pull has to be
            refused by the policy.
        type: str
  accounts:
    description:
      - Accounts with engines of their own, rootless Docker or Podman. These are told as well, and prove it by
        O(check), with the login of the account. Its Docker Engine has to run for that.
      - All of it is done by a process that has become the account. O(policies), and the settings of registries for
        Podman, are those of the host. Where the account has a C(registries.conf) of its own, which Podman reads in
        place of the files of the host, they are written for the account as well.
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description: Name of the account. It must exist.
        type: str
        required: true
      engines:
        description: Its engines. By default those that are found, Podman and a Docker Engine that the account runs.
        type: list
        elements: str
        choices: [docker, podman]
  check:
    description:
      - The proof, with the options of M(wharf.registry.registry_check). Without it nothing is proven.
      - Not used with O(state=absent), and not in check mode.
    type: dict
    suboptions:
      registry:
        description: The registry. By default the first of O(registries).
        type: str
      username:
        description:
          - Name of the user. Needs O(check.password). By default the stored login of the account that runs the module.
          - For a user of O(logins) at the same registry, the login that was stored is proven, and O(check.password) is
            not looked at.
        type: str
      password:
        description: Its password.
        type: str
      access:
        description: What the user is meant to be allowed.
        type: str
        choices: [none, pull, push]
        default: none
      image:
        description: The image to pull, or where to push to. Required with V(pull).
        type: str
      engine:
        description:
          - The engine that pulls and pushes. By default V(docker) where it answers, else the first that is there of
            V(podman), V(k3s), V(rke2) and V(containerd).
        type: str
        choices: [containerd, docker, k3s, podman, rke2]
      socket:
        description: The socket of the Docker Engine.
        type: path
        default: /var/run/docker.sock
  state:
    description:
      - With V(absent), the logins are removed, and then the trust. O(check) is passed over.
    type: str
    choices: [absent, present]
    default: present
extends_documentation_fragment:
  - wharf.registry.trust
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - No registry is asked in check mode, since there may be none yet. Neither logins nor O(check) are verified.
  diff_mode:
    support: full
    details:
      - Shows what the three modules show, and no secret.
  idempotent:
    support: full
seealso:
  - module: wharf.registry.registry_client
  - module: wharf.registry.registry_login
  - module: wharf.registry.registry_check
"""

EXAMPLES = r"""
- name: Let this host run what the registry holds
  wharf.registry.registry_onboard:
    registries:
      - host: registry.example.com
        ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
    logins:
      - registry: registry.example.com
        username: runtime
        password: "{{ vault_runtime_password }}"
    check:
      registry: registry.example.com
      username: runtime
      password: "{{ vault_runtime_password }}"
      access: pull
      image: apps/web:1.4.2
  become: true
"""

RETURN = r"""
step:
  description:
    - Where it failed, one of V(trust), V(login), V(policies), V(check) and V(accounts). Empty where it did not.
  type: str
  returned: always
trust:
  description: What M(wharf.registry.registry_client) returns.
  type: dict
  returned: always
logins:
  description: What M(wharf.registry.registry_login) returns, for each login.
  type: list
  elements: dict
  returned: always
policies:
  description:
    - C(scope) of each policy that was proven, and the images that were C(refused) and C(accepted), empty where none was
      named.
  type: list
  elements: dict
  returned: always
accounts:
  description:
    - C(user) of each account of O(accounts), C(changed), C(trust) as M(wharf.registry.registry_client) returns it, and
      in C(checks) what M(wharf.registry.registry_check) returns for each of its engines.
  type: list
  elements: dict
  returned: always
check:
  description: What M(wharf.registry.registry_check) returns.
  type: dict
  returned: always
complete:
  description:
    - Whether all steps were taken. It is V(false) where no engine is there to pull with. Trust is in place then, and is
      read by the engine when it comes; run the module again after that.
  type: bool
  returned: always
rolled_back:
  description: Whether a step failed after something had been changed, which is as it was before now.
  type: bool
  returned: always
unrestored_files:
  description: The files that could not be given back what they held, after a step failed.
  type: list
  elements: str
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
  sample: 0.4
"""

import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import check_timeout
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import (
    CHECK_OPTIONS,
    CONNECTION_OPTIONS,
    LOGIN_OPTIONS,
    TRUST_OPTIONS,
)
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.onboard import Onboarding

STEP_OPTIONS = {"registry": {"type": "str"}, **{name: CONNECTION_OPTIONS[name] for name in ("username", "password")}}
PAIR = [("username", "password")]


def run(module):
    began = time.monotonic()
    onboarding = Onboarding(module.params, module.check_mode)
    failure = None
    try:
        check_timeout(module.params["timeout"])
        onboarding.run()
    except RegistryError as error:
        failure = error
    seconds = round(time.monotonic() - began, 3)
    for warning in dict.fromkeys(onboarding.warnings):
        module.warn(warning)
    if failure is not None:
        module.fail_json(msg=str(failure), seconds=seconds, **onboarding.result)
    module.exit_json(seconds=seconds, diff=onboarding.diffs(), **onboarding.result)


def main():
    registry = {**TRUST_OPTIONS["registries"]["options"], "plain_http": {"type": "bool", "default": False}}
    policy = {
        **TRUST_OPTIONS["policies"]["options"],
        "signed_image": {"type": "str"},
        "unsigned_image": {"type": "str"},
    }
    login = {name: LOGIN_OPTIONS[name] for name in LOGIN_OPTIONS if name != "state"}
    run(
        BaseModule(
            {
                **TRUST_OPTIONS,
                "registries": {**TRUST_OPTIONS["registries"], "options": registry},
                "logins": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {**STEP_OPTIONS, **login},
                    "required_together": PAIR,
                },
                "policies": {**TRUST_OPTIONS["policies"], "options": policy},
                "accounts": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "user": {"type": "str", "required": True},
                        "engines": {"type": "list", "elements": "str", "choices": ["docker", "podman"]},
                    },
                },
                "check": {
                    "type": "dict",
                    "options": {**STEP_OPTIONS, **CHECK_OPTIONS},
                    "required_together": PAIR,
                    "required_if": [("access", "pull", ["image"])],
                },
            }
        )
    )


if __name__ == "__main__":
    main()
