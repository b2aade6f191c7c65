"""One repository: tags and all that is known of them, what has no tag, and what retention will do."""

from __future__ import annotations

import json
import re
import time

import pytest
from page_content import Tag
from page_steps import clipboard, column, fact, look_now, names, rows, settled, sort
from playwright.sync_api import expect

REGISTRY = "registry.example.com:5000"


@pytest.fixture
def tags(api):
    return api.repositories["apps/api"].tags


def test_tags_are_listed_newest_first_with_their_facts(site, tags, visit):
    page = visit(site, "#/repository/apps/api")
    settled(page, 26)
    assert names(page)[:3] == ["stable", "1.4.0", "1.4"]
    row = rows(page).nth(1)
    assert row.locator(".c-digest code").inner_text() == tags["1.4.0"].digest[7:19]
    assert row.locator(".c-age").inner_text().endswith("ago by ci")
    assert row.locator(".c-size").inner_text() == "270 MiB"
    assert row.locator(".c-platforms").inner_text() == "amd64, arm64"
    assert row.locator(".c-signed").inner_text() == "unknown key"
    assert rows(page).nth(3).locator(".c-signed").inner_text() == "release key"
    assert rows(page).nth(4).locator(".c-scan").inner_text() == "2 high, 5 medium"
    assert column(page, "retention")[1] == "kept"
    assert "1.2.0: the manifest is missing" in page.locator(".callout").inner_text()


def test_tags_sort_and_are_searched_by_digest_too(site, tags, visit):
    page = visit(site, "#/repository/apps/api")
    sort(page, "Tag")
    shown = [name for name in names(page) if name[0] == "1"]
    assert shown == sorted(shown, key=lambda name: [int(part) for part in name.split(".")])
    sort(page, "Scan")
    assert column(page, "scan")[0] == "refused: 1 critical, 4 high"
    page.get_by_label("Search tags").fill(tags["1.3.5"].digest[:19])
    settled(page, 1)
    assert names(page) == ["1.3.5"]


def test_copies_digest_and_name(site, tags, visit):
    page = visit(site, "#/repository/apps/api", permissions=["clipboard-read", "clipboard-write"])
    rows(page).nth(1).get_by_role("button").click()
    expect(page.locator("#status")).to_contain_text("Copied digest")
    assert clipboard(page) == tags["1.4.0"].digest
    page.get_by_role("button", name="Copy the name").click()
    expect(page.locator("#status")).to_contain_text("Copied the name")
    assert clipboard(page) == f"{REGISTRY}/apps/api"


def test_pull_commands_by_tag_and_digest_for_each_engine(site, tags, visit):
    page = visit(site, "#/repository/apps/api:1.4.0", permissions=["clipboard-read", "clipboard-write"])
    for tool in ("docker", "podman", "crictl"):
        page.get_by_role("radio", name=tool).check()
        commands = page.locator(".command code").all_inner_texts()
        assert commands == [
            f"{tool} pull {REGISTRY}/apps/api:1.4.0",
            f"{tool} pull {REGISTRY}/apps/api@{tags['1.4.0'].digest}",
        ]
        for what, command in zip(("by tag", "by digest"), commands, strict=True):
            page.get_by_role("button", name=f"Copy the {tool} command {what}").click()
            page.wait_for_function(
                "(wanted) => navigator.clipboard.readText().then((text) => text === wanted)", arg=command
            )
    page.reload()
    expect(page.get_by_role("radio", name="crictl")).to_be_checked()


def test_what_else_has_the_same_digest(site, visit):
    page = visit(site, "#/repository/apps/api:1.4.0")
    panel = page.get_by_role("complementary", name="tag 1.4.0")
    expect(panel.get_by_role("link", name="stable", exact=True)).to_be_visible()
    panel.get_by_role("link", name="staging/api:rc").click()
    expect(page.locator("h1")).to_have_text("staging/api")
    expect(page.locator(".panel h2")).to_have_text("rc")


def test_a_user_hears_of_no_repository_that_they_may_not_pull(site, visit):
    page = visit(site, "#/repository/apps/api:1.4.0", user="reader")
    expect(page.locator(".panel")).to_contain_text("stable")
    page.wait_for_load_state("networkidle")
    assert "staging" not in page.content()


def test_signer_scan_sbom_and_hosts_of_a_tag(site, tags, visit):
    page = visit(site, "#/repository/apps/api:1.3.4")
    assert fact(page, "Signed by").inner_text() == "release key"
    assert "2 high, 5 medium, 9 low" in fact(page, "Scan").inner_text()
    assert "by trivy 0.58.0, 9 h ago" in fact(page, "Scan").inner_text()
    assert fact(page, "Platforms").inner_text().split() == ["linux/amd64", "linux/arm64/v8"]
    assert "2 hosts" in fact(page, "Runs on").inner_text()
    assert "https://slsa.dev/provenance/v1" in fact(page, "Attestations").inner_text()
    with page.expect_download() as download:
        page.locator(".panel .download").click()
    assert download.value.suggested_filename == "apps-api-1.3.4.cdx.json"
    assert json.loads(download.value.path().read_text(encoding="utf-8"))["bomFormat"] == "CycloneDX"


def test_without_a_known_host_nothing_is_said_of_hosts(site, visit):
    page = visit(site, "#/repository/apps/api:1.3.2")
    fact(page, "Platforms").wait_for()
    assert fact(page, "Runs on").count() == 0


def test_findings_that_are_not_known_are_not_called_clean(site, api, tags, visit):
    for tag, verdict in (("1.4.0", "refused"), ("1.3.5", "passed")):
        api.repositories["apps/api"].facts[tags[tag].digest]["scan"] = {"verdict": verdict, "counts": None}
    page = visit(site, "#/repository/apps/api")
    settled(page, 26)
    assert [column(page, "scan")[at] for at in (1, 3)] == ["refused", "unknown"]


def test_untagged_manifests_tell_why_they_are_there(site, visit):
    page = visit(site, "#/repository/apps/api?show=untagged")
    settled(page, 49)
    reasons = column(page, "reason")
    assert "child of 1.4.0" in reasons
    page.get_by_label("Search untagged").fill("next collection")
    settled(page, 1)
    rows(page).first.locator("a").click()
    expect(page.locator("h1")).to_contain_text("Image")


def test_retention_tells_what_goes_and_why(site, visit):
    page = visit(site, "#/repository/apps/api?show=retention")
    settled(page, 26)
    expect(page.locator("main")).to_contain_text("14 of 26 tags would be deleted")
    expect(page.locator("main")).to_contain_text("Tags are deleted only when maintain.yml runs.")
    assert column(page, "retention")[:14] == ["would be deleted"] * 14
    assert column(page, "reason")[0] == "no rule keeps it: not one of the 10 newest, older than 30 days"
    page.get_by_label("Search tags").fill("1.3.5")
    rows(page).first.locator("a").click()
    assert "rule 1: is one of the 10 newest" in fact(page, "Retention").inner_text()


def test_without_rules_every_tag_stays(empty, visit):
    empty.content.repository("team/web").tags["1"] = Tag("sha256:" + "1" * 64, int(time.time()))
    page = visit(empty, "#/repository/team/web?show=retention")
    expect(page.locator("main")).to_contain_text("No retention rules are set: every tag is kept")


def test_a_push_shows_up_while_the_panel_stays(site, tags, visit):
    page = visit(site, "#/repository/apps/api:1.3.4")
    heading = page.locator(".panel h2")
    heading.evaluate("(node) => { node.same = true; }")
    tags["2.0.0"] = Tag(tags["1.3.5"].digest, int(time.time()) + 1, "nora")
    look_now(page)
    settled(page, 27)
    assert names(page)[0] == "2.0.0"
    assert heading.evaluate("(node) => node.same")


def test_a_repository_that_is_not_there_is_told_in_words(site, visit, watch):
    watch.allow = re.compile("404")
    page = visit(site, "#/repository/apps/gone")
    expect(page.get_by_role("alert")).to_contain_text("Not found")
    page.goto(f"{site.url}/#/repository/apps/api:9.9")
    expect(page.locator(".panel")).to_contain_text("There is no such tag")


def test_times_are_in_the_zone_of_the_reader(site, tags, visit):
    for zone, words in (("Asia/Kolkata", "GMT+5:30"), ("America/Phoenix", "GMT-7")):
        page = visit(site, "#/repository/apps/api", timezone_id=zone)
        shown = rows(page).first.locator("time").first
        assert shown.get_attribute("title").endswith(words)
        at = page.evaluate("(text) => Date.parse(text) / 1000", shown.get_attribute("datetime"))
        assert at == tags["stable"].pushed
