"""Three hosts are one registry: what one takes, all have, and of two writers of one tag one wins."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import secrets
import time
from typing import TYPE_CHECKING

from engine import wait_for
from http_client import ACCEPT, CONFIGS, OCI

if TYPE_CHECKING:
    from conftest import Lab, Work
    from content import Content


def test_each_host_has_its_address(lab: Lab) -> None:
    lab.settle()


def test_what_one_takes_all_have(lab: Lab) -> None:
    for number, registry in enumerate(lab.registries):
        with registry.content("ci") as content:
            digest = content.image(f"team/app{number}", "1.0.0")["digest"]
        for other in lab.registries:
            with other.content("runtime") as content:
                answer = content.ask("HEAD", f"/v2/team/app{number}/manifests/1.0.0", Accept=ACCEPT)
            assert answer.headers["Docker-Content-Digest"] == digest


def test_an_upload_is_that_of_its_user_at_each_host(lab: Lab) -> None:
    with lab.registries[0].content("ci") as content:
        begun = content.ask("POST", "/v2/team/upload/blobs/uploads/")
    path = begun.headers["Location"][begun.headers["Location"].index("/v2/") :]
    for registry in lab.registries:
        with registry.content("other") as content:
            assert content.ask("PATCH", path, b"x", Content_Type="application/octet-stream").status == 403
    with lab.registries[1].content("ci") as content:
        assert content.ask("PATCH", path, b"x", Content_Type="application/octet-stream").status == 202


def test_of_two_hosts_one_makes_an_immutable_tag(lab: Lab) -> None:
    with lab.registries[0].content("ci") as one, lab.registries[1].content("ci") as other:
        one.image("team/race", "base")
        manifests = [_manifest(one, number) for number in (1, 2)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for _race in range(20):
                path = f"/v2/team/race/manifests/v{secrets.token_hex(4)}"
                answers = [
                    pool.submit(_put, content, path, manifest)
                    for content, manifest in zip((one, other), manifests, strict=True)
                ]
                assert sorted(answer.result() for answer in answers) == [201, 403]


def _put(content: Content, path: str, manifest: bytes) -> int:
    """As clients do: one that is told to come again later comes again."""
    for _attempt in range(10):
        answer = content.ask("PUT", path, manifest, Content_Type=OCI)
        if answer.status != 503:
            break
        assert answer.headers["Retry-After"], answer
        time.sleep(1)
    return answer.status


def _manifest(content: Content, number: int) -> bytes:
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "number": number}
    blob = content.blob("team/race", json.dumps(config).encode())
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI, "config": {**blob, "mediaType": CONFIGS[OCI]}, "layers": []}
    ).encode()


def test_the_page_of_each_host_shows_what_any_took(lab: Lab) -> None:
    with lab.registries[1].content("ci") as content:
        content.image("team/shown", "1.0.0")
    with contextlib.ExitStack() as stack:
        people = [stack.enter_context(registry.content("admin")) for registry in lab.registries]

        def shown() -> list[list[tuple[str, str]]]:
            answers = [one.ask("GET", "/page/data/repositories/team/shown.json") for one in people]
            found = [json.loads(answer.body)["tags"] if answer.status == 200 else [] for answer in answers]
            return [[(tag["name"], tag["pushed_by"]) for tag in tags] for tags in found]

        wait_for("all of them show it", lambda: shown() == [[("1.0.0", "ci")]] * 3)


def test_clients_work(work: Work) -> None:
    work.go_on()
