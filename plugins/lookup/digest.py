# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: digest
short_description: The digest that an image name stands for in its registry now
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Asks the registry which image a tag points to, and returns its digest. That of an image for several platforms is
    the digest of the whole.
  - Runs on the control node, whenever the expression is templated, and pulls nothing. Keep the value in a fact where
    it must not change during a run.
  - A name with a digest gives that digest once the registry has said that the image is there. A tag beside it does
    not matter.
options:
  _terms:
    description:
      - Names of images. A name without a registry is one of Docker Hub, and one without a tag has the tag V(latest).
    required: true
    type: list
    elements: string
  username:
    description:
      - Name of the user. Goes with O(password). The names must all be of one registry then, as a password is for one.
      - By default the login of the account that runs Ansible is used, where it has one, as Docker and then Podman look
        for it, credential helpers included.
    type: string
  password:
    description: Password of the user, or an access token in its place.
    type: string
  ca_path:
    description:
      - A file of CA certificates in PEM, to be trusted in place of all others.
      - By default those of the system are trusted, and those that Docker or Podman trust for the registry in
        C(/etc/docker/certs.d), C(/etc/containers/certs.d), C(~/.config/docker/certs.d) and
        C(~/.config/containers/certs.d).
    type: path
  client_cert:
    description:
      - A client certificate in PEM for registries that ask for one. Goes with O(client_key). By default a C(*.cert)
        with its C(*.key) is taken from the directories named at O(ca_path), where this account can read both.
    type: path
  client_key:
    description: Its private key in PEM, without a passphrase.
    type: path
  validate_certs:
    description:
      - Whether to check the certificate of the registry. With V(false), an attacker on the network can read the
        password.
    type: boolean
    default: true
  plain_http:
    description: Whether to speak HTTP. V(true) sends the password in clear.
    type: boolean
    default: false
  timeout:
    description:
      - Seconds that one request may take. A registry that is busy is asked up to three times.
    type: integer
    default: 30
  config_path:
    description: A client configuration of Docker or Podman to take credentials from where none are given.
    type: path
notes:
  - E(HTTPS_PROXY), E(HTTP_PROXY) and E(NO_PROXY) in the environment of Ansible are respected.
seealso:
  - module: wharf.registry.registry_info
  - plugin: wharf.registry.image_reference
    plugin_type: filter
  - plugin: wharf.registry.pinned
    plugin_type: test
"""

EXAMPLES = r"""
- name: Show what the tag points to
  ansible.builtin.debug:
    msg: "{{ lookup('wharf.registry.digest', 'registry.example.com/apps/web:1.4.2') }}"

- name: Run exactly one image on all hosts, even if the tag is moved meanwhile
  community.docker.docker_container:
    name: web
    image: "registry.example.com/apps/web@{{ web_digest }}"
  vars:
    web: registry.example.com/apps/web:1.4.2
    web_digest: "{{ lookup('wharf.registry.digest', web, username='runtime', password=vault_runtime_password) }}"

# Docker Compose reads the override beside compose.yml, which keeps its tags. Both can go into version control.
- name: Pin a compose file to digests
  vars:
    compose: "{{ lookup('ansible.builtin.file', 'compose.yml') | from_yaml }}"
  ansible.builtin.copy:
    content: |
      services:
      {% for name, service in compose.services.items() if service.image is defined %}
        {{ name }}:
          image: {{ service.image.split('@') | first }}@{{ lookup('wharf.registry.digest', service.image) }}
      {% endfor %}
    dest: compose.override.yml
    mode: "0644"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
_raw:
  description: The digest of each image, in the order of the names.
  type: list
  elements: string
  sample: ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
"""

import contextlib

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import check_timeout

_TOGETHER = (("username", "password"), ("client_cert", "client_key"))


def check(options, references):
    """Raises InputError where the options can't be meant for these names."""
    for one, other in _TOGETHER:
        if (options[one] is None) != (options[other] is None):
            raise InputError(f"{one} and {other} go together, and only one of them is given")
    check_timeout(options["timeout"])
    registries = sorted({reference.registry.name for reference in references})
    if options["username"] is not None and len(registries) > 1:
        # The password of one registry is not for another.
        raise InputError(
            f"username and password are for one registry, and the names are of {' and '.join(registries)}",
            "Look them up one registry at a time, or log this account in to each",
        )


def connect(registry, options):
    """The Api of a registry, as the user who is given or logged in. Raises RegistryError."""
    connection = Connection(options)
    return connection.api(registry, connection.client(registry), connection.credential(registry))


def find(api, reference):
    """The digest that the reference stands for. Raises RegistryError."""
    head = api.head(reference.repository, reference.digest or reference.tag)
    if head is None:
        raise RegistryError(
            "there is no such image",
            "Check its name, and whether the user may pull it: some registries hide what one may not see",
        )
    return head.digest


def digests(names, options):
    """The digest of each name, with one connection to each registry. Raises AnsibleLookupError."""
    for name in names:
        if not isinstance(name, str):
            raise AnsibleLookupError(
                f"the lookup wharf.registry.digest takes names of images, not {type(name).__name__}"
            )
    about = "wharf.registry.digest"
    apis = {}
    with contextlib.ExitStack() as stack:
        try:
            references = [parse_reference(name) for name in names]
            check(options, references)
            found = []
            for reference in references:
                about = str(reference)
                if reference.registry not in apis:
                    apis[reference.registry] = connect(reference.registry, options)
                    stack.callback(apis[reference.registry].close)
                found.append(find(apis[reference.registry], reference))
        except RegistryError as error:
            raise AnsibleLookupError(f"{about}: {error}") from None
    return found


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        if not isinstance(kwargs.get("password"), (str, int, type(None))):
            # Ansible's own error would show the value.
            raise AnsibleLookupError("the password given to the lookup wharf.registry.digest is no text")
        self.set_options(var_options=variables, direct=kwargs)
        return digests(terms, self.get_options())
