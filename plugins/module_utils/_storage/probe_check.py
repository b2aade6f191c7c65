# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check of a storage is. Private to this collection."""

from __future__ import annotations

from typing import Any, NamedTuple


class Check(NamedTuple):
    """One check. run(room) returns what was seen, or raises FlawError or S3Error.

    breaks is what a registry would suffer, and cure what to do about it.
    """

    name: str
    run: Any
    breaks: str
    cure: str
    # Whether a registry can live with it, whether nothing is written, and whether it can be told without a login.
    only_warns: bool = False
    reads_only: bool = False
    needs_no_access: bool = False


OTHER_STORAGE = "Use another storage, or a newer version of this one, and probe again"
ONE_WORLD = (
    "Let all gateways of the endpoint share one store of metadata, as all filers of SeaweedFS, or use another storage"
)
