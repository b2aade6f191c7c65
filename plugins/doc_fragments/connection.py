# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  registry:
    description:
      - The registry as image names name it, C(host) or C(host:port), with an IPv6 address in brackets. V(docker.io)
        is Docker Hub. A scheme or a path is ignored.
      - A name without a dot, other than V(localhost), needs its port, as C(hub:443). Without one, engines read it as a
        repository of Docker Hub. Names that engines refuse, such as those with an underscore, are refused here, too.
    type: str
    required: true
  username:
    description:
      - Name of the user. Goes with O(password). The two are checked together, before anything else is done.
    type: str
  password:
    description:
      - Password of the user, or an access token in its place.
      - All characters are allowed, so a JSON key works. A line feed at the end is refused.
    type: str
  ca_path:
    description:
      - A file of CA certificates in PEM, to be trusted in place of all others.
      - By default those of the system are trusted, and those that engines trust for this registry in
        C(/etc/docker/certs.d), C(/etc/containers/certs.d), C(/etc/containerd/certs.d),
        C(/etc/rancher/k3s/certs.d), C(/etc/rancher/rke2/certs.d), C(~/.config/docker/certs.d) and
        C(~/.config/containers/certs.d).
    type: path
  client_cert:
    description:
      - A client certificate in PEM for registries that ask for one. Goes with O(client_key). By default a C(*.cert)
        with its C(*.key) is taken from the directories named at O(ca_path), where this account can read both.
    type: path
  client_key:
    description:
      - Its private key in PEM, without a passphrase.
    type: path
  validate_certs:
    description:
      - Whether to check the certificate of the registry. With V(false), an attacker on the network can read the
        password.
    type: bool
    default: true
  plain_http:
    description:
      - Whether to speak HTTP. V(true) sends the password in clear.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that one request may take, 1 to 86400. The connection to each address of the name may take as many, and
        so may all from the request to the last byte.
      - A registry that is busy (429, 500, 502, 503, 504) is asked up to three times, and its C(Retry-After) is kept
        where it fits into the same number of seconds.
      - The same limit applies to each call of a credential helper.
    type: int
    default: 30
  config_path:
    description:
      - A client configuration of Docker or Podman to take credentials from where none are given. In one of the name
        C(auth.json) the login of a namespace, as C(podman login host/namespace) makes it, comes before that of the
        host where all repositories that the task names lie in it.
    type: path
notes:
  - E(HTTPS_PROXY), E(HTTP_PROXY) and E(NO_PROXY) in the environment of the task are read as Docker and Podman read
    them. V(.example.com) and V(*.example.com) in E(NO_PROXY) match all hosts below that name; V(example.com) also
    matches the name itself. Networks, addresses and ports are supported. E(ALL_PROXY) is ignored.
"""
