"""The page of a real registry, by the proxy of the role: users of three policies, pushes, deletions, logging out."""

from __future__ import annotations

import re
import shutil
import time
import types

import engine
import page_program
import pytest
from collecting import content_of
from front import ROLES, running
from marks import repeated
from page_steps import accessible, clipboard, fact, fits, names, settled
from playwright.sync_api import expect

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "access": "push"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull", "push", "delete"]}]},
]
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe \x1b[31mred"


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    with (
        engine.run(),
        running(tmp_path_factory.mktemp("front"), engine.make_images(), USERS, reverse_proxy_page=True) as front,
    ):
        shutil.copytree(ROLES / "reverse_proxy" / "files" / "page", front.directory / "page" / "site")
        front.give_away()
        with page_program.running(front, USERS) as front.program:
            front.program.wait_until_complete("admin")
            yield front


@pytest.fixture(scope="module")
def site(front):
    return types.SimpleNamespace(url=f"https://localhost:{front.port}")


@pytest.fixture(scope="module")
def content(front):
    return content_of(front)


@pytest.fixture
def put(front, content):
    """put(repository, tag) pushes an image, and waits until the page can know of it."""

    def put(repository, tag, **more):
        image = content.image(repository, tag, **more)
        engine.wait_for(f"{repository}:{tag}", lambda: tag in str(front.program.details("admin", repository)), 10)
        engine.wait_for(repository, lambda: repository in front.program.rows("admin"), 10)
        return image

    return put


@pytest.fixture
def look(front, site, visit):
    """look(route, user) opens the page of the registry."""

    def look(route="", user="admin", **options):
        login = {"username": user, "password": front.passwords[user]}
        return visit(site, route, ignore_https_errors=True, http_credentials=login, **options)

    return look


def test_each_policy_sees_its_own(put, look, watch):
    for name in ("team/app", "team/web", "secret/plans"):
        put(name, "1.0.0")
    for user, expected in (("admin", 3), ("ci", 3), ("team", 2)):
        page = look(user=user)
        settled(page, expected)
        expect(page.locator(".who")).to_contain_text(user)
        assert ("secret/plans" in names(page)) == (user != "team")
        assert page.get_by_role("link", name="Fleet").count() == (user == "admin")
    assert "secret" not in page.content()
    watch.allow = re.compile("403")
    page = look("#/repository/secret/plans", user="team")
    expect(page.locator("main")).to_contain_text(re.compile("may not|403", re.IGNORECASE))


def test_a_push_appears_while_one_looks(content, put, look):
    put("team/live", "1.0.0")
    page = look("#/repository/team/live")
    settled(page, 1)
    began = time.monotonic()
    content.image("team/live", "1.1.0")
    settled(page, 2)
    # The page asks every five seconds, and the index is there in less.
    assert time.monotonic() - began < 10
    page = look()
    before = page.locator("table.grid").get_attribute("aria-rowcount")
    content.image("team/later", "1.0.0")
    expect(page.locator("table.grid")).not_to_have_attribute("aria-rowcount", before)


def test_an_image_is_read_from_the_registry(put, look):
    put("team/image", "2.0.0", labels={"who": HOSTILE, "a": "b"})
    page = look("#/repository/team/image:2.0.0", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name=re.compile("^Copy.*", re.IGNORECASE)).last.click()
    assert "team/image" in clipboard(page) or clipboard(page).startswith("sha256:")
    page.get_by_role("link", name="Show image details").click()
    expect(page.locator("main")).to_contain_text("gnp.exe")
    assert page.locator("main img[src=x]").count() == 0
    accessible(page)
    fits(page)


@pytest.mark.parametrize("user", [*repeated("admin"), "team"])
def test_one_tag_goes_and_its_siblings_stay(front, put, look, watch, user):
    # Version 2 of the registry deletes no tag by its name, and says so.
    watch.allow = re.compile(r"400.*/manifests/1\.0\.0")
    repository = f"team/gone-{user}"
    image, content = put(repository, "1.0.0"), content_of(front)
    document = content.ask("GET", f"/v2/{repository}/manifests/1.0.0", Accept=image["mediaType"])[2]
    for tag in ("1.0", "stable"):
        status = content.ask("PUT", f"/v2/{repository}/manifests/{tag}", document, Content_Type=image["mediaType"])[0]
        assert status == 201
    engine.wait_for("all of them", lambda: len(front.program.details("admin", repository)["tags"]) == 3, 10)
    page = look(f"#/repository/{repository}:1.0.0", user=user)
    settled(page, 3)
    page.get_by_role("button", name="Delete this tag").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 other tags point to the same image, and stay")
    dialog.get_by_role("button", name="Delete the tag").click()
    settled(page, 2)
    assert content.tags(repository) == ["1.0", "stable"]
    assert content.digest(repository, "stable") == content.digest(repository, "1.0") == image["digest"]
    # And it stays so when the page has asked again.
    page.wait_for_timeout(6000)
    settled(page, 2)
    assert "1.0.0" not in names(page)


def test_who_may_only_push_is_offered_no_deletion(put, look):
    put("team/kept", "1.0.0")
    page = look("#/repository/team/kept:1.0.0", user="ci")
    expect(fact(page, "Pushed")).to_be_visible()
    assert page.get_by_role("button", name="Delete this tag").count() == 0


def test_logging_out_makes_the_browser_forget_the_password(browser, site, front, watch):
    watch.allow = re.compile("401")
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    watch.add(page, site.url)
    page.goto(site.url.replace("//", f"//team:{front.passwords['team']}@"))
    page.locator("h1").first.wait_for()
    page.goto(f"{site.url}/#/")
    expect(page.locator(".who")).to_contain_text("team")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Logged out")
    answer = page.evaluate(
        "fetch('/page/data/index.json', {signal: AbortSignal.timeout(1500)})"
        ".then((answer) => answer.status, () => 'asks')"
    )
    assert answer in (401, "asks")
    watch.check()
    context.close()


def test_who_gives_no_password_is_told_what_to_do(browser, front):
    context = browser.new_context()
    # The browser asks for a password and shows nothing while there is no person to close that dialog.
    answer = front.client().ask("GET", "/")
    assert answer.status == 401
    page = context.new_page()
    page.set_content(answer.body.decode())
    expect(page.locator("h1")).to_have_text("Log in to this registry")
    context.close()
