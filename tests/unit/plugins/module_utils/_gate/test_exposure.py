"""What is made of what hosts tell: where an image is, what is new, what stands for hosts that were not reached."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._gate.exposure import (
    Exposure,
    Facts,
    Place,
    lines_of,
    merged_hosts,
    of_platform,
    placed,
)
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.exposure_look import (
    exposure_look,
    mirrors_within,
)

OLD, NEW, OTHER = (f"sha256:{digit * 64}" for digit in "123")
NAMES = {"r.example.com", "r.example.com:443"}
HUB = {"docker.io": ["mirror/hub"]}
MONDAY, TUESDAY = "2026-11-30T05:00:00Z", "2026-12-01T05:00:00Z"


def container(image="r.example.com/apps/web:1", digest=OLD, *, name="web", engine="docker", **more):
    base = image.partition("@")[0].rpartition(":")[0] or image
    return {
        "engine": engine,
        "container": name,
        "image": image,
        "digests": [f"{base}@{digest}"] if digest else [],
        **more,
    }


def host(name="a", *containers, **more):
    told = {"name": name, "platform": "linux/x86_64", "mirrors": {}, "problem": "", "unknown": []}
    return {**told, "containers": list(containers), **more}


def finding(number=1, decision="blocks", platforms=("linux/amd64",), **more):
    told = {"id": f"CVE-2026-000{number}", "package": "libssl3", "installed": "3.0.11", "fixed": "3.0.15"}
    return {**told, "severity": "critical", "origin": "", "decision": decision, "platforms": list(platforms), **more}


def result(*findings, problems=()):
    reports = [] if problems else [{"database_date": "2026-11-30T00:00:00Z"}]
    return {"findings": list(findings), "problems": list(problems), "reports": reports, "verdict": "", "sentence": ""}


def exposure(*hosts, results=None, former=None, now=MONDAY, tags=None):
    results = {f"apps/web@{OLD}": result(finding())} if results is None else results
    images = {tuple(name.split("@")): True for name in results}
    facts = Facts({("apps/web", "1"): OLD} if tags is None else tags, images, {})
    merged = merged_hosts({"looked": now, "hosts": list(hosts)}, former)
    return Exposure(merged, NAMES, facts, results, former=former, now=now).document()


# --- where an image is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "digests", "tags", "images", "state", "said"),
    [
        ("r.example.com/a:1", [f"r.example.com/a@{OLD}"], {("a", "1"): OLD}, [("a", OLD)], "current", ""),
        ("r.example.com:443/a:1", [f"r.example.com:443/a@{OLD}"], {("a", "1"): OLD}, [("a", OLD)], "current", ""),
        # By digest alone, no tag can move.
        (f"r.example.com/a@{OLD}", [f"r.example.com/a@{OLD}"], {}, [("a", OLD)], "current", ""),
        # An engine may know two digests of an image: the tag decides which.
        (
            "r.example.com/a:1",
            [f"r.example.com/a@{OLD}", f"r.example.com/a@{NEW}"],
            {("a", "1"): NEW},
            [("a", OLD), ("a", NEW)],
            "current",
            "",
        ),
        (
            "r.example.com/a:1",
            [f"r.example.com/a@{OLD}"],
            {("a", "1"): NEW},
            [("a", OLD)],
            "moved",
            f"a:1 is {NEW} now",
        ),
        (
            "r.example.com/a:1",
            [f"r.example.com/a@{OLD}"],
            {("a", "1"): ""},
            [("a", OLD)],
            "moved",
            "the tag a:1 is gone",
        ),
        ("r.example.com/a:1", [f"r.example.com/a@{OLD}"], {("a", "1"): NEW}, [], "absent", "no longer in the registry"),
        ("tool:1", [], {}, [], "local", "built or loaded on the host"),
        ("r.example.com/a:1", [], {("a", "1"): OLD}, [("a", OLD)], "local", "built or loaded on the host"),
        ("nginx:1", [f"docker.io/library/nginx@{OLD}"], {}, [], "elsewhere", "it comes from docker.io"),
        ("quay.io/a/b:1", [f"quay.io/a/b@{OLD}"], {}, [("a/b", OLD)], "elsewhere", "it comes from quay.io"),
        ("0123456789ab", [], {}, [], "local", "built or loaded"),
        ("r.example.com/BAD name", ["no name"], {}, [], "local", "built or loaded"),
    ],
)
def test_where_an_image_is(*, image, digests, tags, images, state, said):
    place = Place({"image": image, "digests": digests}, NAMES, {})
    found, _repository, _digest, sentence = placed(place, Facts(tags, dict.fromkeys(images, True), {}))
    assert found == state
    assert said in sentence and bool(said) == bool(sentence)


def test_an_image_of_another_registry_that_was_pulled_through_this_one():
    place = Place({"image": "nginx:1", "digests": [f"docker.io/library/nginx@{OLD}"]}, NAMES, HUB)
    there = ("mirror/hub/library/nginx", OLD)
    facts = Facts({("mirror/hub/library/nginx", "1"): OLD}, {there: True}, {})
    assert placed(place, facts) == ("current", *there, "")


def test_the_repository_that_it_was_started_from_comes_first():
    digests = [f"r.example.com/a@{OLD}", f"r.example.com/b@{OLD}"]
    images = {("a", OLD): True, ("b", OLD): True}
    for repository in ("a", "b"):
        place = Place({"image": f"r.example.com/{repository}:1", "digests": digests}, NAMES, {})
        facts = Facts({(repository, "1"): NEW}, images, {})
        assert placed(place, facts)[:3] == ("moved", repository, OLD)


def test_what_the_registry_does_not_tell_is_not_taken_for_absent():
    place = Place(container(), NAMES, {})
    facts = Facts({}, {}, {("apps/web", OLD): "403"})
    assert placed(place, facts) == ("unknown", "apps/web", OLD, "403")


# --- what is new ------------------------------------------------------------------------------------------------------


def test_findings_are_new_once_for_a_host_and_a_repository():
    first = exposure(host("a", container()))
    assert [(one["host"], one["id"]) for one in first["new"]] == [("a", "CVE-2026-0001")]
    # Another container and another digest of the same repository, and a second host.
    results = {f"apps/web@{NEW}": result(finding(), finding(2))}
    again = [host("a", container(digest=NEW, name="web-2")), host("b", container(digest=NEW))]
    second = exposure(*again, results=results, former=first, now=TUESDAY, tags={("apps/web", "1"): NEW})
    assert {(one["host"], one["id"]) for one in second["new"]} == {
        ("a", "CVE-2026-0002"),
        ("b", "CVE-2026-0001"),
        ("b", "CVE-2026-0002"),
    }
    assert [one["since"] for one in second["containers"][0]["findings"]] == [MONDAY, TUESDAY]
    assert not exposure(*again, results=results, former=second, now="2026-12-02T05:00:00Z")["new"]


def test_what_is_excused_is_not_new():
    results = {f"apps/web@{OLD}": result(finding(decision="waived"), finding(2, decision="allowed"))}
    assert not exposure(host("a", container()), results=results)["new"]


def test_an_image_that_could_not_be_judged_forgets_nothing():
    first = exposure(host("a", container()))
    broken = {f"apps/web@{OLD}": result(problems=["Trivy was killed"])}
    second = exposure(host("a", container()), results=broken, former=first, now=TUESDAY)
    assert not second["new"] and second["containers"][0]["findings"] == first["containers"][0]["findings"]
    assert f"Not judged: apps/web@{OLD}: Trivy was killed" in lines_of(second)
    third = exposure(host("a", container()), former=second, now="2026-12-02T05:00:00Z")
    assert not third["new"]


def test_a_finding_of_another_platform_is_not_the_hosts():
    ours, theirs, both = finding(1), finding(2, platforms=["linux/arm64/v8"]), finding(3, platforms=[""])
    assert of_platform([ours, theirs, both], "linux/x86_64") == [ours, both]
    assert of_platform([ours, theirs], "linux/aarch64") == [theirs]
    assert of_platform([finding(platforms=["linux/arm/v7"])], "linux/arm") != []
    # No image for this host: what is known of the others is better than nothing.
    assert of_platform([ours, theirs], "linux/s390x") == [ours, theirs]
    assert of_platform([finding(platforms=[f"linux/amd64 ({OLD})"]), theirs], "linux/amd64") != [ours, theirs]


# --- hosts that were not reached --------------------------------------------------------------------------------------


def test_what_a_host_ran_stands_for_it_until_it_is_seen_again():
    first = exposure(host("a", container()), host("b", container(name="db")))
    lost = host("b", problem="not reached: no route")
    second = exposure(host("a", container()), {**lost, "containers": None}, former=first, now=TUESDAY)
    assert [one["container"] for one in second["containers"]] == ["web", "db"]
    assert second["keep_digests"] == [OLD] and not second["new"]
    assert f"b: not reached: no route; what it ran at {MONDAY} stands for it" in lines_of(second)
    third = exposure(host("a", container()), {**lost, "containers": None, "problem": ""}, former=second)
    assert third["hosts"][1]["seen"] == MONDAY and "not looked at in this run" in third["hosts"][1]["problem"]
    # A host that has left the inventory is forgotten.
    assert [one["name"] for one in exposure(host("a", container()), former=third)["hosts"]] == ["a"]


def test_what_an_engine_ran_stands_for_it_and_for_no_other():
    first = exposure(
        host("a", container(), container(name="job", engine="podman"), container(name="own", account="me"))
    )
    silent = host("a", container(name="job-2", engine="podman"), unknown=[{"engine": "docker", "said": "it is down"}])
    second = exposure(silent, former=first)
    assert [one["container"] for one in second["containers"]] == ["job-2", "web"]
    assert second["hosts"][0]["problem"] == "docker: it is down"


def test_digests_are_kept_that_may_be_needed():
    results = {f"apps/web@{OLD}": result()}
    two = container()
    two["digests"] += [f"r.example.com/apps/web@{NEW}", f"docker.io/library/x@{OTHER}"]
    assert exposure(host("a", two), results=results)["keep_digests"] == [OLD, NEW]


# --- for people -------------------------------------------------------------------------------------------------------


def test_the_table_has_what_is_new_and_what_is_odd_and_nothing_else():
    findings = [finding(number) for number in range(1, 8)]
    results = {f"apps/web@{OLD}": result(*findings), f"apps/quiet@{OLD}": result()}
    quiet = container("r.example.com/apps/quiet:1", name="quiet")
    local = container("tool:dev", None, name="tool")
    lines = lines_of(exposure(host("a", container(), quiet, local), results=results))
    assert lines[0] == (
        "1 host, 3 containers; 2 images of the registry scanned by the database of 2026-11-30T00:00:00Z."
    )
    table = [line for line in lines if line.startswith(("HOST", "a "))]
    assert len(table) == 8 and "quiet" not in "".join(table)
    assert table[1].split() == [
        *("a", "web", "r.example.com/apps/web:1", "CVE-2026-0001", "(critical)", "in", "libssl3", "3.0.11", "3.0.15")
    ]
    assert table[6].endswith("2 more, see the file") and "built or loaded" in table[7]
    assert lines[-1] == (
        "7 new findings (this is the first run); 0 findings known from before. 1 container with nothing new."
    )


def test_hostile_names_are_shown_as_text():
    told = container("r.example.com/apps/web:1", name="\x1b[31mweb\n{{ 7 * 7 }}")
    lines = lines_of(exposure(host("a", told)))
    assert "\x1b" not in "".join(lines) and not any("\n" in line for line in lines)
    assert any("web {{ 7 * 7 }}" in line for line in lines)


# --- the look of a play -----------------------------------------------------------------------------------------------


def test_a_look_is_made_of_what_a_play_remembers():
    seen = {"platform": "linux/x86_64", "containers": [], "unknown": [], "changed": False}
    mirrors = {"docker.io": ["https://r.example.com/mirror/hub/"]}
    told = {
        "a": {"seen": seen, "mirrors": mirrors},
        "b": {"seen": {"unreachable": True, "msg": "ssh:\n no route."}, "mirrors": None},
        "c": {"seen": {"failed": True, "msg": "no Python"}, "mirrors": []},
        "d": {"seen": None, "mirrors": None},
    }
    look = exposure_look(told, "r.example.com", MONDAY)
    assert look["looked"] == MONDAY
    a, b, c, d = look["hosts"]
    assert (a["containers"], a["mirrors"]) == ([], {"docker.io": ["mirror/hub"]})
    assert (b["containers"], b["problem"]) == (None, "not reached: ssh: no route")
    assert (c["containers"], c["problem"], d["problem"]) == (None, "no Python", "")


def test_mirrors_that_are_this_registry():
    assert mirrors_within(["https://r.example.com", "https://m.example.com"], "r.example.com") == {"docker.io": [""]}
    assert mirrors_within("https://R.example.com:5000/x", "r.example.com") == {"docker.io": ["x"]}
    assert mirrors_within(None, "r.example.com") == mirrors_within({"quay.io": "https://q.example.com"}, "r") == {}
