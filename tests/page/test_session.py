"""Who is logged in, logging out, what each user sees, and what is said where the registry fails."""

from __future__ import annotations

import re

import pytest
from page_server import PASSWORD
from page_steps import look_now, names, settled
from playwright.sync_api import expect


def test_the_page_tells_who_is_logged_in(site, visit):
    for user in ("admin", "dev", "reader"):
        page = visit(site, user=user)
        expect(page.locator(".who")).to_contain_text(user)


def test_each_user_sees_what_they_may_pull_and_no_more(site, visit):
    page = visit(site, user="dev")
    settled(page, 8)
    assert {name.partition("/")[0] for name in names(page)} == {"apps", "team"}
    page = visit(site, user="reader")
    settled(page, 5)
    page.wait_for_load_state("networkidle")
    assert "team/" not in page.content()


def test_logging_out_makes_the_browser_forget_the_password(browser, site, watch):
    """With the browser's own memory of passwords: the driver's would give them again."""
    watch.allow = re.compile("401")
    context = browser.new_context()
    page = context.new_page()
    watch.add(page, site.url)
    page.goto(site.url.replace("//", f"//dev:{PASSWORD}@"))
    settled(page, 8)
    # The password is remembered: another page needs none.
    page.goto(f"{site.url}/#/repository/team/web")
    expect(page.locator("h1")).to_have_text("team/web")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Logged out")
    expect(page.locator("h1")).to_be_focused()
    assert "team/web" not in page.locator("body").inner_text()
    # The page asks for nothing any more, and knows nothing to show.
    page.evaluate("dispatchEvent(new Event('online')); location.hash = '#/repository/team/web'")
    expect(page.locator("h1")).to_have_text("Logged out")
    assert [path for _method, path, _user in site.requests][-1] == "/page/logout"
    # The browser asks its user for a password, or gives up: it has none that is right.
    answer = page.evaluate(
        "fetch('/page/data/index.json', {signal: AbortSignal.timeout(1500)})"
        ".then((answer) => answer.status, () => 'asks')"
    )
    assert answer in (401, "asks")
    assert site.requests[-1] == ("GET", "/page/data/index.json", "")
    watch.check()
    context.close()


@pytest.mark.parametrize(
    "told",
    [
        (401, "You are not logged in", "Reload the page and log in"),
        (403, "Your account may not do this", "Ask the operator"),
        (404, "Not found", "may not see it"),
        (429, "There were too many requests", "Wait a minute"),
        (503, "The registry is not available at the moment", "restarting"),
    ],
)
def test_errors_are_told_in_words_with_a_cure(site, visit, watch, told):
    status, words, cure = told
    watch.allow = re.compile(str(status))
    site.fail["GET", "/page/data/index.json"] = status
    page = visit(site)
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_role("alert")).to_contain_text(cure)
    site.fail.clear()
    page.get_by_role("button", name="Try again").click()
    settled(page, 18)


def test_where_the_network_goes_what_is_known_stays(site, visit, watch):
    watch.allow = re.compile("ERR_INTERNET_DISCONNECTED|ERR_NETWORK")
    page = visit(site)
    settled(page, 18)
    page.context.set_offline(True)
    look_now(page)
    expect(page.locator("#connection")).to_contain_text("The registry does not answer")
    expect(page.locator("#connection")).to_contain_text("What you see is as of")
    settled(page, 18)
    page.context.set_offline(False)
    look_now(page)
    expect(page.locator("#connection")).to_be_empty()
