"""Deleting one tag: asked before, and never more than that tag, on registries of version 2 and 3."""

from __future__ import annotations

import re

import pytest
from marks import repeated
from page_server import Site
from page_sets import usual
from page_steps import names, rows, settled
from playwright.sync_api import expect


@pytest.fixture(params=[2, 3], ids=["registry 2", "registry 3"])
def either(request, serve) -> Site:
    return serve(usual(), version=request.param)


def ask(page):
    page.get_by_role("button", name="Delete this tag").click()
    return page.get_by_role("dialog")


def test_the_question_names_all_that_matters(either, visit):
    page = visit(either, "#/repository/apps/api:1.4.0")
    dialog = ask(page)
    tags = either.content.repositories["apps/api"].tags
    for words in (
        "Delete the tag 1.4.0?",
        "apps/api",
        tags["1.4.0"].digest,
        "2 other tags point to the same image, and stay",
        "stable",
    ):
        expect(dialog).to_contain_text(words)
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Delete this tag")).to_be_focused()
    assert "1.4.0" in tags
    assert not [path for method, path, _user in either.requests if method not in ("GET", "HEAD")]


def test_one_tag_goes_and_its_siblings_stay(either, visit):
    page = visit(either, "#/repository/apps/api:1.4.0")
    settled(page, 26)
    tags = either.content.repositories["apps/api"].tags
    before = {name: tag.digest for name, tag in tags.items() if name != "1.4.0"}
    ask(page).get_by_role("button", name="Delete the tag").click()
    settled(page, 25)
    assert {name: tag.digest for name, tag in tags.items()} == before
    assert before["stable"] in either.content.manifests
    assert not [one for one in either.content.manifests.values() if b"registry.wharf.removes" in one[0]]
    expect(page.locator("#status")).to_contain_text("1.4.0 was deleted")
    expect(page.locator(".panel")).to_have_count(0)
    # The focus is where the tag was, and not lost.
    expect(rows(page).nth(1).locator("a.main")).to_be_focused()
    assert "1.4.0" not in names(page)


def test_the_last_tag_of_an_image_goes_alone(either, visit):
    page = visit(either, "#/repository/apps/api:1.3.5")
    dialog = ask(page)
    expect(dialog).to_contain_text("No other tag of this repository points to this image")
    dialog.get_by_role("button", name="Delete the tag").click()
    settled(page, 25)
    assert len(either.content.repositories["apps/api"].tags) == 25


def test_only_those_who_may_are_offered_it(site, visit):
    page = visit(site, "#/repository/team/web:stable", user="dev")
    expect(page.get_by_role("button", name="Delete this tag")).to_be_visible()
    page.goto(f"{site.url}/#/repository/apps/api:1.4.0")
    expect(page.locator(".panel")).to_contain_text("1.4.0")
    assert page.get_by_role("button", name="Delete this tag").count() == 0


@pytest.mark.parametrize(
    "refused",
    [
        ("DELETE", 403, "The registry refused to delete the tag"),
        ("DELETE", 405, "Deleting is switched off"),
        *repeated(
            ("PUT", 403, "The registry refused to delete the tag"),
            ("DELETE", 429, "There were too many requests"),
            ("DELETE", 503, "The registry is not available at the moment"),
        ),
    ],
)
def test_a_refusal_is_explained_and_changes_nothing(site, visit, watch, refused):
    method, status, words = refused
    watch.allow = re.compile(str(status))
    site.fail[method, "/v2/"] = status
    page = visit(site, "#/repository/apps/api:1.4.0")
    tags = site.content.repositories["apps/api"].tags
    before = {name: tag.digest for name, tag in tags.items()}
    dialog = ask(page)
    dialog.get_by_role("button", name="Delete the tag").click()
    expect(dialog.get_by_role("alert")).to_contain_text(words)
    assert {name: tag.digest for name, tag in tags.items()} == before
    site.fail.clear()
    dialog.get_by_role("button", name="Try again").click()
    settled(page, 25)


def test_a_tag_that_moves_meanwhile_stays(site, visit):
    page = visit(site, "#/repository/apps/api:1.4.0")
    dialog = ask(page)
    tags = site.content.repositories["apps/api"].tags
    tags["1.4.0"].digest = tags["1.3.5"].digest
    dialog.get_by_role("button", name="Delete the tag").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The tag has moved to another image meanwhile")
    assert "1.4.0" in tags


def test_where_the_second_half_fails_the_tag_is_put_back(site, visit, watch):
    """Registry 2: the tag has moved to the small manifest, and that one can't be deleted."""
    watch.allow = re.compile("503")
    page = visit(site, "#/repository/apps/api:1.4.0")
    tags = site.content.repositories["apps/api"].tags
    before = tags["1.4.0"].digest

    def refuse(route):
        gone = route.request.url.rsplit("/", 1)[1]
        small = site.content.manifests.get(gone, (b"", ""))[0]
        route.fulfill(status=503) if route.request.method == "DELETE" and b"removes" in small else route.continue_()

    page.route("**/v2/**", refuse)
    dialog = ask(page)
    dialog.get_by_role("button", name="Delete the tag").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not available at the moment")
    assert tags["1.4.0"].digest == before
