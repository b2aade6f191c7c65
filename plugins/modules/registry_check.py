#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_check
short_description: Check that a host gets through to a container registry, by a real pull or push of its own engine
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Walks the way to a registry hop by hop as a client does, and fails at the first hop that breaks, with what to do.
  - The hops are C(name) (its addresses), C(connection) (TCP), C(TLS), C(registry) (which must send the anonymous to a
    login), C(credentials), and those of O(access).
  - With O(access=pull) these are C(upload refused), C(engine), C(pull) and C(digest); with O(access=push) they are
    C(engine), C(push), C(pull) and C(digest). The engine of the host itself pulls and pushes, with its own trust in the
    registry and by its own proxies.
  - With O(access=image) they are C(image), C(engine), C(pull) and C(digest), and with O(access=reach) C(engine) and
    C(reach). O(require_push) puts C(upload allowed) before the others.
  - Common mistakes are recognised, and have names. See RV(mistake).
  - Leaves neither image nor login on the host. An image that was there before stays, with its names.
options:
  access:
    description:
      - What the user is meant to be allowed.
      - V(none) looks no further than to the credentials, and needs no engine.
      - V(reach) has the engine ask for O(image), which need not be there. That it is told so shows that it gets
        through.
      - V(image) looks whether the registry has O(image) for the platform of this host, with all its parts, and then
        pulls it. Where it is not there, the answer says what is. It is no matter whether the user could push, too.
      - V(pull) pulls O(image). A user that could push fails the check, at C(upload refused).
      - V(push) pushes a tiny image that is made on the spot, and pulls it back by its digest. The image of a host is
        the same each time, so that the registry does not grow.
    type: str
    choices: [none, reach, image, pull, push]
    default: none
  image:
    description:
      - For O(access=pull) and O(access=image), the image to pull, as C(repository[:tag][@digest]). Required there.
      - For O(access=push), where to push to, as C(repository[:tag]). What the tag held before is replaced. By default
        it is the repository C(wharf-verify) and a tag with the short name of the host.
    type: str
  require_push:
    description:
      - Whether the user must be let begin an upload to the repository of O(image), with O(access=image) and
        O(access=push), which is the hop C(upload allowed). The upload is cancelled. A user who may push elsewhere only
        is told so by it.
    type: bool
    default: false
  accounts:
    description:
      - Accounts of this host whose own logins are shown to the registry, where O(username) is not given. The engine
        takes that of the first. By default it is the account that runs the module.
      - Another account than that takes root.
    type: list
    elements: str
    default: []
  storage:
    description:
      - Directories of which RV(seen) is to tell how full their disks are.
    type: list
    elements: path
    default: []
  engine:
    description:
      - The engine that pulls and pushes. By default V(docker) where it answers on O(socket), else
        the first that is there of V(podman), V(k3s), V(rke2) and V(containerd).
      - Podman does so for the account that runs the module.
    type: str
    choices: [containerd, docker, k3s, podman, rke2]
  socket:
    description:
      - The socket of the Docker Engine.
    type: path
    default: /var/run/docker.sock
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Walks only the hops that change nothing anywhere, which are those of O(access=none). RV(verified) is V(false)
        then, save for O(access=none).
  diff_mode:
    support: N/A
    details:
      - Leaves nothing on the host that could differ.
  idempotent:
    support: full
    details:
      - Is never changed.
notes:
  - The engine takes the login from this module, and not O(ca_path), O(validate_certs), O(client_cert), O(client_key)
    and O(plain_http), which are for the hops up to C(upload refused). Let the engine trust the registry before, see
    M(wharf.registry.registry_client).
  - For the engine, O(timeout) is how long a pull or a push may go without any progress, not how long it may take.
  - A registry that requires no login is a warning, not a failure.
seealso:
  - module: wharf.registry.registry_login
  - module: wharf.registry.registry_push
"""

EXAMPLES = r"""
- name: Check that a build host can push, and get back what it pushed
  wharf.registry.registry_check:
    registry: registry.example.com
    username: ci
    password: "{{ vault_ci_password }}"
    access: push

- name: Check that a host can pull what it runs with the login that it has, and can push nothing
  wharf.registry.registry_check:
    registry: registry.example.com
    access: pull
    image: apps/web:1.4.2
    engine: podman

- name: Ask each host how far it gets, and go on
  wharf.registry.registry_check:
    registry: registry.example.com
  register: way
  failed_when: false

- name: Look why an image can't be had
  wharf.registry.registry_check:
    registry: registry.example.com
    accounts: [builder]
    access: image
    image: apps/web:1.4.2

- name: Show the hop that breaks
  ansible.builtin.debug:
    msg: "{{ way.failed_hop | default('none', true) }}: {{ way.cure }}"
"""

RETURN = r"""
hops:
  description: The hops that were walked, in their order. Where one failed, it is the last.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the hop.
      type: str
      sample: TLS
    ok:
      description: Whether it works.
      type: bool
    seconds:
      description: How long it took.
      type: float
    said:
      description: What was found, or what went wrong.
      type: str
    cure:
      description: What to do about it. Empty where the hop works.
      type: str
    mistake:
      description: As RV(mistake), of this hop.
      type: str
failed_hop:
  description: Name of the hop that failed. Empty where none did, and where the options themselves are at fault.
  returned: always
  type: str
  sample: upload refused
cure:
  description: What to do about it. Empty where there is nothing to do.
  returned: always
  type: str
mistake:
  description:
    - Name of the mistake that was recognised. Empty where none was.
    - Of the way, V(no_such_name), V(refused), V(timed_out), V(no_route), V(proxy) and V(address_refused); of TLS
      V(http_for_https), V(https_for_http), V(unknown_ca), V(engine_unknown_ca), V(clock_off), V(expired),
      V(not_yet_valid), V(other_name) and V(client_certificate); of logins V(not_logged_in), V(wrong_password),
      V(wrong_account) and V(too_much_access); of the image V(no_image), V(no_repository), V(no_tag), V(latest_only),
      V(no_latest), V(other_platform), V(layer_missing) and V(not_accepted); of the rest V(engine_down), V(no_space),
      V(disk_full), V(registry_full), V(registry_error), V(too_many_requests) and V(too_large).
  returned: always
  type: str
  sample: not_logged_in
registry:
  description: The registry, by its host and port. Empty where the option names none.
  returned: always
  type: str
  sample: registry.example.com
seen:
  description: What can be compared between hosts. Empty where the options themselves are at fault.
  returned: always
  type: dict
  contains:
    addresses:
      description: The addresses of the name of the registry on this host, proxies apart.
      type: list
      elements: str
    hosts_file:
      description: Those that C(/etc/hosts) gives it.
      type: list
      elements: str
    disks:
      description: For each of O(storage) C(path), C(size) and C(free) (bytes), and C(full).
      type: list
      elements: dict
    clock_ahead:
      description:
        - The seconds that the clock of this host is ahead of that of the server, less than 0 where it is behind.
        - None where the clock was not checked. Only a certificate outside of its validity period is a reason to.
      type: int
digest:
  description: Digest of what was pulled or pushed. Empty where nothing was.
  returned: always
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
reference:
  description: Name of the image in the registry. Empty with O(access=none).
  returned: always
  type: str
  sample: registry.example.com/wharf-verify:web1
verified:
  description: Whether all hops of O(access) were walked, and work.
  returned: always
  type: bool
engine:
  description: The engine that pulled or pushed. Empty where none was asked.
  returned: always
  type: str
  sample: docker
"""

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.verification import Verification
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import LOOK_OPTIONS
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule


def run(module):
    verification = Verification(module.params, module.check_mode)
    failure = None
    try:
        verification.run()
    except RegistryError as error:
        failure = error
    for warning in verification.warnings:
        module.warn(warning)
    if failure is not None:
        module.fail_json(msg=str(failure), changed=False, **verification.result)
    module.exit_json(changed=False, **verification.result)


def main():
    run(RegistryModule(LOOK_OPTIONS, required_if=[("access", "pull", ["image"]), ("access", "image", ["image"])]))


if __name__ == "__main__":
    main()
