# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of the proxy, and the container that holds its ports. Private to this collection."""

from __future__ import annotations

# An nginx that holds the ports itself is stopped within so many seconds.
_PORTS_SECONDS = 15


class HeldNetwork:
    """A network, and the container that holds its ports for another one: it sleeps, and so keeps its image."""

    def __init__(self, name, labels, spec):
        self._name = name
        self._labels = labels
        self.spec = spec

    def differs(self, containers, holder):
        return (
            not containers.network_exists(self._name)
            or holder is None
            or not holder["State"]["Running"]
            or bool(self.spec.differences(holder))
        )

    def ensure(self, containers, front, image):
        """(the container, whether it was made, made anew or started)."""
        containers.make_network(self._name, self._labels)
        holder = containers.inspect(self.spec.name)
        if front is not None and not front["HostConfig"]["NetworkMode"].startswith("container:"):
            # It has the ports for itself. The only gap for clients, and as late as can be.
            containers.remove(front["Name"].lstrip("/"), _PORTS_SECONDS)
        if holder is not None and self.spec.differences(holder):
            containers.remove(self.spec.name, 0)
            image, holder = holder["Image"], None
        changed = holder is None or not holder["State"]["Running"]
        if holder is None:
            self.spec.image = image
            containers.create(self.spec)
        elif changed:
            containers.start(self.spec.name)
        return containers.inspect(self.spec.name), changed
