"""An S3 storage in memory: right by default, and wrong where a test tells it to be.

It verifies signatures by code of its own, so that a client that signs wrongly is refused here as well.
"""

from __future__ import annotations

import calendar
import email.utils
import hashlib
import hmac
import html
import re
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

from misbehaving import reply

ACCESS_KEY = "AKIDMEMORY"
SECRET_KEY = "geheim/Memory+Secret0123456789abcdefgh"
BUCKET = "images"
REGION = "eu-test-1"
LEAST_PART = 5 << 20
STAMP = "2026-11-30T10:00:00.000Z"


class RefusalError(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, message="", **headers):
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or f"The message of {code}"
        self.headers = headers


def error_document(code, message):
    return f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"


class MemoryS3:
    """Answers for a server of misbehaving.py. `faults` are names of what it does wrong."""

    def __init__(self, server, *faults):
        self.objects = {}
        self.uploads = {}
        self.faults = set(faults)
        # Seconds that its clock is ahead.
        self.ahead = 0
        # How long it waits, at targets with this pattern.
        self.slow, self.delay = "", 0
        # Seconds between the look for an object and the write of it.
        self.gap = 0
        self.public = False
        # When each object was written, in seconds by its clock, where a test wants it to be told; else all tell STAMP.
        self.times = None
        # The most names of a page.
        self.page = 1000
        # What is called with each request before it is answered.
        self.hook = None
        # Keys with this pattern are not deleted by a request for several.
        self.keeps = ""
        # (method, pattern of the target) that is answered by something else.
        self.instead = []
        self.requests = []
        self.former = {}
        self.hidden = set()
        self.ghosts = set()
        self.written = 0
        self.lock = threading.RLock()
        server.otherwise = self

    def wrong(self, fault):
        return fault in self.faults

    def __call__(self, request, connection):
        if self.slow and re.search(self.slow, request.target):
            time.sleep(self.delay)
        self.requests.append((request.method, request.target))
        if self.hook:
            self.hook(request)
        for method, pattern, behaviour in self.instead:
            if request.method == method and re.search(pattern, request.target):
                return behaviour(request, connection)
        headers = {"Date": email.utils.formatdate(time.time() + self.ahead, usegmt=True), "Server": "memory"}
        try:
            status, body, more = self.answer(request)
        except RefusalError as refusal:
            body = "" if request.method == "HEAD" else error_document(refusal.code, refusal.message)
            status, more = refusal.status, {"Content_Type": "application/xml", **refusal.headers}
        return reply(status, body, **{**headers, **more})(request, connection)

    def answer(self, request):
        # A client that asks by a proxy names the host as well.
        path, _mark, text = re.sub(r"^http://[^/]*", "", request.target).partition("?")
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        self.check_login(request, path, text, query)
        bucket, _slash, key = urllib.parse.unquote(path).lstrip("/").partition("/")
        if request.headers["host"].startswith(f"{BUCKET}."):
            bucket, key = BUCKET, urllib.parse.unquote(path)[1:]
        if bucket != BUCKET:
            raise RefusalError(404, "NoSuchBucket")
        names = [name for name in ("uploads", "uploadId", "delete", "list-type") if name in query]
        kind = f"{'object' if key else 'bucket'}_{(names or ['plain'])[0].lower().replace('-', '_')}"
        method = getattr(self, f"{request.method.lower()}_{kind}", None)
        if method is None:
            raise RefusalError(405, "MethodNotAllowed", kind)
        return method(key, query, request)

    # --- logins -------------------------------------------------------------------------------------------------------

    def check_login(self, request, path, text, query):
        if self.public:
            return
        if "X-Amz-Signature" in query:
            self.check_url(request, path, text, query)
            return
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        if found is None:
            raise RefusalError(403, "AccessDenied")
        access_key, day, region, names, signature = found.groups()
        date = request.headers["x-amz-date"]
        self.check_user(access_key, region)
        moment = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        if abs(moment - time.time() - self.ahead) > 900:
            raise RefusalError(403, "RequestTimeTooSkewed")
        payload = request.headers["x-amz-content-sha256"]
        if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(request.body).hexdigest()):
            raise RefusalError(400, "XAmzContentSHA256Mismatch")
        headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names.split(";"))
        assert day == date[:8]
        assert "host" in names.split(";")
        canonical = "\n".join([request.method, path, sorted_query(text), headers, names, payload])
        if not hmac.compare_digest(signature, sign(date, canonical)):
            raise RefusalError(403, "SignatureDoesNotMatch")

    def check_url(self, request, path, text, query):
        access_key, _day, region, *_rest = query["X-Amz-Credential"].split("/")
        self.check_user(access_key, region)
        rest = "&".join(part for part in text.split("&") if not part.startswith("X-Amz-Signature="))
        host = f"host:{request.headers['host']}\n"
        canonical = "\n".join([request.method, path, sorted_query(rest), host, "host", "UNSIGNED-PAYLOAD"])
        if not hmac.compare_digest(query["X-Amz-Signature"], sign(query["X-Amz-Date"], canonical)):
            raise RefusalError(403, "SignatureDoesNotMatch")

    def check_user(self, access_key, region):
        if access_key != ACCESS_KEY:
            raise RefusalError(403, "InvalidAccessKeyId")
        if region != REGION:
            raise RefusalError(400, "AuthorizationHeaderMalformed", x_amz_bucket_region=REGION)

    # --- the bucket ---------------------------------------------------------------------------------------------------

    def head_bucket_plain(self, _key, _query, _request):
        return 200, "", {}

    def get_bucket_list_type(self, _key, query, _request):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        names = self.listed(prefix, delimiter)
        token = query.get("continuation-token")
        after = urllib.parse.unquote(token) if token else query.get("start-after", "")
        if token or not self.wrong("ignores_start_after"):
            names = [name for name in names if self.place(name) > self.place(after)]
        if token and self.wrong("pages_drop"):
            names = names[1:]
        size = min(int(query.get("max-keys", 1000)), self.page)
        if token and size > 1 and self.wrong("pages_repeat"):
            names = [after, *names]
        page, truncated = names[:size], len(names) > size
        if self.wrong("pages_end"):
            truncated = False
        contents, prefixes = [], []
        for name in page:
            shown = urllib.parse.quote(name)
            if delimiter and name.endswith(delimiter):
                prefixes.append(f"<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>")
            else:
                body, etag = self.objects.get(name, (b"", ""))
                contents.append(
                    f"<Contents><Key>{shown}</Key><LastModified>{self.stamp(name)}</LastModified><ETag>&quot;{etag}&quot;</ETag>"
                    f"<Size>{len(body)}</Size></Contents>"
                )
        following = "" if not truncated or self.wrong("pages_lead_nowhere") else urllib.parse.quote(page[-1])
        more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
        return document(
            "ListBucketResult",
            f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>{more}",
            *contents,
            *prefixes,
        )

    def listed(self, prefix, delimiter):
        with self.lock:
            keys = [key for key in self.objects if key.startswith(prefix) and key not in self.hidden]
            # Late for all lists but one of its own, since others list the directory meanwhile.
            self.hidden.discard(prefix)
            keys += [key for key in self.ghosts if key.startswith(prefix) and delimiter]
            keys += [key for key in self.former if key.startswith(prefix)] if self.wrong("lists_deleted") else []
        names = set()
        for key in keys:
            head, found, _rest = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
            names.add(prefix + head + found)
        if self.wrong("drops_alike"):
            begun = [other[:-1] + "." for other in names]
            names = {name for name in names if not (name.startswith(tuple(begun)) and name.endswith("/"))}
        return sorted(names, key=self.place)

    def place(self, name):
        """Where a name stands in a list."""
        return name.split("/") if self.wrong("order_of_files") else name

    def post_bucket_delete(self, _key, _query, request):
        if self.wrong("no_delete_many"):
            raise RefusalError(501, "NotImplemented")
        assert "content-md5" in request.headers
        keys = [html.unescape(one) for one in re.findall("<Key>(.*?)</Key>", request.body.decode())]
        kept = [one for one in keys if self.keeps and re.search(self.keeps, one)]
        for one in keys[1:] if self.wrong("deletes_some") else keys:
            if one not in kept:
                self.remove(one)
        told = [f"<Error><Key>{one}</Key><Code>AccessDenied</Code><Message>No</Message></Error>" for one in kept]
        return document("DeleteResult", *told)

    def get_bucket_uploads(self, _key, query, _request):
        begun = sorted((key, one) for one, (key, _parts) in self.uploads.items() if key.startswith(query["prefix"]))
        if self.wrong("uploads_hidden"):
            begun = []
        marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
        begun = [one for one in begun if one > marker]
        size = int(query["max-uploads"])
        last = ""
        if len(begun) > size:
            key, one = begun[size - 1]
            last = f"<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{one}</NextUploadIdMarker>"
        told = [
            f"<Upload><Key>{key}</Key><UploadId>{one}</UploadId><Initiated>{STAMP}</Initiated></Upload>"
            for key, one in begun[:size]
        ]
        return document(
            "ListMultipartUploadsResult", f"<IsTruncated>{str(len(begun) > size).lower()}</IsTruncated>", last, *told
        )

    # --- objects ------------------------------------------------------------------------------------------------------

    def put_object_plain(self, key, _query, request):
        if "x-amz-copy-source" in request.headers:
            return self.copied(key, request)
        conditional = "if-none-match" in request.headers and not self.wrong("no_conditional")
        with self.lock:
            there = key in self.objects
        if conditional and self.gap:
            time.sleep(self.gap)
        with self.lock:
            if conditional and (there if self.gap else key in self.objects):
                raise RefusalError(412, "PreconditionFailed")
            etag = self.write(key, request.body)
        return 200, "", {"ETag": f'"{etag}"'}

    def write(self, key, body):
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if self.wrong("other_etags"):
            etag = f"{hashlib.md5(etag.encode(), usedforsecurity=False).hexdigest()}-1"
        self.written += 1
        if self.times is not None:
            self.times[key] = time.time() + self.ahead
        if self.wrong("lists_late") and "/list/" in key and self.written % 5 == 0:
            self.hidden.add(key)
        if self.wrong("stale_reads") and key in self.objects:
            self.former[key] = self.objects[key]
        if self.wrong("reads_late") and self.written % 7 == 0:
            self.former[key] = None
        if self.wrong("drops_object_below"):
            self.objects.pop(key.rpartition("/")[0], None)
        if self.wrong("refuses_below") and key.rpartition("/")[0] in self.objects:
            raise RefusalError(409, "InvalidObjectState")
        self.objects[key] = body, etag
        return etag

    def stamp(self, key):
        if self.times is None:
            return STAMP
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.times[key]))

    def find(self, key):
        with self.lock:
            found = self.former.pop(key) if key in self.former else self.objects.get(key)
        if found is None:
            raise RefusalError(404, "NoSuchKey")
        return found

    def get_object_plain(self, key, _query, request):
        body, etag = self.find(key)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if found is None or self.wrong("no_ranges"):
            return 200, body, {"ETag": f'"{etag}"'}
        first, last = int(found[1]), int(found[2] or len(body))
        if first >= len(body):
            raise RefusalError(416, "InvalidRange")
        return 206, body[first : last + 1], {"ETag": f'"{etag}"'}

    def head_object_plain(self, key, _query, _request):
        body, etag = self.find(key)
        return 200, body, {"ETag": f'"{etag}"', "Last_Modified": self.last_modified(key)}

    def last_modified(self, key):
        seconds = calendar.timegm(time.strptime(self.stamp(key)[:19], "%Y-%m-%dT%H:%M:%S"))
        return email.utils.formatdate(seconds, usegmt=True)

    def delete_object_plain(self, key, _query, _request):
        self.remove(key)
        return 204, "", {}

    def remove(self, key):
        with self.lock:
            found = self.objects.pop(key, None)
            if found and (self.wrong("reads_deleted") or self.wrong("lists_deleted")):
                self.former[key] = found
            if found and self.wrong("keeps_directories"):
                self.ghosts.add(key)

    def copied(self, key, request):
        source = urllib.parse.unquote(request.headers["x-amz-copy-source"]).split("/", 2)[2]
        result = "<ETag>&quot;x&quot;</ETag>"
        if source not in self.objects and self.wrong("copy_succeeds"):
            return document("CopyObjectResult", result)
        if source not in self.objects and self.wrong("copy_error_200"):
            return 200, error_document("NoSuchKey", "not there"), {}
        body, _etag = self.find(source)
        if not self.wrong("copy_lost"):
            self.write(key, body)
        return document("CopyObjectResult", result)

    # --- parts --------------------------------------------------------------------------------------------------------

    def post_object_uploads(self, key, _query, _request):
        upload_id = f"upload{len(self.requests)}"
        self.uploads[upload_id] = key, {}
        return document("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")

    def begun(self, query):
        if query["uploadId"] not in self.uploads:
            raise RefusalError(404, "NoSuchUpload")
        return self.uploads[query["uploadId"]][1]

    def put_object_uploadid(self, _key, query, request):
        parts, body, number = self.begun(query), request.body, int(query["partNumber"])
        copied = request.headers.get("x-amz-copy-source")
        if copied:
            source = urllib.parse.unquote(copied).split("/", 2)[2]
            if source not in self.objects and self.wrong("part_copy_succeeds"):
                return document("CopyPartResult", "<ETag>x</ETag>")
            body = self.find(source)[0]
            first, last = request.headers["x-amz-copy-source-range"].removeprefix("bytes=").split("-")
            body = body if self.wrong("part_copy_whole") else body[int(first) : int(last) + 1]
        parts[number] = body, hashlib.md5(body, usedforsecurity=False).hexdigest()
        etag = f'"{parts[number][1]}"'
        return document("CopyPartResult", f"<ETag>{etag}</ETag>") if copied else (200, "", {"ETag": etag})

    def get_object_uploadid(self, _key, query, _request):
        parts = sorted(self.begun(query).items())
        if self.wrong("parts_incomplete"):
            parts = parts[:-1]
        after = int(query.get("part-number-marker") or 0)
        parts = [one for one in parts if one[0] > after]
        size = int(query["max-parts"])
        told = [
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(body)}</Size><ETag>{etag}</ETag></Part>"
            for number, (body, etag) in parts[:size]
        ]
        last = f"<NextPartNumberMarker>{parts[:size][-1][0]}</NextPartNumberMarker>" if len(parts) > size else ""
        return document("ListPartsResult", f"<IsTruncated>{str(len(parts) > size).lower()}</IsTruncated>", last, *told)

    def post_object_uploadid(self, key, query, request):
        parts = self.begun(query)
        found = re.findall("<PartNumber>(.*?)</PartNumber><ETag>(.*?)</ETag>", request.body.decode())
        wanted = [(int(number), html.unescape(etag).strip('"')) for number, etag in found]
        for number, etag in wanted:
            if (number not in parts or parts[number][1] != etag) and not self.wrong("completes_all"):
                raise RefusalError(400, "InvalidPart")
            if number != wanted[-1][0] and number in parts and len(parts[number][0]) < LEAST_PART:
                raise RefusalError(400, "EntityTooSmall")
        if self.wrong("complete_error_200"):
            return 200, "\n \n" + error_document("InternalError", "late"), {}
        numbers = [number for number, _etag in wanted if number in parts]
        if self.wrong("loses_parts"):
            numbers = numbers[:1]
        if self.wrong("order_of_arrival"):
            numbers = list(parts)
        self.write(key, b"".join(parts[number][0] for number in numbers))
        del self.uploads[query["uploadId"]]
        return document("CompleteMultipartUploadResult", f"<Key>{key}</Key><ETag>x</ETag>")

    def delete_object_uploadid(self, _key, query, _request):
        self.begun(query)
        if not self.wrong("abort_does_nothing"):
            del self.uploads[query["uploadId"]]
        return 204, "", {}


def document(name, *parts):
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="urn:s3">{"".join(parts)}</{name}>'
    return 200, text, {"Content_Type": "application/xml"}


def sorted_query(text):
    return "&".join(sorted(part if "=" in part else part + "=" for part in text.split("&"))) if text else ""


def sign(date, canonical):
    key = b"AWS4" + SECRET_KEY.encode()
    for part in (date[:8], REGION, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{date[:8]}/{REGION}/s3/aws4_request\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def bucket_at(endpoint, **others):
    """The bucket of the tests at a storage, in the words of registry_s3 and of the programs."""
    return {
        "endpoint": endpoint,
        "bucket": BUCKET,
        "region": REGION,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        **others,
    }


def options(server, **others):
    """Options of S3Access, and of the module, for the storage behind a server."""
    given = {"force_path_style": True, "ca_path": None, "validate_certs": True, "timeout": 5}
    return {**bucket_at(f"http://{server.netloc}"), **given, **others}
