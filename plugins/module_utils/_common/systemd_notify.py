# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells systemd how far a service has come (sd_notify). Private to this collection."""

from __future__ import annotations

import os
import socket


def tell_systemd(what):
    """Sends a line such as READY=1 where systemd waits for one."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(what.encode(), "\0" + path[1:] if path.startswith("@") else path)
