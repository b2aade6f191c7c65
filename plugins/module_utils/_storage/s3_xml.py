# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML of S3, read without what XML can do to its reader. Private to this collection.

A document type is refused, and with it all entities: S3 sends none. Depth and number of elements are bounded, and the
caller bounds the size.
"""

from __future__ import annotations

import html
import xml.parsers.expat

_DEEPEST = 12
_MOST_ELEMENTS = 100000


class XmlError(Exception):
    """What came is no XML that S3 sends."""


class Element:
    """An element: its name without a namespace, its text, the elements in it."""

    def __init__(self, name):
        self.name = name
        self.text = ""
        self.children = []

    def get(self, name, default=""):
        """The text of the first element of this name."""
        return next((child.text for child in self.children if child.name == name), default)

    def all(self, name):
        return [child for child in self.children if child.name == name]


class _Reader:
    def __init__(self):
        self.root = None
        self._open = []
        self._count = 0
        self._texts = []

    def begin(self, name, _attributes):
        self._count += 1
        if self._count > _MOST_ELEMENTS or len(self._open) >= _DEEPEST:
            raise XmlError("too many elements")
        element = Element(name.rpartition(":")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts = []

    def text(self, text):
        self._texts.append(text)

    def end(self, _name):
        # Between the elements of a list are line breaks at most.
        element = self._open.pop()
        if not element.children:
            element.text = "".join(self._texts)
        self._texts = []


def _refuse(*_arguments):
    raise XmlError("a document type")


def parse(body):
    """The root Element of a document. Raises XmlError."""
    reader = _Reader()
    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        # Servers send spaces ahead to keep the connection while they work.
        parser.Parse(body.lstrip(), True)
    except (xml.parsers.expat.ExpatError, ValueError, LookupError) as error:
        raise XmlError(str(error)) from None
    return reader.root


def parts_text(parts):
    """The document that completes an upload. parts are pairs of number and ETag, in the order of the numbers."""
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{html.escape(etag, quote=False)}</ETag></Part>"
        for number, etag in parts
    )
    return f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()


def deletions_text(keys):
    """The document that names keys to delete. Only those that could not be are told."""
    listed = "".join(f"<Object><Key>{html.escape(key, quote=False)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{listed}</Delete>".encode()
