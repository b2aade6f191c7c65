"""The fleet: hosts and what they run and trust, certificates, backups, mirrors, storage, reports."""

from __future__ import annotations

import re

from page_steps import column, fact, names, rows, settled
from playwright.sync_api import expect


def cells(page, label):
    table = page.get_by_role("table", name=label)
    table.wait_for()
    return [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]


def test_hosts_that_fail_come_first(site, visit):
    page = visit(site)
    page.get_by_role("link", name="Fleet").click()
    settled(page, 12)
    assert names(page)[0] == "web8.example.com"
    assert column(page, "check")[:2] == ["fails at tls", "ok"]
    assert column(page, "engine")[0] == "containerd 2.1.4"
    assert fact(page, "Checks").inner_text() == "1 failed"
    assert fact(page, "Next certificate").inner_text() == "ended 2 d ago"
    assert fact(page, "Proven restore").inner_text() == "6 d ago"
    page.get_by_label("Search hosts").fill("podman")
    settled(page, 3)


def test_a_host_tells_what_it_trusts_runs_and_needs(site, visit):
    page = visit(site, "#/fleet")
    page.get_by_role("link", name="web8.example.com").click()
    panel = page.get_by_role("complementary", name="host web8.example.com")
    expect(panel.locator("h2")).to_be_focused()
    assert fact(page, "Engines").inner_text().split("\n") == ["containerd 2.1.4", "k3s 1.33"]
    assert "signatures of release key" in fact(page, "Trusts").inner_text()
    assert "rolled back" in fact(page, "Rollout").inner_text()
    assert "Cure: Run rollout.yml for this host" in fact(page, "Doctor").inner_text()
    assert fact(page, "Findings").inner_text() == "1 critical, 3 high"
    expect(panel).to_contain_text("since 7 d ago")
    panel.get_by_role("link", name="apps/api:1.4.0").click()
    expect(page.locator("h1")).to_contain_text("Image")
    page.go_back()
    panel.wait_for()
    page.keyboard.press("Escape")
    expect(rows(page).filter(has_text="web8").locator("a").first).to_be_focused()


def test_what_runs_where_and_since_when(site, visit):
    page = visit(site, "#/fleet/running")
    settled(page, 24)
    page.get_by_label("Search what runs").fill("web3")
    settled(page, 3)
    assert column(page, "image") == ["apps/api:1.3.4", "apps/api:1.3.5", "apps/api:1.4.0"]
    assert column(page, "moved") == ["has moved", "unchanged", "unchanged"]
    assert re.fullmatch(r"\d d ago", column(page, "since")[0])


def test_a_tag_leads_to_the_hosts_that_run_it(site, visit):
    page = visit(site, "#/repository/apps/api:1.4.0")
    page.get_by_role("link", name="Which?").click()
    settled(page, 12)


def test_certificates_backups_mirrors_storage_and_reports(site, visit):
    page = visit(site, "#/fleet/certificates")
    assert cells(page, "Certificates")[0][2] == "/etc/wharf-registry/mirror.example.com.crt"
    assert [row[4] for row in cells(page, "Certificates")] == ["ended 2 d ago", "12 d left", "61 d left"]
    page.get_by_role("link", name="Backups").click()
    assert cells(page, "Backups")[0][:5] == ["reg1", "9 h ago", "6 d ago", "ok", "412 images, 3 new"]
    page.get_by_role("link", name="Mirrors").click()
    mirrors = cells(page, "Mirrors")
    assert mirrors[0][3:] == ["\u2013", "none"]
    assert mirrors[1][3:] == ["4 d", "429 Too Many Requests: the budget of anonymous pulls is used up"]
    page.get_by_role("link", name="Storage").click()
    page.get_by_role("heading", name="Disk").wait_for()
    assert fact(page, "Used").inner_text() == "319 GiB (64 %)"
    assert fact(page, "Freed").inner_text() == "18.0 GiB"
    assert fact(page, "Writes waited").inner_text() == "0.4 s"
    page.get_by_role("link", name="Reports").click()
    expect(page.locator(".card", has_text="Rollout")).to_contain_text("web8 was rolled back")
    assert cells(page, "Hosts")[7][1:4] == ["rolled back", "11.2 s", "377 KiB"]


def test_others_do_not_see_the_fleet(site, visit, watch):
    watch.allow = re.compile("404")
    page = visit(site, "#/fleet", user="reader")
    expect(page.locator("main")).to_contain_text("Your account does not see the fleet")
    assert page.get_by_role("link", name="Fleet").count() == 0
