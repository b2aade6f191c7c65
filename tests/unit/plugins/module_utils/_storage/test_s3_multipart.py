"""Objects in parts, against a storage in memory."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import Upload
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_multipart import LEAST_PART
from misbehaving import reply


def test_an_object_in_parts(client):
    upload_id = client.begin("parts")
    second = client.put_part("parts", upload_id, 2, b"end")
    first = client.put_part("parts", upload_id, 1, Upload(LEAST_PART, [b"x" * LEAST_PART]))
    assert [(one.key, one.upload_id) for one in client.uploads("par")] == [("parts", upload_id)]
    assert [part[:2] for part in client.parts("parts", upload_id)] == [(1, LEAST_PART), (2, 3)]
    client.complete("parts", upload_id, [(2, second), (1, first)])
    assert client.head("parts").size == LEAST_PART + 3
    assert client.get("parts", LEAST_PART) == b"end"
    assert list(client.uploads()) == []


def test_parts_and_uploads_are_listed_in_pages(client):
    begun = [("a", client.begin("a")), ("a", client.begin("a")), ("b", client.begin("b"))]
    assert sorted((one.key, one.upload_id) for one in client.uploads(size=1)) == sorted(begun)
    for number in (1, 2, 3):
        client.put_part(*begun[0], number, b"x")
    assert [part.number for part in client.parts(*begun[0], size=1)] == [1, 2, 3]


def test_an_upload_that_is_gone(client):
    upload_id = client.begin("a")
    client.abort("a", upload_id)
    client.abort("a", upload_id)
    with pytest.raises(S3Error) as caught:
        list(client.parts("a", upload_id))
    assert (caught.value.status, caught.value.code) == (404, "NoSuchUpload")


def test_parts_of_another_object(client):
    client.put("source", b"0123456789")
    begun = "target", client.begin("target")
    etag = client.copy_part(begun, 1, "source", 2, 5)
    client.complete(*begun, [(1, etag)])
    assert client.get("target") == b"2345"
    with pytest.raises(S3Error):
        client.copy_part(begun, 2, "absent", 0, 1)


@pytest.mark.parametrize("name", ["ListPartsResult", "ListMultipartUploadsResult"])
def test_lists_that_go_in_a_circle_end(client, storage, name):
    storage.instead = [("GET", ".", reply(200, f"<{name}><IsTruncated>true</IsTruncated></{name}>"))]
    lists = {"ListPartsResult": lambda: client.parts("a", "b"), "ListMultipartUploadsResult": client.uploads}
    with pytest.raises(S3Error, match="says that there is more"):
        list(lists[name]())
    assert len(storage.requests) <= 2


def test_an_upload_without_an_id_is_an_error(client, storage):
    storage.instead = [("POST", ".", reply(200, "<InitiateMultipartUploadResult/>"))]
    with pytest.raises(S3Error, match="without an UploadId"):
        client.begin("a")
