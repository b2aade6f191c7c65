#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_client
short_description: Have the container engines of a host trust a registry, or forget it
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Puts CAs and client certificates where Docker, Podman and containerd read them at each connection, and registries
    without TLS and mirrors into Docker's C(daemon.json), Podman's C(registries.conf.d) and containerd's C(hosts.toml).
  - C(daemon.json) is merged, and not written anew. Every character outside of C(insecure-registries) and
    C(registry-mirrors) stays as it is, and so do other people's entries in those two lists.
  - Before the file is replaced, the engine is asked whether it will take it (C(dockerd --validate), from Engine 23 on;
    for older ones types are checked here), and what is given as a flag as well is refused. Flags are read from the
    running process and from its unit with all drop-ins.
  - C(hosts.toml) and C(config.toml) of containerd are edited line by line where they are not made by this module. Each
    line of its own ends with a comment that says so, and one that is replaced is kept in that comment, so that
    O(state=absent) gives both files back as they were. containerd is asked whether it takes the configuration before it
    is replaced.
  - Then the Docker Engine is reloaded, which stops no container, and its active settings are read back. If it did not
    apply the change, all files are restored, the engine is reloaded, and the task fails with the error message of
    the engine.
  - No engine has to run or to be there. Files that are written for one that is stopped are read when it starts.
options:
  state:
    description:
      - V(present) adds the given registries and mirrors. V(absent) removes them, as if they had never
        been there. An emptied list in C(daemon.json) stays as V([]), since a running engine keeps a list that is
        missing from the file. With V(absent), O(registries) needs only the host.
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
      - What can't be foreseen is an engine that refuses a file which passed all checks.
  diff_mode:
    support: full
    details:
      - Shows the two lists of C(daemon.json), Podman's files, and of certificates and keys a digest. What else is in
        C(daemon.json) is never shown.
  idempotent:
    support: full
notes:
  - Docker's files are read by root's engine, and so the module runs as root (C(become)). As another account it serves a
    rootless engine.
  - On Debian and others C(daemon.json) may be missing. It is made when something has to stand in it. One with a byte
    order mark, in UTF-8 or UTF-16, is kept in its encoding where the engine reads that, which is from 23 on.
  - Of a registry that two of Podman's files name, Podman takes the last file alone. Where an entry of this module would
    have no effect, or would end what another file says (that the registry is blocked, has mirrors or is another one in
    truth), the module fails and names that file. For this it reads them with Python 3.11 or later; with an older one
    it warns of files that name the registry.
seealso:
  - module: wharf.registry.registry_login
  - name: dockerd
    description: The configuration file, and which of its settings can be reloaded.
    link: https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
  - name: containers-registries.conf
    description: Podman's configuration of registries.
    link: https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
"""

EXAMPLES = r"""
- name: Trust the CA of the registry, and no other
  wharf.registry.registry_client:
    registries:
      - host: registry.example.com:5000
        ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
  become: true

- name: Ask a mirror for images of Docker Hub
  wharf.registry.registry_client:
    mirrors: [https://mirror.example.com]
  become: true

- name: Show a client certificate
  wharf.registry.registry_client:
    registries:
      - host: registry.example.com
        ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
        client_cert: "{{ lookup('ansible.builtin.file', 'host.crt') }}"
        client_key: "{{ vault_host_key }}"
  become: true

- name: Log containerd of a node of Kubernetes in, and have it ask a mirror for images of quay.io
  wharf.registry.registry_client:
    registries:
      - host: registry.example.com
        ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
        username: runtime
        password: "{{ vault_runtime_password }}"
    upstream_mirrors:
      quay.io: https://registry.example.com/quay.io
    engines: [containerd]
    apply: restart
  become: true

- name: Forget a registry
  wharf.registry.registry_client:
    registries:
      - host: registry.example.com:5000
    state: absent
  become: true
"""

RETURN = r"""
changed_files:
  description: The files that were written or removed, or would be.
  type: list
  elements: str
  returned: success
  sample: [/etc/docker/certs.d/registry.example.com:5000/ca.crt]
reloaded:
  description: Whether an engine was reloaded or restarted, or would be.
  type: bool
  returned: success
restart_needed:
  description:
    - Whether a running engine does not have what its file says, and was not told, as Docker with O(apply=never), or
      containerd without O(apply=restart).
  type: bool
  returned: success
engine:
  description: What there is of each engine that was written for, after the change.
  type: dict
  returned: success
  contains:
    containerd:
      description: containerd.
      type: dict
      returned: where it was written for
      contains:
        installed:
          description: Whether it is there.
          type: bool
          returned: always
        running:
          description: Whether it runs, besides those of Docker, k3s and RKE2.
          type: bool
          returned: always
        version:
          description: Its version.
          type: str
          returned: always
          sample: 2.1.9
        config_path:
          description:
            - The directory of C(hosts.toml) files in its configuration, empty where pulls of Kubernetes use none.
          type: str
          returned: always
          sample: /etc/containerd/certs.d
    k3s:
      description: k3s; RKE2 has the same under V(rke2).
      type: dict
      returned: where it was written for
      contains:
        installed:
          description: Whether it is there.
          type: bool
          returned: always
        running:
          description: Whether one of its services runs.
          type: bool
          returned: always
        restart_needed:
          description: Whether it has to be restarted to use what was written.
          type: bool
          returned: always
        version:
          description: Its version.
          type: str
          returned: always
          sample: v1.31.2+k3s1
    buildkit:
      description: BuildKit, as k3s.
      type: dict
      returned: where it was written for
    docker:
      description: The Docker Engine.
      type: dict
      returned: where it was written for
      contains:
        installed:
          description: Whether there is one, running or not.
          type: bool
          returned: always
        running:
          description: Whether it answers.
          type: bool
          returned: always
        version:
          description: Its version, empty where it does not run.
          type: str
          returned: always
          sample: 26.1.5+dfsg1
        insecure_registries:
          description: The registries and networks that it uses without TLS or a CA, as it reports them itself.
          type: list
          elements: str
          returned: always
          sample: [127.0.0.0/8]
        mirrors:
          description: The mirrors of Docker Hub that it asks, as it reports them itself.
          type: list
          elements: str
          returned: always
        live_restore:
          description: Whether containers outlive a restart of it.
          type: bool
          returned: always
        containers_running:
          description: How many containers run.
          type: int
          returned: always
    podman:
      description: Podman.
      type: dict
      returned: where it was written for
      contains:
        installed:
          description: Whether it is there.
          type: bool
          returned: always
        version:
          description: Its version.
          type: str
          returned: always
          sample: 5.4.2
        crio:
          description: Whether CRI-O is there, which reads the same files.
          type: bool
          returned: always
"""

from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import check_timeout
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_trust import RegistryTrust
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import TRUST_OPTIONS
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule


def run(module):
    check_timeout(module.params["timeout"])
    trust = RegistryTrust(module.params, module.check_mode)
    result = trust.run()
    for warning in trust.warnings:
        module.warn(warning)
    module.exit_json(**result)


def main():
    module = BaseModule(TRUST_OPTIONS)
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()
