"""Names, labels, users and reports that attack: they are text, whatever they say."""

from __future__ import annotations

import re

import pytest
from page_server import CSP
from page_sets import HOSTILE, LONG, usual
from page_steps import accessible, fits, settled
from playwright.sync_api import expect

VIEWS = [
    "#/",
    "#/repository/team/hostile",
    "#/repository/team/hostile:latest",
    "#/repository/team/hostile?show=untagged",
    "#/repository/team/hostile?show=retention",
    "#/image/team/hostile@DIGEST?with=previous",
    *(
        f"#/fleet/{section}"
        for section in ("hosts", "running", "certificates", "backups", "mirrors", "storage", "reports")
    ),
]


@pytest.fixture
def page(hostile, visit):
    return visit(hostile)


def each(page, hostile):
    digest = hostile.content.repositories["team/hostile"].tags["latest"].digest
    for route in VIEWS:
        page.goto(f"{hostile.url}/{route.replace('DIGEST', digest)}")
        page.locator(".card, table.grid, .plain-table, .empty").locator("visible=true").first.wait_for()
        page.wait_for_load_state("networkidle")
        yield route


def test_nothing_runs_and_nothing_leads_elsewhere(page, hostile):
    for route in each(page, hostile):
        assert page.evaluate("window.hacked") is None, route
        assert (
            page.locator("main script, main img, main iframe, main [onload], main [onerror], main [style*=url]").count()
            == 0
        )
        for address in page.locator("a").evaluate_all("all => all.map((one) => one.href)"):
            assert address.startswith(hostile.url + "/"), address
        fits(page)


def test_each_text_is_shown_as_it_is(page, hostile):
    settled(page, len(hostile.content.repositories))
    shown = page.locator("table.grid").inner_text()
    assert "<script>window.hacked=1</script>" in shown
    assert "{{7*7}}${7*7}" in shown
    # What can't be seen is made visible, and nothing turns the direction of what stands beside it.
    assert "safeU+202Egnp.exe" in shown
    assert "\u241b[31mred\u241b[0m\u2407\u2400" in shown
    assert not re.search("[\u0000-\u0008\u001b\u202a-\u202e\u2066-\u2069]", page.locator("body").inner_text())
    isolated = page.locator("table.grid bdi").evaluate_all(
        "all => all.every((one) => getComputedStyle(one).unicodeBidi === 'isolate')"
    )
    assert isolated


def test_long_lines_are_cut_and_can_be_seen_whole(page, hostile):
    digest = hostile.content.repositories["team/hostile"].tags["latest"].digest
    page.goto(f"{hostile.url}/#/image/team/hostile@{digest}")
    button = page.get_by_role("button", name="Show all 10,240 characters").first
    button.wait_for()
    assert LONG not in page.locator("main").inner_text()
    button.click()
    expect(page.get_by_role("button", name="Show less")).to_be_focused()
    assert LONG in page.locator("main").inner_text()
    fits(page)
    page.get_by_role("button", name="Show less").click()
    assert LONG not in page.locator("main").inner_text()


def test_a_name_that_is_none_gets_no_command_and_no_request(hostile, visit):
    page = visit(hostile, f"#/repository/team/hostile:{'javascript%3Aalert(1)'}")
    expect(page.locator(".panel h2")).to_have_text("javascript:alert(1)")
    commands = page.locator(".command code").all_inner_texts()
    assert len(commands) == 1
    assert "@sha256:" in commands[0]
    asked = len(hostile.requests)
    page.goto(f"{hostile.url}/#/repository/../../v2/_catalog")
    expect(page.get_by_role("alert")).to_contain_text("No repository can have this name")
    paths = [path for _method, path, _user in hostile.requests[asked:]]
    assert not [path for path in paths if "catalog" in path]


def test_hostile_titles_and_views_are_accessible(page, hostile):
    for route in VIEWS[:3]:
        page.goto(f"{hostile.url}/{route}")
        page.locator("table.grid tbody tr").first.wait_for()
        accessible(page)
        assert "\u202e" not in page.title()


def test_the_page_runs_where_no_text_may_become_markup(serve, visit):
    """Trusted Types are required, and there is no policy that makes any."""
    site = serve(usual(), csp=CSP + "; require-trusted-types-for 'script'; trusted-types 'none'")
    page = visit(site, "#/repository/apps/api:1.4.0")
    page.locator(".panel").wait_for()
    page.goto(f"{site.url}/#/fleet/reports")
    page.locator(".card").wait_for()


def test_the_set_is_hostile():
    assert len(HOSTILE) == 8
