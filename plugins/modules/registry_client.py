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
  - Puts CAs and client certificates where Docker and Podman read them at each connection, and registries without TLS
    and mirrors of Docker Hub into Docker's C(daemon.json) and Podman's C(registries.conf.d).
  - C(daemon.json) is merged, and not written anew. Every character outside of C(insecure-registries) and
    C(registry-mirrors) stays as it is, and so do other people's entries in those two lists.
  - Before the file is replaced, the engine is asked whether it will take it (C(dockerd --validate), from Engine 23 on;
    for older ones types are checked here), and what is given as a flag as well is refused. Flags are read from the
    running process and from its unit with all drop-ins.
  - After it the engine is reloaded, which stops no container, and asked what it now believes. If it does not come to
    believe the change, all files get back what they held, the engine is reloaded, and the task fails with the words of
    the engine.
  - No engine has to run or to be there. Files that are written for one that is stopped are read when it starts.
options:
  registries:
    description: The registries.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - The registry as it stands in the names of images, C(host) or C(host:port), an IPv6 address in brackets.
          - Upper case is kept, as Docker takes C(Registry.example.com) and C(registry.example.com) for two.
        type: str
        required: true
      ca:
        description:
          - The CAs to trust for this registry as PEM text, one or several, written to C(ca.crt).
          - A text that does not parse, a certificate that is no CA, or CAs of which none is valid now are an error. Of
            several, one that has expired is warned of.
          - Without it, a C(ca.crt) that is there stays; with an empty string it is removed.
        type: str
      client_cert:
        description:
          - The client certificate that the registry asks for, as PEM text with its intermediates, written to
            C(client.cert).
          - Needs O(registries[].client_key). Without both, what is there stays; with two empty strings it is removed.
        type: str
      client_key:
        description: The key of it as PEM text, without a passphrase, written to C(client.key) with the mode 0600.
        type: str
      insecure:
        description:
          - Whether to use the registry without TLS, or with a certificate that nobody vouches for. Whoever stands in
            between can then read passwords and swap images; prefer O(registries[].ca).
          - With V(false), an entry for exactly this registry is removed from the list.
        type: bool
        default: false
  mirrors:
    description:
      - URLs of mirrors of Docker Hub, C(http://) or C(https://) with a host and no path. They come after those that are
        there already. No engine asks them for images of any other registry.
    type: list
    elements: str
    default: []
  state:
    description:
      - With V(present), all that is given is there. With V(absent), it is not, and what is left is as if it had never
        been there; only of a list in C(daemon.json) V([]) stays, since a running engine does not forget a list that is
        not mentioned. Of O(registries) the host is enough then.
      - With V(undone), the files of the record in O(undo_path) get back what they held, and the record goes.
    type: str
    choices: [absent, present, undone]
    default: present
  engines:
    description: The engines to write for. By default those that are installed, or Docker where none is.
    type: list
    elements: str
    choices: [docker, podman]
  daemon_config_path:
    description:
      - Docker's configuration file. By default the one that C(dockerd) was started with, or else
        C(/etc/docker/daemon.json).
    type: path
  certs_dir:
    description:
      - The directory that has one for each registry. By default C(/etc/docker/certs.d) for Docker and
        C(/etc/containers/certs.d) for Podman, or those below C(~/.config) where the module does not run as root.
    type: path
  apply:
    description:
      - How a running engine is told of a change of C(daemon.json). CAs and client certificates need no telling.
      - With V(reload), by SIGHUP. With V(restart), by the same, and by a restart of its service only where that does
        not do. With V(never), not at all.
    type: str
    choices: [never, reload, restart]
    default: reload
  undo_path:
    description:
      - Where to note what each file that is changed held before, for O(state=undone). It can be read by root alone;
        choose a directory that is gone with a reboot, such as C(/run), since keys and passwords may be in it.
      - What a record that is there already says of a file stays.
    type: path
  registry:
    description:
      - This module connects to no registry. O(registry), O(username), O(password), O(ca_path), O(client_cert),
        O(client_key), O(validate_certs), O(plain_http) and O(config_path) do nothing here. They are taken so that they
        can be defaults of the action group.
    type: str
  timeout:
    description: Seconds that the engine may take to answer, and to come to believe a change.
    type: int
    default: 30
extends_documentation_fragment:
  - wharf.registry.connection
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
        C(daemon.json) is never shown. Of O(state=undone) only RV(changed_files) tells.
  idempotent:
    support: full
notes:
  - Docker's files are read by root's engine, and so the module runs as root (C(become)). As another account it serves a
    rootless engine.
  - On Debian and others C(daemon.json) may be missing. It is made when something has to stand in it.
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
  description: Whether the Docker Engine was reloaded, or would be.
  type: bool
  returned: success
restart_needed:
  description:
    - Whether the running Docker Engine does not have what its file says, and was not told, as with O(apply=never).
  type: bool
  returned: success
engine:
  description: What there is of each engine that was written for, after the change.
  type: dict
  returned: success
  contains:
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
undo_pending:
  description: Whether there is a record in O(undo_path) now.
  type: bool
  returned: success
started:
  description: When the module began, in seconds since 1970.
  type: float
  returned: success
"""

import time

from ansible_collections.wharf.registry.plugins.module_utils._http import check_timeout
from ansible_collections.wharf.registry.plugins.module_utils._module import RegistryModule
from ansible_collections.wharf.registry.plugins.module_utils._trust import (
    Docker,
    PodmanFiles,
    Wish,
    diff_of,
    fulfil,
    held_by,
    undo,
)
from ansible_collections.wharf.registry.plugins.module_utils._undo import Record


def find_engines(params):
    """The engines that are asked for, or those that there are. Raises RegistryError."""
    wanted = params["engines"]
    engines = []
    if wanted is None or "docker" in wanted:
        engines.append(Docker(params["timeout"], params["certs_dir"], params["daemon_config_path"]))
    if wanted is None or "podman" in wanted:
        engines.append(PodmanFiles(params["timeout"], params["certs_dir"]))
    if wanted is None:
        # Docker's files can lie there before it comes.
        engines = [engine for engine in engines if engine.installed] or engines[:1]
    return engines


def run(module):
    started = time.time()
    params = module.params
    check_timeout(params["timeout"])
    engines = find_engines(params)
    record = Record(params["undo_path"]) if params["undo_path"] else None
    warnings = []
    if params["state"] == "undone":
        docker = next((engine for engine in engines if engine.name == "docker"), None)
        outcome = undo(record, docker, module.check_mode)
    else:
        wish = Wish(params["registries"], params["mirrors"], params["state"] == "present")
        outcome = fulfil(
            engines,
            wish,
            params["apply"],
            lambda changes: record and changes and record.note(held_by(changes)),
            module.check_mode,
        )
        warnings = wish.warnings
    for warning in dict.fromkeys([*warnings, *outcome.warnings]):
        module.warn(warning)
    before, after = diff_of(engines, outcome.changes)
    module.exit_json(
        changed=bool(outcome.files) or outcome.reloaded,
        changed_files=outcome.files,
        reloaded=outcome.reloaded,
        restart_needed=outcome.restart_needed,
        engine={engine.name: engine.report() for engine in engines},
        undo_pending=bool(record and record.exists),
        started=started,
        diff={"before": before, "after": after},
    )


def main():
    module = RegistryModule(
        {
            "registries": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "host": {"type": "str", "required": True},
                    "ca": {"type": "str"},
                    "client_cert": {"type": "str"},
                    "client_key": {"type": "str", "no_log": True},
                    "insecure": {"type": "bool", "default": False},
                },
            },
            "mirrors": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["absent", "present", "undone"], "default": "present"},
            "engines": {"type": "list", "elements": "str", "choices": ["docker", "podman"]},
            "daemon_config_path": {"type": "path"},
            "certs_dir": {"type": "path"},
            "apply": {"type": "str", "choices": ["never", "reload", "restart"], "default": "reload"},
            "undo_path": {"type": "path"},
            "registry": {"type": "str"},
        },
        required_if=[("state", "undone", ["undo_path"])],
    )
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()
