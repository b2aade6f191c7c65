"""10,000 repositories with 200,000 tags: seen at once, and fluid."""

from __future__ import annotations

import pytest
from page_steps import names, rows, settled
from playwright.sync_api import expect

LONG_TASKS = """
window.long = [];
new PerformanceObserver((list) => {
  window.long.push(...list.getEntries().map((one) => Math.round(one.duration)));
}).observe({entryTypes: ['longtask']});
"""
# Figures of a machine, which others use as well: for make test-long.
pytestmark = pytest.mark.long
# Milliseconds. A reader notices none below.
MOST = 200
# Others may have the processors for a moment: the best of these is what the page takes.
TRIES = 5


@pytest.fixture
def page(large, visit):
    page = visit(large)
    page.evaluate(LONG_TASKS)
    return page


def scroll(page, turns=40):
    """As a reader does who turns the wheel fast. The middle time between frames, and the longest task."""
    return page.evaluate(
        """async (turns) => {
          const times = [];
          let last = performance.now();
          for (let turn = 0; turn < turns; turn += 1) {
            window.scrollBy(0, 1700);
            await new Promise(requestAnimationFrame);
            times.push(performance.now() - last);
            last = performance.now();
          }
          times.sort((one, other) => one - other);
          return {middle: Math.round(times[turns / 2]), longest: Math.max(0, ...window.long)};
        }""",
        turns,
    )


def best(page):
    found = []
    for _turn in range(TRIES):
        page.evaluate("window.long.length = 0; scrollTo(0, 0)")
        found.append(scroll(page))
        if found[-1]["longest"] < MOST:
            break
    page.evaluate("window.long.length = 0")
    return min(found, key=lambda one: one["longest"])


def test_the_first_view_is_there_within_a_second(large, visit, capsys):
    times = []
    for _turn in range(TRIES):
        page = visit(large, wait=False)
        rows(page).first.wait_for()
        # From the start of the navigation to the first rows, as the browser itself measures it.
        times.append(page.evaluate("Math.round(performance.now())"))
        settled(page, 10_000)
    with capsys.disabled():
        print(f"\n  first view of 10,000 repositories: {times} ms", end=" ")
    assert min(times) < 1000


def test_the_document_stays_small_and_scrolling_fluid(page, capsys):
    settled(page, 10_000)
    measured = best(page)
    with capsys.disabled():
        print(f"\n  scrolling 10,000 repositories: {measured} ms", end=" ")
    assert rows(page).count() < 80
    assert measured["longest"] < MOST
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(rows(page).last.locator("a")).to_be_focused()
    assert rows(page).last.get_attribute("aria-rowindex") == "10001"


def test_searching_and_sorting_are_fluid(page, capsys):
    settled(page, 10_000)
    page.get_by_label("Search repositories").press_sequentially("service-0999")
    settled(page, 10)
    page.get_by_label("Search repositories").fill("")
    for label in ("Own size", "Last push", "Repository"):
        page.get_by_role("button", name=label, exact=True).click()
    longest = page.evaluate("Math.max(0, ...window.long)")
    with capsys.disabled():
        print(f"\n  longest task of searching and sorting: {longest} ms", end=" ")
    assert longest < MOST


def test_20000_tags_are_fluid(large, visit, capsys):
    page = visit(large)
    page.evaluate(LONG_TASKS)
    page.goto(f"{large.url}/#/repository/group000/service-00005")
    settled(page, 20_000)
    loading = page.evaluate("Math.max(0, ...window.long)")
    page.evaluate("window.long.length = 0")
    measured = best(page)
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("button", name="Tag", exact=True).click()
    assert names(page)[0] == "build-1"
    page.get_by_label("Search tags").fill("build-1999")
    settled(page, 11)
    sorting = page.evaluate("Math.max(0, ...window.long)")
    with capsys.disabled():
        print(
            f"\n  20,000 tags: loading {loading} ms, scrolling {measured} ms, sorting and searching {sorting} ms",
            end=" ",
        )
    assert max(loading, measured["longest"], sorting) < MOST


def test_a_change_of_one_row_costs_little(large, visit):
    page = visit(large)
    settled(page, 10_000)
    page.evaluate(LONG_TASKS)
    row = large.content.rows[3]
    before = row[1]
    try:
        row[1] = 4711
        expect(rows(page).nth(3).locator(".c-tags")).to_have_text("4,711", timeout=9000)
    finally:
        row[1] = before
    assert page.evaluate("Math.max(0, ...window.long)") < MOST
