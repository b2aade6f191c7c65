# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry settings that a running Docker Engine uses. Private to this collection."""

from __future__ import annotations


class EffectiveConfig:
    """What GET /info reports: `insecure` (registries and networks), `mirrors`, and what a restart would affect."""

    def __init__(self, info):
        config = info.get("RegistryConfig") or {}
        indexes = (config.get("IndexConfigs") or {}).items()
        self.insecure = sorted(
            {name for name, index in indexes if not index.get("Secure", True)}
            | set(config.get("InsecureRegistryCIDRs") or [])
        )
        self.mirrors = [mirror.rstrip("/") for mirror in config.get("Mirrors") or []]
        self.version = str(info.get("ServerVersion") or "")
        self.live_restore = bool(info.get("LiveRestoreEnabled"))
        self.containers_running = int(info.get("ContainersRunning") or 0)

    @property
    def restart_stops_containers(self):
        return bool(self.containers_running and not self.live_restore)
