"""Garbage collection and clients at the same time: who waits, for how long, and that service comes back."""

from __future__ import annotations

import json
import secrets
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from collecting import MIB, USERS, Collector, content_of, delete, pull
from engine import command, wait_for
from http_client import ACCEPT, OCI, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from content import Content
    from front import Front


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"])


def test_a_write_that_no_look_has_seen_keeps_all(content: Content, proxy: Front, tmp_path: Path) -> None:
    """It was let through before, came late, and has ended before the second look whether something writes."""
    image = content.image("apps/web", "old")
    content.image("apps/web", "old")
    body = content.ask("GET", f"/v2/apps/web/manifests/{image['digest']}", Accept=ACCEPT)[2]
    (tmp_path / "body").write_bytes(body)
    # Behind the gate, at the third look: one before the registry is held, and one before all is looked at again.
    late = (
        f"n=$(cat {tmp_path}/n 2>/dev/null || echo 0); echo $((n + 1)) >{tmp_path}/n; [ $n -ne 2 ] || "
        f"docker exec --interactive {proxy.containers['proxy']} curl --silent --fail --unix-socket /tmp/write.sock "
        f"--request PUT --header 'Content-Type: {image['mediaType']}' --header 'Expect:' --data-binary @- "
        f"http://write/v2/apps/web/manifests/late <{tmp_path}/body"
    )
    collection = Collector(proxy, quiet_command=["sh", "-c", late], attempts=2)
    report = collection.run()
    assert (tmp_path / "n").read_text().strip() == "6"
    assert report["removed"]["manifests"] == 0
    assert pull(content, "apps/web", "late")[0] == image["digest"]


def test_a_write_is_written_down_before_the_registry_has_it(content: Content, proxy: Front) -> None:
    """What is killed from then on may have been done all the same."""
    image = content.image("apps/recorded", "1.0")
    body = content.ask("GET", f"/v2/apps/recorded/manifests/{image['digest']}", Accept=ACCEPT)[2]
    begun, written = (proxy.directory / "looked-at" / name for name in ("begun", "written"))
    for path in (begun, written):
        path.unlink()
    content.ask("HEAD", "/v2/apps/recorded/manifests/1.0", Accept=ACCEPT)
    assert not begun.exists()
    path = "/v2/apps/recorded/manifests/late"
    put = threading.Thread(target=content_of(proxy).ask, args=("PUT", path, body), kwargs={"Content_Type": OCI})
    replicas = [container for name, container in proxy.containers.items() if name.startswith("registry-")]
    command("docker", "pause", *replicas)
    try:
        put.start()
        wait_for("it is let through", lambda: begun.exists() and begun.read_text() == "apps/recorded\n")
        assert "apps/recorded" not in (written.read_text() if written.exists() else "")
    finally:
        command("docker", "unpause", *replicas)
        put.join()
    wait_for("it has ended", lambda: "apps/recorded 201\n" in written.read_text())
    assert pull(content, "apps/recorded", "late")[0] == image["digest"]


def test_a_proxy_that_can_not_be_asked_is_told(content: Content, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    hold = Collector(proxy, quiet_command=["sh", "-c", "echo no such container >&2; exit 1"])
    status, _output, errors = hold.finish(hold.start())
    assert status == 1
    assert "can't be asked whether something writes: no such container. Nothing was removed" in errors


def test_writers_wait_and_readers_do_not(content: Content, proxy: Front) -> None:
    """While what was let through before the hold is given its time."""
    image = content.image("apps/web", "1.0.0")
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    flag = proxy.directory / "sockets" / "hold"
    # Something is being written for the first two seconds of the hold.
    busy = f"! find {flag} -newermt '-2 seconds' 2>/dev/null | grep -q . || exit 22"
    hold = Collector(proxy, drain_seconds=10, quiet_command=["sh", "-c", busy])
    process = hold.start()
    wait_for("the registry is held", flag.exists)
    began = time.monotonic()
    pull(content, "apps/web", "1.0.0")
    assert time.monotonic() - began < 1
    # Waits, and is let through in the end.
    assert content_of(proxy).image("apps/web", "late")["digest"]
    assert time.monotonic() - began > 1
    status, output, errors = hold.finish(process)
    assert status == 0, errors
    pull(content, "apps/web", "late")
    assert content.digest("apps/web", "1.0.0") == image["digest"]
    report = json.loads((proxy.directory / "report.json").read_text())
    assert report["held_seconds"] > 1, output
    assert report["refused"] == 0


def test_an_upload_that_takes_its_time_keeps_no_collection_waiting(
    content: Content, collector: Collector, proxy: Front
) -> None:
    """Its last part comes with the request that ends it, and is no write until all of it is there."""
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    slow = content_of(proxy)
    body = secrets.token_bytes(100_000)
    location = slow.ask("POST", "/v2/apps/slow/blobs/uploads/")[1]["Location"]
    digest = digest_of(body)
    collected = threading.Event()

    def stalled():
        yield body[:50_000]
        assert collected.wait(60)
        yield body[50_000:]

    statuses = {}

    def upload() -> None:
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        headers = {
            "Authorization": slow.authorization,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(body)),
        }
        slow.connection.request("PUT", target, body=stalled(), headers=headers)
        statuses["slow"] = slow.connection.getresponse().status

    uploading = threading.Thread(target=upload)
    uploading.start()
    try:
        time.sleep(0.3)
        status, _output, errors = collector.finish(collector.start())
    finally:
        collected.set()
        uploading.join()
    assert status == 0, errors
    assert statuses["slow"] == 201


def test_who_waits_for_long_is_told_to_come_back(content: Content, proxy: Front) -> None:
    layer = secrets.token_bytes(1000)
    image = content.image("apps/web", "1.0.0", layer=layer)
    # The writes below wait one after another, and all of them in the time that writes are held.
    hold = Collector(proxy, patience_seconds=0.1, drain_seconds=3, quiet_command=["sh", "-c", "exit 22"])
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    process = hold.start()
    wait_for("the registry is held", (proxy.directory / "sockets" / "hold").exists)
    for method, path, body in (
        ("POST", "/v2/apps/web/blobs/uploads/", b""),
        ("PUT", "/v2/apps/web/manifests/2.0.0", b"{}"),
        ("PUT", "/v2/apps/web/manifests/v2.0.0", b"{}"),
        ("DELETE", f"/v2/apps/web/manifests/{image['digest']}", None),
        ("HEAD", f"/v2/apps/web/manifests/{image['digest']}", None),
        ("HEAD", f"/v2/apps/web/blobs/{digest_of(layer)}", None),
    ):
        status, headers, said = content.ask(method, path, body)
        assert status == 503, (method, path, status, said)
        assert headers["Retry-After"] == "10"
        assert method == "HEAD" or json.loads(said)["errors"][0]["code"] == "UNAVAILABLE"
    # Who may only pull is not held up.
    for path in (f"manifests/{image['digest']}", f"blobs/{digest_of(layer)}"):
        assert proxy.client("runtime").ask("HEAD", f"/v2/apps/web/{path}", Accept=OCI).status == 200
    # Who has no password hears that first.
    assert proxy.client("admin", "wrong").ask("PUT", "/v2/apps/web/manifests/2.0.0", b"{}").status == 401
    assert proxy.client().ask("POST", "/v2/apps/web/blobs/uploads/", b"").status == 401
    pull(content, "apps/web", "1.0.0")
    status, _output, errors = hold.finish(process)
    assert status == 1
    assert "was being written to, 1 times for 3 seconds" in errors
    # Nothing was removed, and all is as before.
    content.image("apps/web", "2.0.0", layer=layer)
    pull(content, "apps/web", "2.0.0")


def test_a_collector_that_was_killed_holds_nothing(content: Content, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x", layer=secrets.token_bytes(MIB))["digest"])
    hold = Collector(proxy, quiet_command=["sh", "-c", "exit 22"])
    process = hold.start()
    wait_for("the registry is held", (proxy.directory / "sockets" / "hold").exists)
    pushed = {}
    pushing = threading.Thread(target=lambda: pushed.update(content_of(proxy).image("apps/web", "1.0.0")))
    pushing.start()
    time.sleep(1)
    assert not pushed
    process.send_signal(signal.SIGKILL)
    hold.finish(process)
    pushing.join()
    assert pushed["digest"] == content.digest("apps/web", "1.0.0")
    # What it has left behind blocks no client.
    assert (proxy.directory / "sockets" / "hold").exists()
    content.image("apps/web", "2.0.0")
    assert Collector(proxy).run()["freed"] > MIB
    assert not list((proxy.directory / "sockets").glob("hold*"))


def test_one_at_a_time(content: Content, collector: Collector) -> None:
    content.image("apps/web", "x")
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    first = collector.start(grace_seconds=3)
    time.sleep(1)
    status, _output, errors = collector.finish(collector.start(lock_seconds=0))
    assert status == 1
    assert "another collection or a backup has held" in errors
    assert collector.finish(first)[0] == 0


def test_one_that_is_told_to_stop_lets_go(content: Content, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    hold = Collector(proxy, quiet_command=["sh", "-c", "exit 22"])
    process = hold.start()
    wait_for("the registry is held", (proxy.directory / "sockets" / "hold").exists)
    process.terminate()
    status, _output, errors = hold.finish(process)
    assert status == 1
    assert "told to stop" in errors
    assert not list((proxy.directory / "sockets").glob("hold*"))
