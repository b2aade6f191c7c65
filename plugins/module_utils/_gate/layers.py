# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the layers of an image are those that its configuration names. Private to this collection."""

from __future__ import annotations

import hashlib
import zlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PIECE = 1 << 20


class LayerError(RegistryError):
    """A layer that is not what the configuration of its image says."""


def check_layers(blobs, image):
    """Raises LayerError where an unpacked layer has another digest than the configuration of a PlatformImage names.

    A server of Trivy keeps what it knows of layers by these digests, for all images. blobs is the BlobStore that has
    the layers.
    """
    for layer, diff_id in zip(image.manifest.blobs[1:], image.diff_ids):
        digest = layer["digest"]
        try:
            found = _unpacked_digest(blobs.read(digest))
        except (zlib.error, ValueError) as error:
            what = f"the layer {digest} can't be unpacked here: {error}"
            raise LayerError(what, "Pack it by gzip, or use scanner.program") from None
        if found != diff_id:
            what = f"the layer {digest} is {found}, and the configuration of the image says {diff_id}"
            raise LayerError(what, "Build the image anew")


def _unpacked_digest(pieces):
    hashed, unpack, first = hashlib.sha256(), None, True
    for piece in pieces:
        if first and piece.startswith(_ZSTD):
            raise ValueError("it is packed by zstd")
        if first and piece.startswith(_GZIP):
            unpack = zlib.decompressobj(wbits=31)
        first = False
        if unpack is None:
            hashed.update(piece)
            continue
        rest = piece
        while rest:
            hashed.update(unpack.decompress(rest, _PIECE))
            rest = unpack.unconsumed_tail
            if unpack.eof:
                # One member may follow another.
                rest, unpack = unpack.unused_data, zlib.decompressobj(wbits=31)
    return f"sha256:{hashed.hexdigest()}"
