"""One user who is slow holds up none of the others, nor a garbage collection (issue 16, A5)."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest
from addresses import attackers
from attack import attacked
from engine import wait_for
from http_client import OCI, digest_of, manifest, with_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target import Target

# A collection asks for a quiet moment so long, and longer.
QUIET_SECONDS = 8


def put(path: str, length: int, kind: str = OCI) -> str:
    return f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"


@contextlib.contextmanager
def stalled(target: Target, form: str, path: str) -> Iterator[None]:
    """A body to the path that does not come to its end."""
    content, credential = manifest(b"x"), target.remembered("attacker")
    kind = "application/octet-stream" if "uploads" in path else OCI
    streams = {
        "method": "PUT",
        "path": path,
        "headers": {"content-type": kind},
        "credential": credential,
        "length": len(content),
        "first": len(content) - 1,
        "every": 600,
        "streams": 1,
    }
    http1 = {"credential": credential, "each": 1, "opening": put(path, len(content), kind)}
    in_chunks = put(path, 0, kind).replace("Content-Length: 0", "Transfer-Encoding: chunked") + "5\r\nhello\r\n"
    kind_of_attack, options = {
        "http1": ("hold", {**http1, "first": len(content) - 1}),
        "drop by drop": ("hold", {**http1, "drip": "x"}),
        "chunks": ("hold", {**http1, "opening": in_chunks, "drip": "1\r\nx\r\n"}),
        "http2": ("streams", streams),
    }[form]
    with attacked(target, kind_of_attack, attackers(1), connections=1, **options):
        yield


FORMS = ["http1", "drop by drop", "chunks", "http2"]


@pytest.mark.parametrize(("prefix", "form"), [*(("v", form) for form in FORMS), ("latest-", "http1")])
def test_a_manifest_that_stalls(target: Target, form: str, prefix: str) -> None:
    """Its tag is not busy for others, and neither is the registry."""
    tag = prefix + secrets.token_hex(4)
    other = target.client("pusher")
    for content in (b"{}", b"theirs"):
        other.put_blob("apps/pushed", content)
    with stalled(target, form, f"/v2/apps/pushed/manifests/{tag}"):
        answer = other.ask("PUT", f"/v2/apps/pushed/manifests/{tag}", manifest(b"theirs"), Content_Type=OCI)
        assert answer.status == 201, answer
        assert not target.mix().once()
        wait_for("a quiet moment", target.quiet, QUIET_SECONDS)
        assert other.digest("apps/pushed", tag) == digest_of(manifest(b"theirs"))


@pytest.mark.parametrize("form", ["http1", "http2"])
def test_the_end_of_an_upload_that_stalls(target: Target, form: str) -> None:
    location = target.client("attacker").begin("apps/stalled")
    with stalled(target, form, with_digest(location, digest_of(manifest(b"x")))):
        assert not target.mix().once()
        wait_for("a quiet moment", target.quiet, QUIET_SECONDS)


def test_many_that_stall(narrow: Target) -> None:
    """One user's, on more tags and uploads than there are slots."""
    content = manifest(b"x")
    options = {
        "method": "PUT",
        "credential": narrow.remembered("attacker"),
        "length": len(content),
        "first": len(content) - 1,
        "every": 600,
    }
    with contextlib.ExitStack() as stack:
        for number in range(3):
            path = f"/v2/apps/pushed/manifests/v{number}"
            attack = attacked(narrow, "streams", attackers(1), path=path, connections=2, streams=20, **options)
            stack.enter_context(attack)
        assert not narrow.mix().run(2).failures
        wait_for("a quiet moment", narrow.quiet, QUIET_SECONDS)
