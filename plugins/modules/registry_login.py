#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_login
short_description: Log an account in to a container registry, or out of it
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Verifies a user name and a password with the registry, and stores them where Docker or Podman look for them.
    Neither of them has to be installed, and no engine has to run.
  - Nothing is stored that the registry refuses, and what is stored already is verified as well, so that a password
    that was revoked shows.
  - The place is chosen as Docker does it. A helper that C(credHelpers) names for the registry comes first, then that of
    C(credsStore), then the file itself.
  - The file is replaced in one step and locked against other runs. Keys and registries that are not meant, their
    order, the owner and symbolic links stay as they are. A file that does not parse is an error that leaves it as it
    was. So is one that docker would ignore because of something else in it, which is a login of another registry that
    does not decode, or a value of another type than docker's. A file of no bytes is one without settings.
options:
  state:
    description:
      - With V(present), the credentials are stored and verified. Without O(username) and O(password), those that are
        stored are verified, and moved where O(credential_helper) says so.
      - With V(absent), they are removed from the helper and from the file. The registry is not asked, and a
        helper that is not installed any more is warned of.
    type: str
    choices: [absent, present]
    default: present
  credential_helper:
    description:
      - The helper that keeps the secret, by what follows C(docker-credential-) in its program's name, such as
        V(pass) or V(secretservice). It is written to C(credHelpers) for this registry, and a secret that lies in the
        file or in another helper is moved.
      - An empty string keeps the secret in the file, also where C(credsStore) names a helper. Docker then needs an
        empty name in C(credHelpers), which Podman, skopeo and buildah can't read. A warning says so where one of them
        is installed.
      - Without it, the file's own settings decide.
      - Helpers that manage their secrets by themselves (V(ecr-login), V(gcr), V(gcloud), V(acr), V(acr-env),
        V(acr-linux)) are named in C(credHelpers) and left alone otherwise; O(username) and O(password) are not needed.
        So are others that answer that they store nothing. One that has no login for the registry is a failure, unless
        O(verify) is V(false) and no O(username) is given.
      - With O(state=absent), the entry in C(credHelpers) is removed, too, if it names this helper.
    type: str
  verify:
    description:
      - Whether to ask the registry. With V(false), a registry that can't be reached does not matter, and
        RV(verified) is V(false).
    type: bool
    default: true
  user:
    description:
      - The account of the host that is to be logged in. The module must run as root (C(become)); the account needs
        neither a shell nor a right to use sudo.
      - A process that has become this account for good does everything. Root never touches the file, so that a
        symbolic link in the account's home leads no further than the account itself could go. The environment is
        the account's own, with the proxies of the task.
      - By default the account that the module runs as.
      - An account that does not exist is an error. In check mode it is warned of, as something before this task may
        be about to make it; and with O(state=absent) there is nothing left to log out.
    type: str
  config_path:
    description:
      - The credential file. By default the one that Docker reads for this account, C($DOCKER_CONFIG/config.json) or
        C(~/.docker/config.json). With O(user), C(~) is that account's home.
      - A file of the name C(auth.json) is Podman's, as C(~/.config/containers/auth.json), and is written as Podman
        does it. There, and only there, O(registry) may be C(host/namespace), for a login of a part of the registry.
    type: str
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - The registry and the helpers are asked in check mode, too, and nothing is stored. What can't be
        foreseen is a helper that fails only when it is to store, such as V(pass) without a store, or that refuses to
        and is not one of those named in O(credential_helper).
  diff_mode:
    support: full
    details:
      - Shows keys, the user and where the secret lies, and never the secret.
  idempotent:
    support: full
notes:
  - Run it as root with O(user), or as the account that is to be logged in (C(become_user)). Helpers are asked as that
    account, and need a store that works without a terminal.
  - A password is stored as it is given, and not exchanged for an identity token. An identity token that C(docker
    login) has stored for the same user is kept while the registry takes it.
  - Several spellings of one registry in the file, with a scheme or a path as old clients wrote them, become one.
    Upper case is kept, as Docker takes C(Registry.example.com) and C(registry.example.com) for two.
  - A new file has the mode 0600. One that other accounts can read is tightened.
seealso:
  - name: docker login
    description: What this module does as Docker's own command.
    link: https://docs.docker.com/reference/cli/docker/login/
"""

EXAMPLES = r"""
- name: Let the account that runs the builds push
  wharf.registry.registry_login:
    registry: registry.example.com
    username: ci
    password: "{{ vault_ci_password }}"
    user: builder
  become: true

- name: Keep the secret in a password store and not in a file
  wharf.registry.registry_login:
    registry: registry.example.com:5000
    username: ci
    password: "{{ vault_ci_password }}"
    user: builder
    credential_helper: pass
  become: true

- name: Move what is stored into the password store, and check that it still works
  wharf.registry.registry_login:
    registry: registry.example.com
    credential_helper: pass

- name: Let a cloud's helper log in by itself
  wharf.registry.registry_login:
    registry: 123456789012.dkr.ecr.eu-central-1.amazonaws.com
    credential_helper: ecr-login

- name: Log Podman in, for the services of root
  wharf.registry.registry_login:
    registry: registry.example.com
    username: runtime
    password: "{{ vault_runtime_password }}"
    config_path: /root/.config/containers/auth.json

- name: Prepare a host before its registry is there
  wharf.registry.registry_login:
    registry: registry.example.com
    username: runtime
    password: "{{ vault_runtime_password }}"
    verify: false

- name: Log out
  wharf.registry.registry_login:
    registry: registry.example.com
    state: absent
"""

RETURN = r"""
registry:
  description: The registry as image names name it, V(host) or V(host:port).
  returned: success
  type: str
  sample: registry.example.com:5000
username:
  description:
    - The user who is logged in, V(<token>) where a helper keeps an identity token, and empty without a login.
  returned: success
  type: str
  sample: ci
config_path:
  description: Path of the credential file. Empty where O(user) does not exist.
  returned: success
  type: str
  sample: /root/.docker/config.json
stored_in:
  description: Where the secret lies, V(file) or V(helper:NAME), and empty where there is none.
  returned: success
  type: str
  sample: helper:pass
verified:
  description: Whether the registry took the credentials in this run.
  returned: success
  type: bool
"""

from ansible_collections.wharf.registry.plugins.module_utils._client_config.login import Login
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import LOGIN_OPTIONS
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule


def run(module):
    login = Login(module.params, module.check_mode)
    result = login.run()
    for warning in login.warnings:
        module.warn(warning)
    module.exit_json(**result)


def main():
    module = RegistryModule(LOGIN_OPTIONS)
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()
