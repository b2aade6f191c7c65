# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a bucket, as a role writes it down for its program."""

from __future__ import annotations

import json

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_access import ACCESS_OPTIONS, S3Access


class AccessError(Exception):
    """The file is none. The message shows nothing of what is in it."""


def read_access(path, cure):
    """(S3Access, directory in the bucket) of a file of JSON. Raises AccessError, which says who writes it anew."""
    try:
        with open(path, encoding="utf-8") as stream:
            given = json.load(stream)
        params = {name: given.get(name, option.get("default")) for name, option in ACCESS_OPTIONS.items()}
        return S3Access(params), given.get("root_directory", "").strip("/")
    except RegistryError as error:
        raise AccessError(f"{path}: {error}") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AccessError(f"{path} can't be read ({type(error).__name__}). {cure}") from None
