"""One image: configuration, layers, what belongs to it, its platforms, and the difference to another tag."""

from __future__ import annotations

import re

import pytest
from page_content import MANIFEST, Tag, digest_of
from page_steps import fact
from playwright.sync_api import expect


@pytest.fixture
def digest(api):
    return api.repositories["apps/api"].tags["1.4.0"].digest


def table(page, label):
    return [
        row.locator("th, td").all_inner_texts()
        for row in page.get_by_role("table", name=label).locator("tbody tr").all()
    ]


@pytest.fixture
def page(site, digest, visit):
    page = visit(site, f"#/image/apps/api@{digest}")
    page.get_by_role("heading", name="Layers").wait_for()
    return page


def test_the_configuration_is_shown_as_text(page, digest):
    assert page.locator(".head .whole code").inner_text() == digest
    assert fact(page, "Entry point").inner_text() == "/usr/bin/tini --"
    assert fact(page, "Command").inner_text() == "/srv/app/bin/serve --port 8080 --log-level warn"
    assert fact(page, "User").inner_text() == "app"
    assert fact(page, "Working directory").inner_text() == "/srv/app"
    assert fact(page, "Exposed ports").inner_text().split() == ["8080/tcp"]
    assert ["maintainer", "Platform team <platform@example.com>"] in table(page, "Labels")


def test_values_of_the_environment_are_hidden_until_they_are_asked_for(page):
    names = [name for name, _value in table(page, "Environment")]
    assert names == ["PATH", "PYTHONUNBUFFERED", "APP_BUILD", "DATABASE_PASSWORD"]
    assert "hunter2" not in page.content()
    button = page.get_by_role("button", name="Show values")
    button.click()
    assert ["DATABASE_PASSWORD", "hunter2"] in table(page, "Environment")
    page.get_by_role("button", name="Hide values").click()
    assert "hunter2" not in page.content()


def test_layers_have_sizes_and_the_commands_that_made_them(page):
    rows = table(page, "Layers and the commands that made them")
    assert [row[0] for row in rows] == ["1", "\u2013", "2", "3", "4", "\u2013", "\u2013"]
    assert rows[3][1] == "RUN /bin/sh -c pip install --no-cache-dir -r requirements.txt"
    assert rows[3][2] == "63.0 MiB"
    assert rows[5][1:] == ["USER app", "0", "no layer"]
    expect(page.locator("main")).to_contain_text("4 layers, 135 MiB")


def test_the_platform_can_be_chosen(site, page, api, digest):
    children = table(page, "What the index lists")
    assert [row[0] for row in children] == ["linux/amd64", "linux/arm64/v8", "attestation"]
    chooser = page.get_by_role("combobox", name="Platform")
    assert chooser.locator("option").all_inner_texts() == ["linux/amd64", "linux/arm64/v8"]
    before = fact(page, "Its digest").inner_text()
    chooser.select_option("linux/arm64/v8")
    expect(fact(page, "Its digest")).not_to_have_text(before)
    page.reload()
    expect(page.get_by_role("combobox", name="Platform")).to_have_value(re.compile("sha256:"))
    page.get_by_role("link", name="linux/amd64").click()
    expect(fact(page, "Kind")).to_have_text("image")
    page.go_back()
    expect(fact(page, "Kind")).to_have_text("index of 3 manifests")


def test_referrers_are_listed(site, api, visit):
    image = api.repositories["apps/api"].tags["1.3.4"].digest
    page = visit(site, f"#/image/apps/api@{image}")
    page.get_by_role("table", name="What refers to this image").wait_for()
    assert [row[0:2] for row in table(page, "What refers to this image")] == [
        ["Signature", "by release key"],
        ["Attestation", "https://slsa.dev/provenance/v1"],
        ["SBOM", "cyclonedx"],
        ["Scan report", "trivy 0.58.0"],
    ]


def test_the_difference_to_another_tag(page):
    page.get_by_label("Compare with the tag").fill("1.3.")
    assert "1.3.4" in page.locator("#compare-tags option").evaluate_all("all => all.map(one => one.value)")
    page.get_by_label("Compare with the tag").fill("1.3.5")
    page.keyboard.press("Enter")
    expect(page.locator(".facts", has_text="Added")).to_be_visible()
    assert "with=1.3.5" in page.url
    rows = table(page, "Layers of both")
    states = [row[0] for row in rows]
    assert states == ["removed"] * 3 + ["added"] * 3 + ["same"]
    expect(page.locator("main")).to_contain_text("A host that has 1.3.5 downloads 107 MiB to get")
    changes = {row[0]: row[1:] for row in table(page, "Changes of the configuration")}
    assert changes["Environment APP_BUILD"] == ["set", "set"]
    assert changes["Ports"] == ["8080/tcp 9090/tcp", "8080/tcp"]
    assert changes["Label org.opencontainers.image.revision"] == ["8c1f3ab0023", "8c1f3ab0024"]
    assert "warn" in changes["Command"][1]
    assert "info" in changes["Command"][0]


def test_an_artifact_is_no_image(site, api, visit):
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.example+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [],
        "annotations": {"about": "a chart"},
    }
    api.repository("charts/platform").tags["chart"] = Tag(api.manifest(document), 1)
    page = visit(site, f"#/image/charts/platform@{api.repositories['charts/platform'].tags['chart'].digest}")
    expect(page.locator("main")).to_contain_text("This is an artifact")
    assert table(page, "Annotations") == [["about", "a chart"]]


def test_what_does_not_match_its_digest_is_not_shown(site, api, digest, visit):
    content, media_type = api.manifests[digest]
    api.manifests[digest] = content.replace(b"sha256:", b"sha256: ", 1), media_type
    page = visit(site, f"#/image/apps/api@{digest}")
    expect(page.get_by_role("alert")).to_contain_text("does not match its digest")


def test_an_image_that_is_gone_is_told_in_words(site, api, digest, visit):
    site.gone.add(digest)
    page = visit(site, f"#/image/apps/api@{digest}")
    expect(page.get_by_role("alert")).to_contain_text("Not found")
    expect(page.get_by_role("alert")).to_contain_text("manifest unknown")
    site.gone.clear()
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("heading", name="Layers").wait_for()
