"""The report of the doctor: the first hop that fails, what one host can't know by itself, and a table to be read."""

from __future__ import annotations

import pytest

RIGHT = ("192.0.2.7",)
FULL = {"path": "/var/lib/wharf-registry", "size": 1000, "free": 0, "full": True}


@pytest.fixture(scope="session")
def loaded(plugin):
    return plugin("plugin_utils/_playbooks", "doctor_report")


def hop(name, said="as it should be", **failure):
    return {"name": name, "ok": not failure, "seconds": 0.1, "said": said, "cure": "", "mistake": "", **failure}


def looked(*hops, addresses=(), **more):
    """What registry_check returns of these hops."""
    failed = next((one for one in hops if not one["ok"]), None)
    seen = {"addresses": list(addresses), "hosts_file": [], "disks": [], **more.pop("seen", {})}
    return {
        "hops": list(hops),
        "failed_hop": failed["name"] if failed else "",
        "cure": failed["cure"] if failed else "",
        "mistake": failed["mistake"] if failed else "",
        "verified": failed is None,
        "engine": "docker",
        "registry": "r.example.com",
        "seen": seen,
        **more,
    }


def good(addresses=RIGHT, **more):
    hops = [hop("credentials"), hop("engine"), hop("pull"), hop("digest")]
    return looked(*hops, addresses=addresses, **more)


def bad(name, mistake, cure="Do it.", said="It broke.", **more):
    return looked(hop(name, said, cure=cure, mistake=mistake), **more)


@pytest.fixture
def rows(loaded):
    def make(**hostvars):
        return {row["host"]: row for row in loaded.doctor_report(hostvars)["rows"]}

    return make


def test_all_is_well(loaded):
    pushed = looked(hop("push"), hop("pull"), hop("digest"), addresses=RIGHT)
    reached = looked(hop("engine"), hop("reach"))
    hostvars = {"reg": pushed, "web1": good(), "web2": reached, "web3": looked(hop("credentials"))}
    result = loaded.doctor_report(hostvars)
    assert result["failed"] == {}
    assert result["lines"] == [
        "HOST  FAILS AT  WHAT",
        "reg   -         pushed and pulled by docker",
        "web1  -         pulled by docker",
        "web2  -         reached by docker",
        "web3  -         gets as far as credentials, as it is meant to",
    ]


def test_a_mistake_has_a_title_and_the_cure_of_a_fleet(loaded):
    hostvars = {"web1": bad("credentials", "not_logged_in")}
    result = loaded.doctor_report(hostvars)
    assert result["lines"][1:] == [
        "web1  credentials  not logged in",
        "                   It broke",
        "                   cure: Run rollout.yml --limit web1, or docker login r.example.com as that account",
    ]
    assert result["failed"]["web1"].startswith("web1 fails at credentials: not logged in. Run rollout.yml --limit web1")


def test_what_is_not_recognised_is_told_as_it_was_said(loaded):
    result = loaded.doctor_report({"web1": bad("digest", "", "Look there.", "It is\n another one.")})
    assert result["lines"][1:] == ["web1  digest    It is another one", "                cure: Look there"]


@pytest.mark.parametrize(
    ("found", "hop", "says"),
    [
        ({"unreachable": True, "msg": "Failed to connect: Connection refused\n"}, "ansible", "Connection refused"),
        ({"failed": True, "msg": "The module interpreter was not found"}, "check", "interpreter was not found"),
        (
            {"failed": True, "hops": [], "failed_hop": "", "verified": False, "msg": "A: b. Do c.", "cure": "Do c."},
            "check",
            "A: b",
        ),
        ({}, "check", "there is no result"),
    ],
)
def test_hosts_without_a_way(rows, found, hop, says):
    (row,) = rows(web1=found).values()
    assert row["hop"] == hop
    assert says in row["said"]
    assert row["cure"]
    assert row["title"]
    assert "Do c" not in row["said"]


def test_a_host_whose_variables_are_at_fault(rows):
    (row,) = rows(web1={"failed": True, "msg": "'nope' is undefined"}).values()
    assert (row["hop"], row["mistake"], row["said"]) == ("check", "no_check", "'nope' is undefined")


# --- what is told from the others -------------------------------------------------------------------------------------


def test_a_name_that_leads_elsewhere(rows):
    there = bad("connection", "refused", addresses=["192.0.2.99"], seen={"hosts_file": ["192.0.2.99"]})
    row = rows(web1=good(), web2=there, web3=good())["web2"]
    assert row["mistake"] == "name_elsewhere"
    assert row["said"] == "the name is 192.0.2.99 here by /etc/hosts, and 192.0.2.7 on 2 other hosts. It broke"
    assert row["cure"] == "Correct the name in /etc/hosts of this host"
    there = bad("TLS", "unknown_ca", addresses=["192.0.2.99"])
    row = rows(web1=good(), web2=there)["web2"]
    assert row["mistake"] == "name_elsewhere"
    assert row["cure"].startswith("Correct the name in the DNS that this host asks. If both are right: Run rollout.yml")


@pytest.mark.parametrize(
    "others",
    [
        # No host to compare with, one that is no better, and one that reaches itself.
        {},
        {"web1": bad("connection", "refused", addresses=RIGHT)},
        {"reg": good(["127.0.1.1", "::1"])},
        {"web1": good([*RIGHT, "192.0.2.99"])},
    ],
)
def test_a_name_that_leads_where_it_should(rows, others):
    assert rows(**others, web2=bad("connection", "refused", addresses=["192.0.2.99"]))["web2"]["mistake"] == "refused"


def test_hops_that_are_past_the_name_are_no_matter_of_it(rows):
    assert rows(web1=good(), web2=bad("pull", "proxy", addresses=["192.0.2.99"]))["web2"]["mistake"] == "proxy"


HERE = {"addresses": ["127.0.1.1"], "seen": {"hosts_file": ["127.0.1.1"]}}
OF_REGISTRY = {"addresses": ["127.0.1.1"], "seen": {"disks": [{**FULL, "full": False}]}}


@pytest.mark.parametrize(
    "there",
    [
        bad("credentials", "not_logged_in", **HERE),
        bad("credentials", "wrong_password", **HERE),
        bad("credentials", "", **HERE),
        bad("TLS", "expired", **HERE),
        # A certificate for this name that is trusted, and a host that has the storage of a registry.
        looked(hop("TLS"), hop("registry", cure="Do it", mistake="registry_error"), **HERE),
        bad("registry", "registry_error", **OF_REGISTRY),
        bad("TLS", "unknown_ca", **OF_REGISTRY),
    ],
)
def test_a_host_that_reaches_itself_is_not_elsewhere(rows, there):
    """Debian gives a host its own name at 127.0.1.1."""
    row = rows(reg=there, web1=good(), web2=good())["reg"]
    assert row["mistake"] == there["mistake"]
    assert "127.0.1.1" not in row["said"]
    assert "/etc/hosts" not in row["cure"]


@pytest.mark.parametrize(("hop", "mistake"), [("connection", "refused"), ("TLS", "unknown_ca"), ("registry", "")])
def test_a_client_whose_name_leads_to_itself_is_elsewhere(rows, hop, mistake):
    row = rows(web1=good(), web2=bad(hop, mistake, **HERE))["web2"]
    assert row["mistake"] == "name_elsewhere"
    assert row["cure"].startswith("Correct the name in /etc/hosts of this host")


@pytest.mark.parametrize(
    ("hop", "mistake"),
    [
        ("credentials", "not_logged_in"),
        ("credentials", "wrong_password"),
        ("credentials", ""),
        ("registry", "address_refused"),
        ("TLS", "clock_off"),
    ],
)
def test_what_only_the_registry_or_this_host_can_tell_stays(rows, hop, mistake):
    row = rows(web1=good(), web2=bad(hop, mistake, addresses=["192.0.2.99"]))["web2"]
    assert row["mistake"] == mistake
    assert row["said"] == "the name is 192.0.2.99 here, and 192.0.2.7 on 1 other host. It broke"
    assert "Correct the name" not in row["cure"]


def clock(ahead):
    return bad("TLS", "clock_off", addresses=RIGHT, seen={"clock_ahead": ahead})


def passed(**more):
    return looked(hop("TLS"), hop("credentials"), **more)


@pytest.mark.parametrize(
    ("others", "first"),
    [
        # The registry host, by its own clock, finds nothing wrong.
        ({"reg": passed(seen=OF_REGISTRY["seen"])}, "Do it"),
        ({"web2": clock(-86400)}, "Do it"),
        ({"web2": bad("TLS", "expired", seen={"clock_ahead": 86390})}, "Do it"),
        ({"reg": passed(seen=OF_REGISTRY["seen"]), "web2": clock(86390)}, "Set the clock of the registry host"),
        ({"web2": clock(86390), "web3": passed()}, "Set the clock of the registry host"),
        ({"web2": passed()}, "Set the clock of this host"),
        ({"web2": clock(86390), "web3": passed(), "web4": passed()}, "Set the clock of this host"),
    ],
)
def test_whose_clock_it_is(rows, others, first):
    row = rows(web1=clock(86400), **others)["web1"]
    assert row["mistake"] == "clock_off"
    assert row["cure"].startswith(first)
    # The majority may be wrong, too.
    assert row["cure"] == "Do it" or "the clock of the registry host" in row["cure"]


def test_a_name_that_others_know(rows):
    row = rows(web1=good(), web2=bad("name", "no_such_name"))["web2"]
    assert row["cure"] == "Do it. It is 192.0.2.7 on 1 other host"


def test_the_disk_of_the_registry(rows):
    full = good(seen={"disks": [FULL]})
    row = rows(reg=full, ci=bad("push", "registry_error"))["ci"]
    assert row["mistake"] == "registry_full"
    assert row["said"].startswith("/var/lib/wharf-registry on reg has 0 bytes left")
    assert rows(reg=full, web=bad("pull", "registry_error"))["web"]["mistake"] == "registry_error"
    assert rows(reg=good(seen={"disks": [{**FULL, "full": False}]}), ci=bad("push", "registry_error"))["ci"][
        "mistake"
    ] == ("registry_error")


def test_a_wide_row_goes_on_below(loaded):
    said = " ".join(["word"] * 100)
    name = "a-host-with-a-rather-long-name.north.example.com"
    hostvars = {name: bad("upload refused", "wrong_account", f"Do {said}", said), "web1": good()}
    lines = loaded.doctor_report(hostvars)["lines"]
    assert max(map(len, lines)) <= 112
    indent = len(name) + len("upload refused") + 4
    assert {line[:indent].strip() for line in lines[2:-1]} == {""}
    assert all(line == line.rstrip() for line in lines)


def probed(verdict, *failed):
    """What registry_storage_probe says of checks that have failed."""
    passed = {"name": "clock", "status": "passed", "seen": "in time", "breaks": "", "cure": ""}
    checks = [
        {"name": name, "status": "failed", "seen": seen, "breaks": "Pushes fail.", "cure": cure}
        for name, seen, cure in failed
    ]
    return {"verdict": verdict, "checks": [passed, *checks], "sentence": "Said."}


NO_KEY = probed("unknown", ("access", "The storage answers 403 InvalidAccessKeyId", "Correct access_key."))
LATE = probed("unsuitable", ("list_after_write", "2 of 20 lists lacked an object", "Share the store."))


def test_a_bucket_that_is_well_changes_nothing(rows):
    for storage in (probed("suitable"), probed("unknown"), {}):
        assert rows(reg=good(storage=storage))["reg"]["hop"] == ""


def test_a_bucket_that_cannot_be_used(rows):
    row = rows(reg=good(storage=NO_KEY))["reg"]
    assert (row["hop"], row["mistake"]) == ("storage", "storage_unusable")
    assert row["title"] == "the object storage of the registry can't be used"
    assert row["said"] == "access: The storage answers 403 InvalidAccessKeyId"
    assert row["cure"] == "Correct access_key"


def test_a_bucket_that_is_not_suitable(loaded):
    result = loaded.doctor_report({"reg": good(storage=LATE)})
    assert result["rows"][0]["mistake"] == "storage_unsuitable"
    assert result["rows"][0]["said"] == "list_after_write: 2 of 20 lists lacked an object. Pushes fail"
    assert result["failed"]["reg"].startswith("reg fails at storage: the object storage is not suitable")


def test_a_probe_that_could_not_run(rows):
    row = rows(reg=good(storage={"msg": "endpoint is no address of a storage."}))["reg"]
    assert (row["hop"], row["said"]) == ("storage", "endpoint is no address of a storage")


def test_the_bucket_is_the_cause_of_what_the_registry_says(rows):
    told = rows(reg=bad("registry", "registry_error", storage=NO_KEY), ci=bad("push", "registry_error"), web=good())
    assert told["reg"]["hop"] == "storage"
    assert told["ci"]["mistake"] == "storage_unusable"
    assert told["ci"]["said"] == "reg can't use its object storage. It broke"
    assert told["ci"]["cure"] == "Correct access_key. That is for reg"
    assert told["web"]["hop"] == ""


@pytest.mark.parametrize(("name", "mistake"), [("TLS", "unknown_ca"), ("connection", "timed_out"), ("name", "")])
def test_what_fails_before_the_registry_answers_is_not_the_buckets(rows, name, mistake):
    assert rows(reg=bad(name, mistake, storage=NO_KEY))["reg"]["hop"] == name
