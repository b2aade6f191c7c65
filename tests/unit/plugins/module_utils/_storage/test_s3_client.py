"""The client of S3 against a storage in memory, which verifies each signature by code of its own."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import Upload
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from memory_s3 import BUCKET, error_document
from misbehaving import reply


def refused(status, operation, *arguments, **options):
    with pytest.raises(S3Error) as caught:
        operation(*arguments, **options)
    assert caught.value.status == status
    return caught.value


def test_objects_are_written_read_and_deleted(client):
    etag = client.put("a/b", b"content")
    assert client.get("a/b") == b"content"
    assert client.get("a/b", 3) == b"tent"
    assert client.get("a/b", 0, 2) == b"con"
    assert client.head("a/b")[:3] == ("a/b", 7, etag)
    client.delete("a/b")
    assert client.head("a/b") is None
    assert refused(404, client.get, "a/b").code == "NoSuchKey"
    client.delete("a/b")


@pytest.mark.parametrize("key", ["a b", "a+b", "é/ü", "a&b<c>", "a//b", "a%20b", "$,;:=@!'()*~", "V" * 900])
def test_names_of_all_kinds(client, key):
    client.put(key, b"x")
    assert client.get(key) == b"x"
    assert [one.key for one in client.objects(key[:3])] == [key]
    client.copy(key, key + "2")
    assert client.delete_all([key, key + "2"]) == []
    assert list(client.objects()) == []


def test_one_connection_serves_all_requests(client, server):
    for number in range(20):
        client.put(f"{number}", b"x")
    assert len(list(client.objects())) == 20
    assert server.connections == 1


def test_the_bucket_in_the_name_of_the_host(access, server, storage, monkeypatch):
    """By a proxy, as the name has no address."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{server.netloc}")
    made = access(endpoint="http://Storage.test:80", force_path_style=False)
    assert (made.endpoint, made.url) == ("http://storage.test", f"http://{BUCKET}.storage.test")
    with made.client() as client:
        client.head_bucket()
        client.put("a b/c", b"content")
        client.copy("a b/c", "d")
        assert client.get("d") == b"content"
        assert [one.key for one in client.objects()] == ["a b/c", "d"]
        assert client.fetch(client.signed_url("d"))[1] == b"content"
    assert {target.split("/")[2] for _method, target in storage.requests} == {f"{BUCKET}.storage.test"}


def test_bodies_come_and_go_in_pieces(client, storage):
    piece, count = b"0123456789abcdef" * 4096, 200
    size = len(piece) * count

    def send(request, connection):
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _number in range(count):
            connection.sendall(piece)
        return True

    storage.instead = [("GET", ".", send)]
    tracemalloc.start()
    seen = sum(len(part) for part in client.pieces("large"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == size
    assert peak < 2 << 20
    client.put("large", Upload(size, (piece for _number in range(count))))
    assert len(storage.objects["large"][0]) == size


def test_a_body_in_pieces_may_be_signed(client, storage):
    body = b"signed" * 1000
    client.put("a", Upload(len(body), [body]), digest=hashlib.sha256(body).hexdigest())
    assert client.get("a") == body
    wrong = hashlib.sha256(b"other").hexdigest()
    assert refused(400, client.put, "a", Upload(len(body), [body]), digest=wrong).code == "XAmzContentSHA256Mismatch"


def test_a_range_that_comes_as_a_whole_is_an_error(client, storage):
    client.put("a", b"content")
    storage.faults.add("no_ranges")
    assert refused(200, client.get, "a", 3).code == "RangeIgnored"
    assert refused(200, lambda: list(client.pieces("a", 3))).code == "RangeIgnored"
    assert client.get("a") == b"content"


# --- lists ------------------------------------------------------------------------------------------------------------


def test_lists_in_pages(client):
    for number in range(7):
        client.put(f"p/{number}/x", b"x")
    pages = list(client.pages("p/", "/", size=3))
    assert [one for page in pages for one in page.prefixes] == [f"p/{number}/" for number in range(7)]
    assert len(pages) == 3
    keys = [one.key for page in client.pages("p/", size=2) for one in page.objects]
    assert keys == [f"p/{number}/x" for number in range(7)]
    assert [one.key for one in client.objects("p/", start_after="p/4/x")] == ["p/5/x", "p/6/x"]


def test_a_list_that_leads_nowhere_ends(client, storage):
    for number in range(7):
        client.put(f"p/{number}", b"x")
    storage.faults.add("pages_lead_nowhere")
    assert "says that there is more" in str(refused(200, lambda: list(client.pages("p/", size=2))))


def test_a_list_that_goes_in_a_circle_ends(client, storage):
    page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    storage.instead = [("GET", ".", reply(200, page + "</ListBucketResult>"))]
    refused(200, lambda: list(client.objects()))
    assert len(storage.requests) == 2


def test_a_long_list_takes_little_memory(client, storage):
    """Pages are made as they are asked for, as of a bucket with more objects than memory."""
    count = iter(range(10))

    def page(request, connection):
        number = next(count)
        contents = "".join(f"<Contents><Key>{number:04}/{one:04}</Key><Size>1</Size></Contents>" for one in range(1000))
        more = f"<NextContinuationToken>{number}</NextContinuationToken>"
        more += f"<IsTruncated>{str(number < 9).lower()}</IsTruncated>"
        return reply(200, f"<ListBucketResult>{more}{contents}</ListBucketResult>")(request, connection)

    storage.instead = [("GET", ".", page)]
    tracemalloc.start()
    assert sum(1 for _one in client.objects()) == 10000
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_names_that_a_server_does_not_encode_are_not_decoded(client, storage):
    page = "<ListBucketResult><Contents><Key>a%20b+c</Key></Contents></ListBucketResult>"
    storage.instead = [("GET", ".", reply(200, page))]
    assert [one.key for one in client.objects()] == ["a%20b+c"]


def test_many_are_deleted_at_once_and_what_stays_is_told(client, storage):
    for number in range(5):
        client.put(f"d/{number}", b"x")
    assert client.delete_all([f"d/{number}" for number in range(4)] + ["d/absent"]) == []
    assert [one.key for one in client.objects("d/")] == ["d/4"]
    answer = "<DeleteResult><Error><Key>d/4</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    storage.instead = [("POST", ".", reply(200, answer))]
    assert client.delete_all(["d/4"]) == [("d/4", "AccessDenied no")]


# --- copies, conditions, URLs -----------------------------------------------------------------------------------------


def test_copies(client, storage):
    client.put("source", b"content")
    client.copy("source", "target")
    assert client.get("target") == b"content"
    assert refused(404, client.copy, "absent", "target").code == "NoSuchKey"


def test_an_error_with_status_200_is_an_error(client, storage):
    storage.faults |= {"copy_error_200", "complete_error_200"}
    assert refused(200, client.copy, "absent", "target").code == "NoSuchKey"
    upload_id = client.begin("parts")
    etag = client.put_part("parts", upload_id, 1, b"x")
    # Servers send spaces ahead.
    assert refused(200, client.complete, "parts", upload_id, [(1, etag)]).code == "InternalError"
    storage.instead = [("PUT", "copied", reply(200))]
    refused(200, client.copy, "parts", "copied")


def test_only_a_new_object_is_written(client):
    client.put("a", b"first", only_new=True)
    assert refused(412, client.put, "a", b"second", only_new=True).code == "PreconditionFailed"
    assert client.get("a") == b"first"


def test_a_signed_url_needs_no_login(client):
    client.put("a b", b"content")
    assert client.fetch(client.signed_url("a b", 60)) == (200, b"content")
    assert client.fetch(client.address("a b"))[0] == 403
    assert client.fetch(client.signed_url("a b", 60)[:-1] + "x")[0] == 403


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "least", "most"), [(0, 0, 0), (300, -300, -298), (-300, 298, 300)])
def test_the_clock_of_the_storage_is_compared(client, storage, ahead, least, most):
    assert client.clock_ahead is None
    storage.ahead = ahead
    client.head_bucket()
    assert least <= client.clock_ahead <= most


def test_a_busy_storage_is_asked_again(access, storage):
    slow = [reply(503, error_document("SlowDown", "later")), reply(500), reply(200)]

    def answer(request, connection):
        return slow.pop(0)(request, connection)

    storage.instead = [("PUT", ".", answer)]
    with access().client() as client:
        client.put("a", b"x")
    assert slow == []


def test_a_storage_that_stays_busy_is_not_asked_for_ever(access, storage):
    storage.instead = [("PUT", ".", reply(503, error_document("SlowDown", "later"), Retry_After="0"))]
    with access().client(attempts=3) as client:
        assert refused(503, client.put, "a", b"x").code == "SlowDown"
    assert len(storage.requests) == 3
