"""The page and the metrics of a registry that site.yml has made."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from labtest import wait_for

if TYPE_CHECKING:
    from labtest import LabHost, Registry


def rows(registry: Registry, user: str) -> dict[str, list]:
    """The repositories on the page of a user, by name."""
    index = registry.request("GET", "/page/data/index.json", user=user).json
    base = registry.request("GET", f"/page/data/{index['base']}", user=user).json
    found = {row[0]: row for row in base["rows"]}
    for change in index["changes"]:
        if isinstance(change, list):
            found[change[0]] = change
    return found


def test_the_page_is_served_behind_the_login(registry: Registry) -> None:
    assert registry.request("GET", "/").status == 401
    answer = registry.request("GET", "/", user="runtime")
    assert answer.status == 200
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    files = re.findall(r"/page/[a-z]+\.(?:js|css|svg)", answer.body.decode())
    assert len(files) > 10
    for file in sorted(set(files)):
        assert registry.request("GET", file, user="runtime").status == 200, file


def test_a_push_is_on_the_page_in_seconds(registry: Registry) -> None:
    repository = f"seen/{uuid.uuid4().hex}"
    with registry.content("ci") as content:
        content.image(repository, "1.0.0")
    wait_for("its row", lambda: repository in rows(registry, "runtime"), seconds=5)
    details = registry.request("GET", f"/page/data/repositories/{repository}.json", user="runtime").json
    assert [(tag["name"], tag["pushed_by"]) for tag in details["tags"]] == [("1.0.0", "ci")]


def test_what_the_host_tells_of_itself_is_on_the_page(registry: Registry) -> None:
    fleet = registry.request("GET", "/page/data/fleet.json", user="admin").json
    assert {one["name"] for one in fleet["certificates"]} == {"server", "CA"}
    assert registry.request("GET", "/page/data/fleet.json", user="runtime").status == 404


def test_metrics_are_for_those_who_may(registry: Registry, lab: LabHost) -> None:
    assert registry.request("GET", "/metrics").status == 401
    assert registry.request("GET", "/metrics", user="runtime").status in (403, 404)
    answer = registry.request("GET", "/metrics", user="admin")
    assert answer.status == 200
    assert re.search(r'^wharf_replica_up{replica="1"} 1$', answer.body.decode(), re.MULTILINE)

    def counted() -> int:
        text = registry.request("GET", "/metrics", user="admin").body.decode()
        series = r'^wharf_requests_total{action="catalog",status="200",user_class="admin"} (\d+)$'
        return sum(map(int, re.findall(series, text, re.MULTILINE)))

    before = counted()
    for _request in range(3):
        assert registry.request("GET", "/v2/_catalog", user="admin").status == 200
    wait_for("three more", lambda: counted() >= before + 3, seconds=15)
    assert lab.output("systemctl is-active wharf-registry-metrics wharf-registry-page").split() == ["active", "active"]
