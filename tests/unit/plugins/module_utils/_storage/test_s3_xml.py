"""The XML of S3: what is read of it, and what is refused."""

from __future__ import annotations

import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_xml import (
    XmlError,
    deletions_text,
    parse,
    parts_text,
)


def test_a_list_is_read():
    root = parse(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.example.com/">\n'
        b"  <IsTruncated>false</IsTruncated>\n  <Contents><Key>a&amp;b</Key><Size>3</Size></Contents>\n"
        b"  <Contents><Key>c</Key></Contents>\n</ListBucketResult>"
    )
    assert root.name == "ListBucketResult"
    assert root.get("IsTruncated") == "false"
    assert [one.get("Key") for one in root.all("Contents")] == ["a&b", "c"]
    assert [one.get("Size", "none") for one in root.all("Contents")] == ["3", "none"]


def test_a_prefix_of_a_namespace_is_no_part_of_a_name():
    root = parse(b'<s3:Error xmlns:s3="urn:s3"><s3:Code>NoSuchKey</s3:Code></s3:Error>')
    assert (root.name, root.get("Code")) == ("Error", "NoSuchKey")


def test_spaces_that_keep_a_connection_are_no_error():
    assert parse(b' \n \n<?xml version="1.0"?><Error/>').name == "Error"


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><l>&b;</l>'


@pytest.mark.parametrize(
    "hostile",
    [
        LAUGHS,
        b'<!DOCTYPE l SYSTEM "http://127.0.0.1/x.dtd"><l/>',
        b'<!DOCTYPE l [<!ENTITY f SYSTEM "file:///etc/hostname">]><l>&f;</l>',
        b"<!DOCTYPE html><html><body>Welcome</body></html>",
        b"<a>&undefined;</a>",
        pytest.param(b"<a>" * 100 + b"</a>" * 100, id="deep"),
        pytest.param(b"<a>" + b"<b/>" * 200000 + b"</a>", id="many"),
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<a><b></a></b>",
        b"<a/><b/>",
        b"{}",
        b"",
        b"\xff\xfe\x00",
        b"<a>\x00</a>",
    ],
)
def test_what_s3_does_not_send_is_refused(hostile):
    began = time.monotonic()
    with pytest.raises(XmlError):
        parse(hostile)
    # Expanded, some would take minutes.
    assert time.monotonic() - began < 20


def test_documents_that_are_sent_escape_names():
    assert parse(deletions_text(["a<b>&c", "d"])).all("Object")[0].get("Key") == "a<b>&c"
    part = parse(parts_text([(1, '"e"'), (2, "f")])).all("Part")[0]
    assert (part.get("PartNumber"), part.get("ETag")) == ("1", '"e"')
