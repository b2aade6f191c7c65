"""What is made of what hosts tell: where an image is, what is new, what stands for hosts that were not reached."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._exposure.exposure import (
    Exposure,
    is_document,
    of_platform,
    why_nothing_was_judged,
)
from ansible_collections.wharf.registry.plugins.module_utils._exposure.fleet import merged_hosts
from ansible_collections.wharf.registry.plugins.module_utils._exposure.lines import lines_of
from ansible_collections.wharf.registry.plugins.module_utils._exposure.places import Facts, Place, placed
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.exposure_look import (
    exposure_look,
    mirrors_within,
)

OLD, NEW, OTHER = (f"sha256:{digit * 64}" for digit in "123")
NAMES = {"r.example.com", "r.example.com:443"}
HUB = {"docker.io": ["mirror/hub"]}
MONDAY, TUESDAY, WEDNESDAY = (f"2026-12-0{day}T05:00:00Z" for day in "123")


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


def result(*findings, problems=(), platforms=("linux/amd64",)):
    reports = [{"database_date": "2026-11-30T00:00:00Z", "platform": one} for one in platforms if not problems]
    return {"findings": list(findings), "problems": list(problems), "reports": reports, "verdict": "", "sentence": ""}


def exposure(*hosts, results=None, former=None, now=MONDAY, tags=None, looked=None, oldest=""):
    results = {f"apps/web@{OLD}": result(finding())} if results is None else results
    images = {tuple(name.split("@")): True for name in results}
    facts = Facts({("apps/web", "1"): OLD} if tags is None else tags, images, {})
    merged = merged_hosts({"looked": now, "hosts": list(hosts)}, former["hosts"] if former else [])
    document = Exposure(merged, NAMES, facts, results, former=former, now=now).document(looked or now, oldest)
    # As it comes out of the file.
    document = json.loads(json.dumps(document))
    assert is_document(document)
    return document


def news(document):
    return {
        (one["host"], one["container"], found["id"])
        for group in document["new"]
        for one in group["where"]
        for found in group["findings"]
    }


# --- where an image is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "digests", "tags", "images", "state", "said"),
    [
        ("r.example.com/a:1", [f"r.example.com/a@{OLD}"], {("a", "1"): OLD}, [("a", OLD)], "current", ""),
        ("r.example.com:443/a:1", [f"r.example.com:443/a@{OLD}"], {("a", "1"): OLD}, [("a", OLD)], "current", ""),
        ("R.example.com/a:1", [f"R.example.com/a@{OLD}"], {("a", "1"): OLD}, [("a", OLD)], "current", ""),
        # By digest, also beside a tag, no tag can move.
        (f"r.example.com/a:1@{OLD}", [f"r.example.com/a@{OLD}"], {("a", "1"): NEW}, [("a", OLD)], "current", ""),
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
        ("nginx:1", [f"docker.io/library/nginx@{OLD}"], {}, [], "elsewhere", "its name is of docker.io"),
        ("quay.io/a/b:1", [f"quay.io/a/b@{OLD}"], {}, [("a/b", OLD)], "elsewhere", "its name is of quay.io"),
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


def test_an_image_of_another_registry_that_no_mirror_has():
    place = Place({"image": "nginx:1", "digests": [f"docker.io/library/nginx@{OLD}"]}, NAMES, HUB)
    state, _repository, _digest, said = placed(place, Facts({("mirror/hub/library/nginx", "1"): ""}, {}, {}))
    assert (state, said) == ("elsewhere", "its name is of docker.io, and this registry does not have it")


def test_the_mirror_that_has_it_decides():
    mirrors = {"docker.io": ["a", "b"]}
    place = Place({"image": "nginx:1", "digests": [f"docker.io/library/nginx@{OLD}"]}, NAMES, mirrors)
    there = ("b/library/nginx", OLD)
    facts = Facts({("a/library/nginx", "1"): "", ("b/library/nginx", "1"): NEW}, {there: True}, {})
    assert placed(place, facts) == ("moved", *there, f"b/library/nginx:1 is {NEW} now")


def test_a_tag_of_which_nothing_is_told():
    place = Place(container(), NAMES, {})
    facts = Facts({}, {("apps/web", OLD): True}, {("apps/web", "1"): "500"})
    assert placed(place, facts) == ("unknown", "apps/web", OLD, "it is not known where apps/web:1 leads: 500")


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
    assert news(first) == {("a", "web", "CVE-2026-0001")}
    # Another container and another digest of the same repository, and a second host.
    results = {f"apps/web@{NEW}": result(finding(), finding(2))}
    again = [host("a", container(digest=NEW, name="web-2")), host("b", container(digest=NEW))]
    second = exposure(*again, results=results, former=first, now=TUESDAY, tags={("apps/web", "1"): NEW})
    assert news(second) == {
        ("a", "web-2", "CVE-2026-0002"),
        ("b", "web", "CVE-2026-0001"),
        ("b", "web", "CVE-2026-0002"),
    }
    known = {tuple(one["hosts"]): one["findings"] for one in second["known"]}
    assert known["a",] == [["CVE-2026-0001", "libssl3", MONDAY, 1], ["CVE-2026-0002", "libssl3", TUESDAY, 2]]
    third = exposure(*again, results=results, former=second, now=WEDNESDAY)
    assert not third["new"] and "0 new findings; 4 findings known" in lines_of(third)[-1]


def test_hosts_that_know_the_same_stand_together():
    document = exposure(*(host(f"host-{number}", container()) for number in range(50)))
    (known,), (new,) = document["known"], document["new"]
    assert len(known["hosts"]) == len(new["where"]) == 50
    assert lines_of(document)[-1].startswith("50 new findings")


def test_what_a_timer_finds_is_new_until_a_play_has_shown_it():
    first = exposure(host("a", container()), looked=MONDAY)
    results = {f"apps/web@{OLD}": result(finding(), finding(2))}
    night = exposure(host("a", container()), results=results, former=first, now=TUESDAY, looked=MONDAY)
    assert news(night) == {("a", "web", "CVE-2026-0002")}
    play = exposure(host("a", container()), results=results, former=night, now=WEDNESDAY, looked=WEDNESDAY)
    assert news(play) == news(night)
    assert not exposure(host("a", container()), results=results, former=play, looked="later")["new"]


def test_jobs_that_come_and_go():
    first = exposure(host("a", container()))
    pause = exposure(host("a"), former=first, now=TUESDAY)
    again = exposure(host("a", container()), former=pause, now=WEDNESDAY)
    assert not again["new"]
    # Not for ever.
    forgotten = exposure(host("a"), former=first, now=TUESDAY, oldest=TUESDAY)
    assert news(exposure(host("a", container()), former=forgotten, now=WEDNESDAY))


def test_what_is_mended_is_forgotten():
    first = exposure(host("a", container()))
    mended = exposure(host("a", container()), results={f"apps/web@{OLD}": result()}, former=first, now=TUESDAY)
    assert news(exposure(host("a", container()), former=mended, now=WEDNESDAY))


def test_what_is_excused_is_not_new():
    results = {f"apps/web@{OLD}": result(finding(decision="waived"), finding(2, decision="allowed"))}
    assert not exposure(host("a", container()), results=results)["new"]


def test_an_image_that_could_not_be_judged_forgets_nothing():
    first = exposure(host("a", container()))
    broken = {f"apps/web@{OLD}": result(problems=["Trivy was killed"])}
    second = exposure(host("a", container()), results=broken, former=first, now=TUESDAY)
    assert not second["new"]
    assert f"Not judged: apps/web@{OLD}: Trivy was killed" in lines_of(second)
    assert "0 containers with nothing new" in lines_of(second)[-1]
    assert why_nothing_was_judged(second) == "no image was judged: Trivy was killed"
    assert not exposure(host("a", container()), former=second, now=WEDNESDAY)["new"]


def test_images_that_the_registry_does_not_tell_of():
    merged = merged_hosts({"looked": MONDAY, "hosts": [host("a", container())]}, [])
    facts = Facts({}, {}, {("apps/web", OLD): "403: ci may not"})
    document = Exposure(merged, NAMES, facts, {}, former=None, now=MONDAY).document(MONDAY, "")
    assert why_nothing_was_judged(document) == "no image was found: 403: ci may not"


def test_a_finding_of_another_platform_is_not_the_hosts():
    both = ("linux/amd64", "linux/arm64/v8")
    ours, theirs, any_one = finding(1), finding(2, platforms=["linux/arm64/v8"]), finding(3, platforms=[""])
    assert of_platform(result(ours, theirs, any_one, platforms=both), "linux/x86_64") == [ours, any_one]
    assert of_platform(result(ours, theirs, platforms=both), "linux/aarch64") == [theirs]
    # The image of the host has none.
    assert of_platform(result(theirs, platforms=both), "linux/x86_64") == []
    arm = finding(platforms=["linux/arm/v7"])
    assert of_platform(result(arm, platforms=["linux/arm/v7"]), "linux/arm") == [arm]
    # No image for this host: what is known of the others is better than nothing.
    assert of_platform(result(ours, theirs, platforms=both), "linux/s390x") == [ours, theirs]
    doubled = finding(platforms=[f"linux/amd64 ({OLD})"])
    assert of_platform(result(doubled, platforms=["linux/amd64", f"linux/amd64 ({OLD})"]), "linux/amd64") == [doubled]


def test_engines_that_have_a_name_twice():
    results = {f"apps/web@{OLD}": result(finding()), f"apps/api@{OLD}": result(finding(2))}
    web, api = container(), container("r.example.com/apps/api:1", engine="podman")
    lines = lines_of(exposure(host("a", web, api), results=results))
    table = [line for line in lines if line.startswith("a ")]
    assert len(table) == 2 and "apps/web:1  CVE-2026-0001" in table[0] and "apps/api:1  CVE-2026-0002" in table[1]


# --- hosts that were not reached --------------------------------------------------------------------------------------


def test_what_a_host_ran_stands_for_it_until_it_is_seen_again():
    first = exposure(host("a", container()), host("b", container(name="db")))
    lost = host("b", problem="not reached: no route")
    second = exposure(host("a", container()), {**lost, "containers": None}, former=first, now=TUESDAY)
    assert [one["container"] for one in second["containers"]] == ["web", "db"]
    assert second["keep_digests"] == [OLD] and not second["new"] and second["complete"]
    assert f"b: not reached: no route; what it ran at {MONDAY} stands for it" in lines_of(second)
    third = exposure(host("a", container()), {**lost, "containers": None, "problem": ""}, former=second)
    assert third["hosts"][1]["seen"] == MONDAY and "not looked at in this run" in third["hosts"][1]["problem"]
    # A host that has left the inventory is forgotten.
    assert [one["name"] for one in exposure(host("a", container()), former=third)["hosts"]] == ["a"]


def test_a_host_that_was_never_seen_is_told():
    assert not exposure(host("a", container()), {**host("b"), "containers": None})["complete"]


@pytest.mark.parametrize(
    "odd",
    [
        {"containers": "none"},
        {"containers": [{}]},
        {"containers": [{**container(), "digests": None}]},
        {"containers": [{**container(), "engine": ["docker"]}]},
        {"containers": [{**container(), "image": "x" * 3000}]},
        {"containers": [{**container(), "digests": [OLD] * 101}]},
        {"containers": [container()] * 2001},
        {"containers": [], "unknown": [{"engine": "docker"}]},
        {"containers": [], "unknown": "all"},
    ],
)
def test_a_host_that_lies_concerns_no_other(odd):
    first = exposure(host("a", container()), host("b", container()))
    second = exposure(host("a", container()), {**host("b"), **odd}, former=first, now=TUESDAY)
    assert [one["problem"][:22] for one in second["hosts"]] == ["", "what it tells is not u"]
    assert len(second["containers"]) == 2 and not second["new"]


@pytest.mark.parametrize("name", ["format", "run", "shown", "looked", "hosts", "known"])
@pytest.mark.parametrize("value", [None, [{}], {}, 1.5])
def test_a_damaged_document_is_none(name, value):
    document = exposure(host("a", container()))
    damaged = copy.deepcopy(document)
    damaged[name] = value
    assert is_document(document) and not is_document(damaged)


def test_what_an_engine_ran_stands_for_it_and_for_no_other():
    first = exposure(
        host("a", container(), container(name="job", engine="podman"), container(name="own", account="me"))
    )
    silent = host("a", container(name="job-2", engine="podman"), unknown=[{"engine": "docker", "said": "it is down"}])
    second = exposure(silent, former=first)
    assert [one["container"] for one in second["containers"]] == ["job-2", "web"]
    assert second["hosts"][0]["problem"] == "docker: it is down"
    lost = host("a", unknown=[{"engine": "engines", "account": "me", "said": "its child was killed"}])
    third = exposure(lost, former=first)
    assert [one["container"] for one in third["containers"]] == ["own"]


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
    seen = {"platform": "linux/x86_64", "containers": [], "changed": False}
    mirrors = {"docker.io": ["https://r.example.com/mirror/hub/"]}
    told = {
        "a": {"seen": seen, "mirrors": mirrors},
        "b": {"seen": {"unreachable": True, "msg": "ssh:\n no route."}, "mirrors": None},
        "c": {"seen": {"failed": True, "msg": "no Python"}, "mirrors": []},
        "d": {"seen": None, "mirrors": None},
    }
    look = exposure_look(told, ("r.example.com", 443), MONDAY)
    assert look["looked"] == MONDAY
    a, b, c, d = look["hosts"]
    assert (a["containers"], a["mirrors"]) == ([], {"docker.io": ["mirror/hub"]})
    assert (b["containers"], b["problem"]) == (None, "not reached: ssh: no route")
    assert (c["containers"], c["problem"], d["problem"]) == (None, "no Python", "")


def test_mirrors_that_are_this_registry():
    ours = ("r.example.com", 443)
    assert mirrors_within(["https://r.example.com", "https://m.example.com"], ours) == {"docker.io": [""]}
    assert mirrors_within("https://R.example.com:5000/x", ("r.example.com", "5000")) == {"docker.io": ["x"]}
    for other in (
        None,
        {"quay.io": "https://q.example.com"},
        "https://r.example.com:5001/x",
        "https://r.example.com:x",
    ):
        assert mirrors_within(other, ours) == {}
