# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines of this host that can pull and push, and which of them is meant. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd import Containerd
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd_image_store import (
    ContainerdImageStore,
    K3sImageStore,
    Rke2ImageStore,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_image_store import DockerImageStore
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman_image_store import PodmanImageStore

# In the order in which they are taken where none is named.
_STORES = (DockerImageStore, PodmanImageStore, K3sImageStore, Rke2ImageStore, ContainerdImageStore)


def find_image_store(name, reference, credential, socket, timeout):
    """(ImageStore, its version) of the named engine, or without a name of the first that answers.

    socket: that of the Docker Engine. Raises EngineDownError.
    """
    first = None
    for kind in _STORES:
        if not (kind.name == name if name else _may_be_here(kind, timeout)):
            continue
        more = (socket,) if kind is DockerImageStore else ()
        try:
            store = kind(reference, credential, *more, timeout)
            return store, store.version()
        except EngineDownError as error:
            # What is wrong with the first one is told: as a rule it is the one that was meant.
            first = first or error
    raise first


def _may_be_here(kind, timeout):
    if kind is ContainerdImageStore:
        return Containerd(timeout).is_engine
    # Docker may listen on a socket without a program of it here.
    return kind is DockerImageStore or bool(find(kind.name))
