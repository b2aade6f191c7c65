# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """What the modules have in common that have engines trust registries."""

    DOCUMENTATION = r"""
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
          - A name without a dot, other than V(localhost), needs its port, as C(hub:443). Without one, engines read it
            as a repository of Docker Hub.
          - Upper case is kept, as Docker takes C(Registry.example.com) and C(registry.example.com) for two.
        type: str
        required: true
      ca:
        description:
          - The CAs to trust for this registry as PEM text, one or several, written to C(ca.crt).
          - Where others have made a C(hosts.toml) for this registry, Docker 28 and later read no C(ca.crt) beside it,
            and the CA is named there as well.
          - Invalid PEM, a certificate that is not a CA, or a list without any currently valid CA is an error. If one of
            several CAs has expired, the module warns.
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
          - Whether to use the registry without TLS, or with a certificate that no CA vouches for. An attacker in
            between can then read passwords and swap images; prefer O(registries[].ca).
          - With V(false), an entry for exactly this registry is removed from the list.
        type: bool
        default: false
      username:
        description:
          - Name of the user that engines without accounts are logged in as. containerd keeps the login in
            C(hosts.toml), and k3s and RKE2 in C(registries.yaml), which get the mode 0600. Docker and Podman log
            accounts in, see M(wharf.registry.registry_login).
          - Without it, a login that is there stays; with an empty string it is removed.
        type: str
      password:
        description: Its password.
        type: str
  mirrors:
    description:
      - URLs of mirrors of Docker Hub, C(http://) or C(https://) with a host and no path. They come after those that are
        there already. No engine asks them for images of any other registry.
    type: list
    elements: str
    default: []
  upstream_mirrors:
    description:
      - Mirrors of any registry, by its name, each a URL or a list of them. A URL may have a path, below which the
        images lie under the names that they have at their registry, as
        V(https://registry.example.com/mirror/quay.io).
      - Podman, containerd, k3s and RKE2 ask all of them. Docker asks mirrors of C(docker.io) without a path, and the
        module warns of the others.
      - A mirror needs a login of its own. Podman looks for it in the credential file of the account, and containerd is
        given that of O(registries) for the host of the mirror.
    type: dict
    default: {}
  policies:
    description:
      - Which images Podman, Buildah, skopeo and CRI-O accept. It is written to C(policy.json), of which all else stays,
        and to C(registries.d), so that signatures are looked for in the registry. Docker and containerd check none.
      - The policy of the longest scope counts. What is in no scope follows the C(default) of C(policy.json).
      - Another rule for a scope that is there already is an error. A file C(wharf-registry-policy.json) beside
        C(policy.json) names the rules of this module, so that O(state=absent) removes these alone.
      - For an account other than root, its files below C(~/.config/containers) are written. Podman reads them in place
        of those of the system, of which a new one is a copy.
    type: list
    elements: dict
    default: []
    suboptions:
      scope:
        description: A registry, C(host) or C(host:port), with C(/namespace) or C(/repository) for a part of it.
        type: str
        required: true
      accept:
        description:
          - With V(signed), images that one of O(policies[].public_keys) has signed. V(anything) needs no signature, and
            V(nothing) refuses all.
        type: str
        choices: [anything, nothing, signed]
        default: signed
      public_keys:
        description:
          - The public keys as PEM text, such as the content of C(cosign.pub). One of them has to fit. Several take
            Podman 5.4 or later.
          - Signatures are those of C(cosign sign --key), in the format that is a tag of the repository. cosign 3 makes
            it with C(--new-bundle-format=false).
        type: list
        elements: str
      signed_repository:
        description:
          - The repository that the signatures name, C(host/repository), where images were copied with their signatures.
            By default the one that the image is pulled from.
        type: str
  engines:
    description:
      - The engines to write for. By default those that are installed, or Docker where none is.
      - V(containerd) is the one that Kubernetes or C(nerdctl) use. Beside a Docker Engine it is told by default only
        where C(kubelet), C(crictl) or C(nerdctl) is installed, since otherwise it works for Docker alone.
      - V(k3s) and V(rke2) make the files of their containerd from C(registries.yaml) when they start, and that is the
        file which is written.
      - V(buildkit) is a C(buildkitd) of its own, and not the one within Docker, which uses Docker's files. Its
        C(buildkitd.toml) is edited as C(hosts.toml) is. C(docker buildx create --config) has builders in containers use
        the same file. It takes logins from the client of each build.
    type: list
    elements: str
    choices: [buildkit, containerd, docker, k3s, podman, rke2]
  daemon_config_path:
    description:
      - Docker's configuration file. By default the one that the running C(dockerd) reads, or else the one that its
        service would start it with. Both are found for engines of packages, snaps and supervisors and for rootless
        engines.
      - Where several engines run, it says which one is meant. Without it, that is the one on C(/run/docker.sock).
      - A file that the running engine does not read is refused, except with O(apply=never), as for an image that is
        prepared in a directory. Nothing is then asked of the engine that runs here.
    type: path
  certs_dir:
    description:
      - The directory that holds one subdirectory per registry. By default the one that the engine reads, which is
        C(/etc/docker/certs.d) for Docker and C(/etc/containers/certs.d) for Podman, or those below C(~/.config) where
        the module does not run as root. Docker as a snap has its own. For containerd it is the C(config_path) of its
        C(config.toml), or C(/etc/containerd/certs.d), and for k3s and RKE2 C(certs.d) below their directory in
        C(/etc/rancher), and for BuildKit C(/etc/buildkit/certs.d).
      - With a O(daemon_config_path) that no engine reads, C(certs.d) beside that file for Docker. Give O(engines) as
        well then, since Podman's stays the one of this host.
    type: path
  apply:
    description:
      - How a running engine is told of a change of C(daemon.json). CAs and client certificates need no telling.
      - V(reload) sends SIGHUP. V(restart) also sends SIGHUP, and restarts the service only if that is
        not enough. An engine that its own service did not start is reloaded, never restarted. V(never) does
        neither.
      - containerd reads C(hosts.toml) at each pull, and its own configuration only when it starts; k3s, RKE2 and
        BuildKit read their files when they start. Where that is needed, V(restart) restarts them, which stops no
        container, but ends builds that run. With the other values the module warns, and returns C(restart_needed).
    type: str
    choices: [never, reload, restart]
    default: reload
  timeout:
    description: Seconds that the engine may take to answer and to apply a change, 1 to 86400.
    type: int
    default: 30
"""
