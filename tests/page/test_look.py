"""How the page looks and reads: both colour schemes, 360 pixels, print, axe in each view, and no JavaScript."""

from __future__ import annotations

import pytest
from page_steps import accessible, fits, rows, settled, sort
from playwright.sync_api import expect

VIEWS = {
    "repositories": "#/",
    "nothing found": "#/?q=nothing",
    "tags": "#/repository/apps/api",
    "tag": "#/repository/apps/api:1.3.4",
    "untagged": "#/repository/apps/api?show=untagged",
    "retention": "#/repository/apps/api?show=retention",
    "image": "#/image/apps/api@DIGEST?with=1.3.5",
    "fleet": "#/fleet?host=web8.example.com",
    "running": "#/fleet/running",
    "certificates": "#/fleet/certificates",
    "backups": "#/fleet/backups",
    "mirrors": "#/fleet/mirrors",
    "storage": "#/fleet/storage",
    "reports": "#/fleet/reports",
}


def every_view(page, site):
    """Goes to each view in turn, and waits until it is drawn."""
    digest = site.content.repositories["apps/api"].tags["1.4.0"].digest
    for view, route in VIEWS.items():
        page.goto(f"{site.url}/{route.replace('DIGEST', digest)}")
        page.locator(".card, table.grid, .plain-table, .empty").locator("visible=true").first.wait_for()
        if view == "image":
            page.get_by_role("table", name="Layers of both").wait_for()
        if "?host" in route or "1.3.4" in route:
            page.locator(".panel").wait_for()
        page.wait_for_load_state("networkidle")
        yield view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(site, visit, scheme):
    page = visit(site, color_scheme=scheme)
    for _view in every_view(page, site):
        accessible(page)
    page.goto(f"{site.url}/#/repository/apps/api:1.4.0")
    page.get_by_role("button", name="Delete this tag").click()
    page.get_by_role("dialog").wait_for()
    accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_there_is_nothing(empty, visit, scheme):
    accessible(visit(empty, color_scheme=scheme))


def test_360_pixels_are_enough(site, visit):
    page = visit(site, viewport={"width": 360, "height": 740})
    for view in every_view(page, site):
        fits(page)
        if view in ("repositories", "tag", "image"):
            accessible(page)
    page.goto(f"{site.url}/#/")
    settled(page, 18)
    # Rows of two lines, each of which shows what matters most.
    row = rows(page).first
    for part in ("name", "tags", "own", "pushed", "worst"):
        expect(row.locator(f".c-{part}")).to_be_visible()


def test_light_and_dark_follow_the_system_and_the_button(site, visit):
    def ground(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page = visit(site, color_scheme="light")
    light = ground(page)
    page.get_by_role("button", name="Dark colours").click()
    dark = ground(page)
    assert light != dark
    page.reload()
    assert ground(page) == dark
    page.emulate_media(color_scheme="dark")
    page.get_by_role("button", name="Light colours").click()
    assert ground(page) == light
    assert ground(visit(site, color_scheme="dark")) == dark


def test_print_shows_all_rows_and_no_buttons(site, visit):
    page = visit(site, viewport={"width": 1280, "height": 400})
    page.goto(f"{site.url}/#/repository/apps/frontend")
    settled(page, 31)
    assert rows(page).count() < 31
    page.emulate_media(media="print")
    expect(rows(page)).to_have_count(31)
    for hidden in ("#bar", ".toolbar", ".tabs", ".copy"):
        expect(page.locator(hidden).first).to_be_hidden()
    last = rows(page).last.bounding_box()
    assert last["y"] > 31 * 14
    page.emulate_media(media="screen")
    expect(page.locator("#bar")).to_be_visible()


def test_motion_is_left_out_where_it_is_not_wanted(site, visit):
    page = visit(site, reduced_motion="reduce")
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter((one) => getComputedStyle(one).transitionDuration !== '0s').length"
    )
    assert moving == 0


def test_without_javascript_the_page_says_what_to_do(site, visit):
    page = visit(site, java_script_enabled=False)
    page.locator("noscript h1").wait_for()
    shown = page.locator("noscript").inner_text()
    for words in (
        "This page needs JavaScript",
        "Allow JavaScript for this site",
        "curl --user USER https://REGISTRY/v2/_catalog",
        "access: admin",
        "docker pull REGISTRY/NAME:TAG",
    ):
        assert words in shown
    fits(page)


def test_a_screen_reader_hears_of_order_rows_and_results(site, visit):
    page = visit(site)
    table = page.get_by_role("table", name="Repositories")
    assert table.get_by_role("row").first.get_by_role("columnheader").count() == 8
    expect(table).to_have_attribute("aria-rowcount", "19")
    assert rows(page).nth(2).get_attribute("aria-rowindex") == "4"
    assert table.get_by_role("rowheader").first.inner_text() == "apps/api"
    sort(page, "Tags")
    assert page.locator("th[aria-sort]").count() == 1
    assert page.locator("[role=status][aria-live=polite]").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
