"""Makes the pictures of the documentation: each view, light and dark. `scripts/screenshots` runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from page_server import PASSWORD, Site
from page_sets import empty, usual
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "docsite" / "rst" / "images"
VIEWS = {
    "repositories": "#/",
    "repository": "#/repository/apps/api:1.3.4",
    "retention": "#/repository/apps/api?show=retention",
    "image": "#/image/apps/api@DIGEST",
    "difference": "#/image/apps/api@DIGEST?with=1.3.4",
    "fleet": "#/fleet?host=web8.example.com",
}


def shoot(browser, site: Site, view: str, route: str, **options) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(
            **{
                "viewport": {"width": 1280, "height": 800},
                "color_scheme": scheme,
                "http_credentials": {"username": "admin", "password": PASSWORD},
                **options,
            }
        )
        page = context.new_page()
        page.goto(f"{site.url}/{route}")
        page.locator(".card, table.grid, .empty").locator("visible=true").first.wait_for()
        page.wait_for_load_state("networkidle")
        if view == "difference":
            page.locator("section", has=page.locator("#compare")).scroll_into_view_if_needed()
            page.get_by_role("table", name="Layers of both").wait_for()
            page.evaluate("document.querySelector('.s-difference').scrollIntoView(); scrollBy(0, -64)")
        if view == "delete":
            page.get_by_role("button", name="Delete this tag").click()
        file = IMAGES / f"page-{view}-{scheme}.png"
        page.screenshot(path=file)
        context.close()
        # Fewer colours are enough for text, and a third of the size.
        if shutil.which("pngquant"):
            subprocess.run(
                ["pngquant", "--force", "--skip-if-larger", "--strip", "--ext", ".png", "64", str(file)], check=False
            )
        sys.stdout.write(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1000} kB\n")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    site, nothing = Site(usual()), Site(empty())
    digest = site.content.repositories["apps/api"].tags["1.4.0"].digest
    program = next(found for found in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if found)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for view, route in VIEWS.items():
            shoot(browser, site, view, route.replace("DIGEST", digest))
        shoot(browser, site, "delete", "#/repository/apps/api:1.4.0")
        shoot(browser, nothing, "empty", "#/")
        shoot(browser, site, "narrow", "#/", viewport={"width": 360, "height": 740})
        browser.close()


if __name__ == "__main__":
    main()
