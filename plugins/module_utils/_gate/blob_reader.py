# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that are larger than what a client holds by itself, up to a size. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError


def read_blob(api, repository, digest, most):
    """The bytes of a blob, or None where there is none. Raises AnswerError where it is larger, or damaged."""
    name = f"{api.registry.name}: the blob {digest} of {repository}"
    stream = api.open_blob(repository, digest)
    if stream is None:
        return None
    if (stream.size or 0) > most:
        # Nothing of it is read.
        raise AnswerError(f"{name} is larger than {most} bytes", "Remove what refers to it")
    content = bytearray()
    for piece in stream.pieces:
        content += piece
        if len(content) > most:
            raise AnswerError(f"{name} is larger than {most} bytes", "Remove what refers to it")
    content = bytes(content)
    if digest_of(content, digest.partition(":")[0]) != digest:
        raise AnswerError(f"{name} is damaged", "Remove what refers to it")
    return content
