# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny image that a host pushes to verify a registry. Private to this collection."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import tarfile

from ansible_collections.wharf.registry.plugins.module_utils._common.reference import Reference, full_name

REPOSITORY = "wharf-verify"
_EPOCH = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def host_name():
    """The short name of this host."""
    return platform.node().partition(".")[0] or "this host"


def probe_reference(registry):
    """The Reference of the image that this host pushes by default."""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", host_name()).lstrip(".-")[:128]
    return Reference(registry, full_name(registry, REPOSITORY), tag or "host")


def probe_archive(reference):
    """An image without a program, in the format of docker save.

    It is always the same for a host and a registry, so that a second push uploads nothing.
    """
    description = f"Made on {host_name()} to verify {reference.registry.name}; can be deleted."
    layer = _tar({"README": f"{description}\n".encode()})
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": _EPOCH,
            "config": {"Labels": {"org.opencontainers.image.description": description}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_sha256(layer)}"]},
            "history": [{"created": _EPOCH, "comment": "wharf.registry.registry_check"}],
        },
        sort_keys=True,
    ).encode()
    names = {"config": f"{_sha256(config)}.json", "layer": f"{_sha256(layer)}/layer.tar"}
    manifest = [{"Config": names["config"], "RepoTags": [str(reference)], "Layers": [names["layer"]]}]
    return _tar({names["config"]: config, names["layer"]: layer, "manifest.json": json.dumps(manifest).encode()})


def _tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _sha256(content):
    return hashlib.sha256(content).hexdigest()
