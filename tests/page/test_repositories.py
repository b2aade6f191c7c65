"""The list of repositories: search, order, sums, and what changes while it is open."""

from __future__ import annotations

import time

from page_content import Tag
from page_steps import column, fact, names, rows, settled, sort
from playwright.sync_api import expect

MIB = 1 << 20


def test_all_repositories_are_listed_with_their_facts(site, visit):
    page = visit(site)
    settled(page, 18)
    expect(page).to_have_title("Repositories · registry.example.com:5000")
    first = rows(page).first
    assert first.locator("th").inner_text() == "apps/api"
    row = site.content.row("apps/api")
    assert first.locator(".c-tags").inner_text() == str(row[1])
    assert first.locator(".c-untagged").inner_text() == str(row[2])
    assert first.locator(".c-own").inner_text() == f"{row[3] / (1 << 30):.1f} GiB"
    assert first.locator(".c-shared").inner_text() == f"{row[4] / (1 << 30):.1f} GiB"
    assert "ago by release" in first.locator(".c-pushed").inner_text()
    assert first.locator(".c-pulled").inner_text().endswith("ago")
    assert first.locator(".c-worst").inner_text() == "Refused"


def test_the_sums_are_those_of_what_is_shown(site, visit):
    page = visit(site)
    all_rows = [site.content.row(name) for name in site.content.repositories]
    assert fact(page, "Tags").inner_text() == str(sum(row[1] for row in all_rows))
    assert fact(page, "Own size").inner_text() == f"{sum(row[3] for row in all_rows) / (1 << 30):.1f} GiB"
    page.get_by_label("Search repositories").fill("base/")
    expect(fact(page, "Found")).to_have_text("4")
    base = [row for row in all_rows if row[0].startswith("base/")]
    assert fact(page, "Tags").inner_text() == str(sum(row[1] for row in base))


def test_the_search_finds_as_one_types(site, visit):
    page = visit(site)
    search = page.get_by_label("Search repositories")
    search.press_sequentially("api st")
    settled(page, 1)
    assert names(page) == ["staging/api"]
    assert page.url.endswith("#/?q=api+st")
    expect(page.locator(".result")).to_have_text("1 of 18 repositories")
    assert page.locator("mark").all_inner_texts() == ["st", "api"]
    expect(page.locator("#status")).to_have_text("1 of 18 repositories")
    search.press("Escape")
    settled(page, 18)
    search.fill("no such thing")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()


def test_each_column_sorts_both_ways(site, visit):
    page = visit(site)
    labels = {
        "Repository": 0,
        "Tags": 1,
        "Untagged": 2,
        "Own size": 3,
        "Shared size": 4,
        "Last push": 5,
        "Last pull": 7,
    }
    content = {name: site.content.row(name) for name in site.content.repositories}
    for label, at in labels.items():
        for _turn in range(2):
            sort(page, label)
            heading = page.get_by_role("columnheader").filter(has=page.get_by_role("button", name=label, exact=True))
            direction = heading.get_attribute("aria-sort")
            shown = [content[name][at] for name in names(page)]
            assert shown == sorted(shown, reverse=direction == "descending"), (label, direction)
    sort(page, "Worst scan")
    worst = column(page, "worst")
    assert worst == sorted(worst, key=["Refused", "Unverified", "Passed", "not scanned"].index)
    assert "sort=worst" in page.url
    page.reload()
    page.locator("h1").wait_for()
    assert column(page, "worst") == worst


def test_a_push_is_seen_within_seconds_and_nothing_moves(site, visit):
    page = visit(site, viewport={"width": 1280, "height": 420})
    page.mouse.wheel(0, 300)
    page.wait_for_function("scrollY === 300")
    focused = rows(page).filter(has_text="base/postgres").locator("a")
    focused.focus()
    before = focused.bounding_box()
    digest = next(iter(site.content.repositories["apps/api"].tags.values())).digest
    for name in ("aaa/new", "apps/zzz"):
        site.content.repository(name).tags["1.0"] = Tag(digest, int(time.time()), "nora")
    del site.content.repositories["base/debian"]
    settled(page, 19)
    # The rows above have changed by one, and the window went with them.
    assert abs(focused.bounding_box()["y"] - before["y"]) < 2
    expect(focused).to_be_focused()
    page.get_by_label("Search repositories").fill("zzz")
    assert "by nora" in column(page, "pushed")[0]


def test_the_page_asks_every_five_seconds_and_hears_that_nothing_changed(site, visit):
    page = visit(site)
    with page.expect_response("**/page/data/index.json", timeout=7000) as answer:
        pass
    assert answer.value.status == 304
    bases = [path for _method, path, _user in site.requests if path.startswith("/page/data/index-")]
    assert len(bases) == 1


def test_an_empty_registry_teaches_the_first_push(empty, visit):
    page = visit(empty)
    expect(page.get_by_role("heading", name="No repositories yet")).to_be_visible()
    assert page.locator(".steps code").all_inner_texts() == [
        "docker login registry.example.com:5000",
        "docker tag IMAGE registry.example.com:5000/team/app:1.0",
        "docker push registry.example.com:5000/team/app:1.0",
    ]


def test_an_index_that_is_being_built_does_not_look_like_an_empty_registry(empty, visit):
    empty.content.complete = False
    page = visit(empty)
    expect(page.get_by_role("heading", name="Reading the storage")).to_be_visible()
    assert page.locator(".steps").count() == 0


def test_the_keyboard_alone_is_enough(site, visit):
    page = visit(site)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search repositories")).to_be_focused()
    page.keyboard.type("apps")
    settled(page, 5)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(1).locator("a")).to_be_focused()
    page.keyboard.press("End")
    expect(rows(page).nth(4).locator("a")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("apps/api")
    expect(page.locator("h1")).to_be_focused()
    settled(page, 26)
    page.keyboard.press("/")
    page.keyboard.type("1.3.5")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_have_count(0)
    expect(rows(page).first.locator("a.main")).to_be_focused()


def test_the_focus_can_be_seen(site, visit):
    page = visit(site)
    for _step in range(6):
        page.keyboard.press("Tab")
        shown = page.evaluate(
            "(() => { const one = document.activeElement; const style = (node) => getComputedStyle(node).outlineStyle;"
            " return style(one) !== 'none' || style(one.closest('tr') ?? one) !== 'none'; })()"
        )
        assert shown, page.evaluate("document.activeElement.outerHTML")


def test_back_and_deep_links_lead_where_one_was(site, visit):
    page = visit(site, viewport={"width": 1280, "height": 420})
    page.get_by_label("Search repositories").fill("a")
    settled(page, 18)
    page.mouse.wheel(0, 250)
    page.wait_for_function("scrollY === 250")
    rows(page).filter(has_text="base/postgres").locator("a").click()
    expect(page.locator("h1")).to_have_text("base/postgres")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    expect(page.locator("h1")).to_have_text("Repositories")
    expect(page.get_by_label("Search repositories")).to_have_value("a")
    assert page.evaluate("scrollY") == 250
    page.go_forward()
    expect(page.locator("h1")).to_have_text("base/postgres")
    page.goto(f"{site.url}/#/nowhere")
    expect(page.locator("h1")).to_have_text("There is nothing here")
