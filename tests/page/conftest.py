"""A real Chromium, a site to look at, and what must hold in each test.

There is no error in the console, nothing that the policy refuses, and no request to elsewhere.

The tests know a site by its address, its users and its content alone, so that they can look at a real registry as well.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING

import page_sets
import pytest
import quiet_network
from page_content import Registry
from page_server import PASSWORD, Site
from playwright.sync_api import Page, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

# More than the time between two looks of the page, on a machine that has other work.
expect.set_options(timeout=15_000)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Expected, and told by a browser all the same: an image of one repository alone, a deletion by name at version 2.
EXPECTED = re.compile(r"/page/data/digests/|/v2/.*/(manifests|blobs)/")
VIOLATIONS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = next((found for found in map(shutil.which, BROWSERS) if found), None)
    assert program, "No Chromium is here: run tests/page/install-chromium"
    with (
        quiet_network.quiet_network(program, tmp_path_factory.mktemp("network")) as launch,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(args=["--no-sandbox"], **launch)
        yield browser
        browser.close()


class Watch:
    """What a page did that it may not do. A test that provokes errors says so in `allow`."""

    def __init__(self) -> None:
        self.allow: re.Pattern | None = None
        self.seen: list[str] = []
        self.pages: list[tuple[Page, str]] = []

    def add(self, page: Page, origin: str) -> None:
        self.pages.append((page, origin))
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request, origin))
        page.on("dialog", lambda dialog: (self.seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _console(self, message) -> None:
        text = f"{message.type}: {message.text} {message.location['url']}"
        loading = (
            message.text.startswith("Failed to load resource")
            and re.search("40[45]", message.text)
            and EXPECTED.search(message.location["url"])
        )
        if message.type in ("error", "warning") and not loading and not (self.allow and self.allow.search(text)):
            self.seen.append(text)

    def _request(self, request, origin: str) -> None:
        # A login in the address is none of another place.
        url = re.sub("//[^/@]*@", "//", request.url)
        if not url.startswith((origin + "/", "data:", "blob:")) and url != origin:
            self.seen.append(f"request to elsewhere: {url}")

    def check(self) -> None:
        for page, _origin in self.pages:
            if not page.is_closed():
                with contextlib.suppress(Exception):
                    self.seen += [f"policy: {one}" for one in page.evaluate("window.violations ?? []")]
        assert self.seen == []


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.check()


@pytest.fixture
def visit(browser, watch):
    """visit(site, route, user) opens a page; more are options of the browser's context."""
    contexts = []

    def visit(site, route: str = "", user: str = "admin", *, wait: bool = True, **options) -> Page:
        context = browser.new_context(
            **{
                "viewport": {"width": 1280, "height": 800},
                "http_credentials": {"username": user, "password": PASSWORD},
                "locale": "en-GB",
                **options,
            }
        )
        contexts.append(context)
        context.set_default_timeout(30_000)
        context.add_init_script(VIOLATIONS)
        page = context.new_page()
        watch.add(page, site.url)
        page.goto(f"{site.url}/{route}")
        if wait:
            page.locator("h1").first.wait_for()
        return page

    yield visit
    watch.check()
    for context in contexts:
        context.close()


@pytest.fixture
def serve():
    """Serves a set of data until the test ends."""
    sites = []

    def serve(content, **options) -> Site:
        sites.append(Site(content, **options))
        return sites[-1]

    yield serve
    for site in sites:
        site.close()


@pytest.fixture
def site(serve) -> Site:
    return serve(page_sets.usual())


@pytest.fixture(scope="session")
def large() -> Iterator[Site]:
    site = Site(page_sets.Large())
    yield site
    site.close()


@pytest.fixture(scope="session")
def hostile() -> Iterator[Site]:
    site = Site(page_sets.hostile())
    yield site
    site.close()


@pytest.fixture
def empty(serve) -> Site:
    return serve(page_sets.empty())


@pytest.fixture
def api(site) -> Registry:
    """The content of the usual site."""
    return site.content
