"""Writes a small database of bbolt, the format of Trivy's: buckets in buckets, and values, all in one leaf page."""

from __future__ import annotations

import struct

PAGE = 4096
MAGIC, VERSION = 0xED0CDAED, 2
META, LEAF, FREELIST = 0x04, 0x02, 0x10
IS_BUCKET = 1
# A bucket within its parent's page: its root page is 0, and the page follows.
INLINE = struct.pack("<QQ", 0, 0)
Tree = "dict[str, Tree | bytes]"


def leaf(tree: dict, number: int = 0) -> bytes:
    """A leaf page of all entries, however large, without the padding."""
    elements, data = [], b""
    encoded = sorted((key.encode(), value) for key, value in tree.items())
    for position, (key, value) in enumerate(encoded):
        content = INLINE + leaf(value) if isinstance(value, dict) else value
        # Positions count from the element itself.
        offset = 16 * (len(encoded) - position) + len(data)
        elements.append(
            struct.pack("<IIII", IS_BUCKET if isinstance(value, dict) else 0, offset, len(key), len(content))
        )
        data += key + content
    size = 16 + 16 * len(elements) + len(data)
    return header(number, LEAF, len(elements), size) + b"".join(elements) + data


def header(number: int, flags: int, count: int, size: int = PAGE) -> bytes:
    return struct.pack("<QHHI", number, flags, count, (size - 1) // PAGE)


def meta(number: int, pages: int, transaction: int) -> bytes:
    fields = struct.pack("<IIIIQQQQQ", MAGIC, VERSION, PAGE, 0, 3, 0, 2, pages, transaction)
    return header(number, META, 0) + fields + struct.pack("<Q", fnv64a(fields))


def fnv64a(content: bytes) -> int:
    found = 0xCBF29CE484222325
    for byte in content:
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return found


def database(tree: dict) -> bytes:
    """The file: two meta pages, an empty list of free pages, and the root."""
    root = leaf(tree, 3)
    pages = 3 + (len(root) + PAGE - 1) // PAGE
    content = [meta(0, pages, 0), meta(1, pages, 1), header(2, FREELIST, 0)]
    return b"".join(page.ljust(PAGE, b"\0") for page in content) + root.ljust((pages - 3) * PAGE, b"\0")
