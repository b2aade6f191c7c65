"""The pages of several hosts before one bucket: each shows what came in through any of them."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING

import memory_s3
import pytest
from bucket_front import registry_s3
from collecting import content_of
from engine import wait_for
from front import ROLES
from http_client import ACCEPT
from page_program import PageProgram, running
from s3_relay import Relay
from several_fronts import several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seaweedfs import SeaweedFS
    from several_fronts import SharedFront

USERS = [{"name": "admin", "access": "admin"}, {"name": "ci", "access": "push"}]
# A host reads what others have written every five seconds, and an index is written each second.
SECONDS = 15
AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def relay(storage: SeaweedFS) -> Iterator[Relay]:
    """The way of the pages to the storage."""
    with Relay(storage.gateways[0]) as relay:
        yield relay


@pytest.fixture(scope="module")
def hosts(
    images: dict[str, str], storage: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[SharedFront]]:
    with (
        Relay(storage.gateways[0]) as relay,
        several(
            tmp_path_factory.mktemp("hosts"),
            images,
            USERS,
            2,
            registry_storage="s3",
            registry_s3=registry_s3(f"http://{relay.address}:{relay.port}"),
            reverse_proxy_page=True,
            reverse_proxy_bcrypt_cost=5,
        ) as hosts,
    ):
        for host in hosts:
            shutil.copytree(ROLES / "reverse_proxy" / "files" / "page", host.directory / "page" / "site")
            host.give_away()
        yield hosts


@pytest.fixture(scope="module")
def pages(hosts: list[SharedFront], relay: Relay) -> Iterator[list[PageProgram]]:
    names = [f"host-{place}" for place in range(len(hosts))]
    with contextlib.ExitStack() as stack:
        found = []
        for place, host in enumerate(hosts):
            access = host.directory / "page-s3.json"
            access.write_text(json.dumps(memory_s3.bucket_at(f"http://{relay.address}:{relay.port}")))
            others = [name for name in names if name != names[place]]
            found.append(
                stack.enter_context(running(host, USERS, storage="", s3=str(access), host=names[place], others=others))
            )
        for page in found:
            page.wait_until_complete("admin")
        yield found


def tags(page: PageProgram, repository: str) -> dict[str, dict]:
    return {tag["name"]: tag for tag in (page.details("admin", repository) or {"tags": []})["tags"]}


def seen(pages: list[PageProgram], repository: str, expected: list[str]) -> None:
    """The tags of a repository become these on all pages."""
    for page in pages:
        wait_for(
            f"{expected} on the page of {page.settings['host']}",
            lambda page=page: sorted(tags(page, repository)) == expected,
            SECONDS,
            longest=0.3,
        )


def test_what_comes_in_through_one_is_on_the_pages_of_all(hosts: list[SharedFront], pages: list[PageProgram]) -> None:
    # By the hash of their names, each of the two hosts has some of them.
    names = ["apps/web", "team/a", "apps/api", "team/c"]
    for number, name in enumerate(names):
        content_of(hosts[number % 2], "ci").image(name, "1.0", layer=name.encode() * 1000)
    for name in names:
        seen(pages, name, ["1.0"])
        assert [tags(page, name)["1.0"]["pushed_by"] for page in pages] == ["ci", "ci"]
    assert [sorted(page.rows("admin")) for page in pages] == [sorted(names)] * 2
    # A bucket does not tell its room.
    assert [page.get("admin", "index.json")["storage"] for page in pages] == [None, None]
    content = content_of(hosts[1])
    image = content.image("apps/web", "2.0", layer=b"2.0")
    seen(pages, "apps/web", ["1.0", "2.0"])
    assert content.ask("DELETE", f"/v2/apps/web/manifests/{image['digest']}").status == 202
    seen(pages, "apps/web", ["1.0"])
    assert [page.complained() for page in pages] == ["", ""]


def test_a_pull_through_one_is_told_by_all(hosts: list[SharedFront], pages: list[PageProgram]) -> None:
    content_of(hosts[0], "ci").image("apps/pulled", "1.0", layer=b"pulled")
    seen(pages, "apps/pulled", ["1.0"])
    assert [tags(page, "apps/pulled")["1.0"]["pulled"] for page in pages] == [None, None]
    assert content_of(hosts[0], "ci").ask("GET", "/v2/apps/pulled/manifests/1.0", Accept=ACCEPT).status == 200
    # Pulls are told some times a minute, by the one host and by the other.
    wait_for("the pull", lambda: all(tags(page, "apps/pulled")["1.0"]["pulled"] for page in pages), 60)


# With a bucket in memory, the unit tests do the same.
@pytest.mark.long
def test_without_the_bucket_the_pages_stay_as_they_were(
    hosts: list[SharedFront], pages: list[PageProgram], relay: Relay
) -> None:
    content_of(hosts[0]).image("apps/before", "1.0", layer=b"before")
    seen(pages, "apps/before", ["1.0"])
    with relay.broken(lambda _seen: AWAY):
        content_of(hosts[0]).image("apps/during", "1.0", layer=b"during")
        wait_for("it says so", lambda: "the images can't be read" in pages[0].complained(), 60)
        assert [sorted(tags(page, "apps/before")) for page in pages] == [["1.0"]] * 2
        assert [sorted(tags(page, "apps/during")) for page in pages] == [[]] * 2
    for page in pages:
        wait_for("the page has all of it", lambda page=page: "1.0" in tags(page, "apps/during"), 60)
    assert "the storage can be read again" in pages[0].complained()
    for page in pages:
        assert memory_s3.SECRET_KEY not in page.complained()
