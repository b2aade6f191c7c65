"""What several tests of the page do."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect


def rows(page: Page) -> Locator:
    return page.locator("table.grid tbody tr")


def names(page: Page) -> list[str]:
    """The first cells of the rows that are in the document, in order."""
    return page.locator("table.grid tbody tr > :first-child").all_inner_texts()


def column(page: Page, name: str) -> list[str]:
    return page.locator(f"table.grid tbody .c-{name}").all_inner_texts()


def sort(page: Page, label: str) -> None:
    page.get_by_role("columnheader").get_by_role("button", name=label, exact=True).click()


def fact(page: Page, term: str) -> Locator:
    """The value beside a term, in facts and details."""
    return (
        page.locator("dl > div", has=page.locator("dt", has_text=re.compile(f"^{re.escape(term)}$")))
        .locator("dd")
        .first
    )


def settled(page: Page, total: int) -> None:
    expect(page.locator("table.grid")).to_have_attribute("aria-rowcount", str(total + 1))


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def accessible(page: Page) -> None:
    """axe finds nothing."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def fits(page: Page) -> None:
    """Nothing is wider than the window."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, page.evaluate(
        "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)"
        ".map((one) => one.outerHTML.slice(0, 120))"
    )


def look_now(page: Page) -> None:
    """Makes the page ask for changes at once, as it does when the network comes back."""
    page.evaluate("dispatchEvent(new Event('online'))")
