"""hosts.toml: what containerd is told of a registry and of mirrors, in files of ours and in those of a host's owner."""

from __future__ import annotations

import tomllib

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import apply_all
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import (
    DesiredState,
    certificate_changes,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import HEADER, basic, shown
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_hosts import HostsPlan
from directories import snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples

HOST = "r.example.com:5000"
OWNERS = """\
# The owner's.
server = "https://r.example.com:5000"

[host."https://near.example.com"] # asked first
  capabilities = ["pull"]
"""


def registry(host=HOST, **options):
    absent = dict.fromkeys(("ca", "client_cert", "client_key", "username", "password"))
    return {"host": host, "insecure": False, **absent, **options}


def run(folder, *registries, mirrors=None, state="present"):
    """Write what is wanted below the folder, and name the files that were written."""
    desired = DesiredState(list(registries), [], state == "present", mirrors or {})
    certificates = certificate_changes(desired, str(folder))
    hosts = HostsPlan(desired, str(folder), {change.path: change.after for change in certificates}).changes()
    return [change.path.removeprefix(f"{folder}/") for change in apply_all(certificates + hosts)]


def told(folder, name=HOST):
    return tomllib.loads((folder / name / "hosts.toml").read_text())


@pytest.fixture
def ca(authority):
    return authority.certificate.read_text()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    from certificates import Authority

    return Authority(tmp_path_factory.mktemp("ca"), "a-ca")


def test_a_registry_with_its_ca(tmp_path, ca):
    assert run(tmp_path, registry(ca=ca)) == [f"{HOST}/ca.crt", f"{HOST}/hosts.toml"]
    path = f"{tmp_path}/{HOST}/ca.crt"
    assert told(tmp_path) == {
        "server": f"https://{HOST}",
        "ca": path,
        # Without this table, containerd 1.7 does not read the rest.
        "host": {},
    }
    assert run(tmp_path, registry(ca=ca)) == []
    # Not mentioned, it stays, and so does what names it.
    assert run(tmp_path, registry()) == []
    assert run(tmp_path, registry(ca="")) == [f"{HOST}/ca.crt", f"{HOST}/hosts.toml"]
    assert "ca" not in told(tmp_path)
    assert run(tmp_path, registry(), state="absent") == [f"{HOST}/hosts.toml"]


def test_a_client_certificate(tmp_path, authority):
    pair = authority.issue("client", ("client.test",))
    run(tmp_path, registry(client_cert=pair.certificate.read_text(), client_key=pair.key.read_text()))
    assert told(tmp_path)["client"] == [[f"{tmp_path}/{HOST}/client.cert", f"{tmp_path}/{HOST}/client.key"]]


def test_a_login(tmp_path):
    """It is for root alone, stays where it is not mentioned, and goes with an empty name."""
    path = tmp_path / HOST / "hosts.toml"
    run(tmp_path, registry(username="ci", password="a:b é"))
    header = {"authorization": basic("ci", "a:b é")}
    assert told(tmp_path)["header"] == header
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(tmp_path, registry()) == []
    assert not any(header["authorization"][6:] in line for line in shown(path.read_bytes()))
    run(tmp_path, registry(username="", password=""))
    assert "header" not in told(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("options", "urls", "server"),
    [
        ({"insecure": True, "plain_http": True}, [], "http"),
        ({"insecure": True}, ["https"], "http"),
        ({}, [], "https"),
    ],
)
def test_how_a_registry_is_reached(tmp_path, options, urls, server):
    run(tmp_path, registry(**options))
    found = told(tmp_path)
    assert found["server"] == f"{server}://{HOST}"
    assert list(found["host"]) == [f"{url}://{HOST}" for url in urls]
    assert found["host"].get(f"https://{HOST}", {}).get("skip_verify") == (True if urls else None)


def test_mirrors(tmp_path, ca):
    """They come after those that are there, with the CA and the login of their own registry."""
    mirrors = {"quay.io": [f"https://{HOST}/mirror/quay", "http://plain.example.com"]}
    run(tmp_path, registry(ca=ca, username="ci", password="x"), mirrors=mirrors)
    login = {"authorization": basic("ci", "x")}
    expected = {
        f"https://{HOST}/v2/mirror/quay": {
            "capabilities": ["pull", "resolve"],
            "override_path": True,
            "ca": f"{tmp_path}/{HOST}/ca.crt",
            "header": login,
        },
        "http://plain.example.com": {"capabilities": ["pull", "resolve"]},
    }
    assert told(tmp_path, "quay.io") == {"host": expected}
    run(tmp_path, mirrors={"quay.io": "https://third.example.com"})
    assert list(told(tmp_path, "quay.io")["host"]) == [*expected, "https://third.example.com"]
    # A login that is there is shown to a mirror that comes later.
    run(tmp_path, mirrors={"ghcr.io": f"https://{HOST}"})
    assert told(tmp_path, "ghcr.io")["host"][f"https://{HOST}"]["header"] == login
    run(tmp_path, mirrors={"quay.io": "http://plain.example.com/"}, state="absent")
    assert list(told(tmp_path, "quay.io")["host"]) == [f"https://{HOST}/v2/mirror/quay", "https://third.example.com"]
    run(tmp_path, mirrors={"quay.io": [*mirrors["quay.io"], "https://third.example.com"]}, state="absent")
    assert not (tmp_path / "quay.io" / "hosts.toml").exists()


def test_a_registry_that_has_mirrors_itself(tmp_path):
    run(tmp_path, registry(), mirrors={HOST: "https://near.example.com"})
    assert told(tmp_path)["server"] == f"https://{HOST}"
    assert list(told(tmp_path)["host"]) == ["https://near.example.com"]
    run(tmp_path, registry(), state="absent")
    assert told(tmp_path) == {"host": {"https://near.example.com": {"capabilities": ["pull", "resolve"]}}}


def test_a_file_of_the_owner(tmp_path, ca):
    path = tmp_path / HOST / "hosts.toml"
    path.parent.mkdir()
    path.write_text(OWNERS)
    path.chmod(0o640)
    before = snapshot(tmp_path)
    run(tmp_path, registry(ca=ca, username="ci", password="x"))
    found = told(tmp_path)
    assert list(found["host"]) == ["https://near.example.com"]
    assert found["ca"] == f"{tmp_path}/{HOST}/ca.crt"
    assert path.read_text().startswith("# The owner's.\n") and HEADER not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(tmp_path, registry(ca=ca, username="ci", password="x")) == []
    run(tmp_path, registry(), state="absent")
    path.chmod(0o640)
    assert snapshot(tmp_path) == before


def test_docker_is_told_in_files_of_the_owner_alone(tmp_path, ca):
    """From 28 on, Docker reads no ca.crt beside a hosts.toml."""
    path = tmp_path / HOST / "hosts.toml"
    path.parent.mkdir()
    hosts = f'[host."https://near.example.com"]\n[host."https://{HOST}"]\n  dial_timeout = "3s"\n'
    owners = f'server = "https://{HOST}"\n{hosts}'
    path.write_text(owners)

    def plan(state, **options):
        desired = DesiredState([registry(**options), registry("other.example.com", **options)], [], state == "present")
        certificates = certificate_changes(desired, str(tmp_path))
        written = {change.path: change.after for change in certificates}
        return apply_all(certificates + HostsPlan(desired, str(tmp_path), written).changes_of_owners())

    plan("present", ca=ca)
    authority = f"{tmp_path}/{HOST}/ca.crt"
    assert told(tmp_path) == {
        "server": f"https://{HOST}",
        "ca": authority,
        "host": {"https://near.example.com": {}, f"https://{HOST}": {"dial_timeout": "3s", "ca": authority}},
    }
    assert plan("present", ca=ca) == [] == plan("present")
    assert not (tmp_path / "other.example.com" / "hosts.toml").exists()
    plan("absent")
    assert path.read_text() == owners


@pytest.mark.parametrize("text", [None, OWNERS])
def test_docker_and_containerd_share_a_directory(tmp_path, ca, text):
    if text is not None:
        owner(tmp_path, text)
    run(tmp_path, registry(ca=ca, username="ci", password="x"), mirrors={HOST: "https://near.example.com"})
    desired = DesiredState([registry(ca=ca)], [], present=True)
    certificates = certificate_changes(desired, str(tmp_path))
    written = {change.path: change.after for change in certificates}
    assert apply_all(HostsPlan(desired, str(tmp_path), written).changes_of_owners()) == []
    assert run(tmp_path, registry(ca=ca, username="ci", password="x")) == []


def test_a_poisoned_file(tmp_path):
    path = tmp_path / HOST / "hosts.toml"
    path.parent.mkdir()
    path.write_text('server = "https://secret')
    before = snapshot(tmp_path)
    with pytest.raises(InputError) as failed:
        run(tmp_path, registry())
    assert (
        failed.value.message
        == f"{path} is not valid TOML (line 1: a text does not end, or has characters that it can't have)"
    )
    assert snapshot(tmp_path) == before


NAMES = st.sampled_from([HOST, "quay.io", "[::1]:5000", "localhost:80"])
URLS = st.sampled_from(["https://quay.io", "http://[::1]:5000", f"https://{HOST}/a/b", "https://m.example.com"])


REGISTRIES = st.dictionaries(
    NAMES,
    st.fixed_dictionaries({"insecure": st.booleans(), "username": st.sampled_from([None, "", 'u"\\'])}),
    max_size=2,
)
MIRRORS = st.dictionaries(NAMES, st.lists(URLS, min_size=1, max_size=2), max_size=2)
FOREIGN = st.sampled_from([OWNERS, "", "[host]\n", "\tserver='x'", "# c\r\n[header]\r\n  a = 'b'\r\n"])


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(REGISTRIES, MIRRORS), min_size=1, max_size=3), st.dictionaries(NAMES, FOREIGN, max_size=2))
def test_what_was_there_is_there_afterwards(tmp_path_factory, runs, owners):
    folder = tmp_path_factory.mktemp("certs.d")
    for name, text in owners.items():
        (folder / name).mkdir()
        (folder / name / "hosts.toml").write_bytes(text.encode())
    before = {name: entry[0] for name, entry in snapshot(folder).items()}
    for registries, mirrors in runs:
        wanted = [registry(name, password="p", **options) for name, options in registries.items()]
        run(folder, *wanted, mirrors=mirrors)
        assert run(folder, *wanted, mirrors=mirrors) == []
        for path in folder.glob("*/hosts.toml"):
            tomllib.loads(path.read_text())
    for registries, mirrors in runs:
        run(folder, *(registry(name) for name in registries), mirrors=mirrors, state="absent")
    left = {name: entry[0] for name, entry in snapshot(folder).items() if entry[0] is not None or name in before}
    assert left == before


def owner(folder, text, name=HOST):
    path = folder / name / "hosts.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_a_login_is_in_no_message(tmp_path):
    owner(tmp_path, "header = {}\n")
    with pytest.raises(InputError) as failed:
        run(tmp_path, registry(username="ci", password="geheim"))
    said = failed.value.message + failed.value.cure
    assert "(the login)" in said and basic("ci", "geheim")[6:] not in said


@pytest.mark.parametrize(
    "text",
    [
        '[header]\n  Authorization = "Basic geheim"\n  X-Token = ["geheim"]\n',
        '[header]\n  authorization = [\n    "geheim",\n  ]\n',
        '[host."https://other"]\n  header = {x = "geheim"}\n',
    ],
)
def test_what_owners_keep_secret_is_in_no_diff(tmp_path, text):
    assert not any("geheim" in line for line in shown(owner(tmp_path, text).read_bytes()))
    assert not any("geheim" in line for line in shown(HEADER.encode() + text.encode()))


def test_a_header_in_another_spelling_is_one_header(tmp_path):
    text = '[header]\n  Authorization = "Basic theirs"\n'
    path = owner(tmp_path, text)
    run(tmp_path, registry(username="ci", password="x"))
    assert told(tmp_path)["header"] == {"Authorization": basic("ci", "x")}
    assert run(tmp_path, registry(username="ci", password="x")) == []
    assert not any("theirs" in line for line in shown(path.read_bytes()))
    run(tmp_path, registry(username="ci", password="new"))
    assert told(tmp_path)["header"] == {"Authorization": basic("ci", "new")}
    run(tmp_path, registry(), state="absent")
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        f'host = {{ "https://{HOST}" = {{ ca = "/old", skip_verify = false }} }}\n',
        f'[host]\n"https://{HOST}" = {{ ca = "/old", skip_verify = false }}\n',
    ],
)
def test_several_values_on_a_line_of_the_owner(tmp_path, ca, text):
    path = owner(tmp_path, text)
    try:
        run(tmp_path, registry(ca=ca, insecure=True))
    except InputError:
        assert path.read_text() == text
    else:
        table = told(tmp_path)["host"][f"https://{HOST}"]
        assert (table["ca"], table["skip_verify"]) == (f"{tmp_path}/{HOST}/ca.crt", True)
        assert run(tmp_path, registry(ca=ca, insecure=True)) == []
    run(tmp_path, registry(ca=""), state="absent")
    assert path.read_text() == text


def test_mirrors_follow_their_registry(tmp_path, ca):
    """A new password, and a CA that goes, are in the files of other registries, too."""
    mirrors = {"quay.io": f"https://{HOST.upper()}/q"}
    run(tmp_path, registry(ca=ca, username="ci", password="old"), mirrors=mirrors)
    table = f"https://{HOST.upper()}/v2/q"
    assert told(tmp_path, "quay.io")["host"][table]["ca"] == f"{tmp_path}/{HOST}/ca.crt"
    run(tmp_path, registry(username="ci", password="new"))
    assert told(tmp_path, "quay.io")["host"][table]["header"] == {"authorization": basic("ci", "new")}
    run(tmp_path, registry(), state="absent")
    assert told(tmp_path, "quay.io") == {"host": {table: {"capabilities": ["pull", "resolve"], "override_path": True}}}
    assert (tmp_path / "quay.io" / "hosts.toml").stat().st_mode & 0o777 == 0o644


def test_mirrors_of_two_runs_keep_their_order(tmp_path):
    for url in ("https://one.example.com", "https://two.example.com"):
        run(tmp_path, mirrors={"quay.io": url})
    for url in ("https://one.example.com", "https://two.example.com"):
        assert run(tmp_path, mirrors={"quay.io": url}) == []


def test_docker_hub_is_asked_where_it_answers(tmp_path):
    run(tmp_path, registry("docker.io", username="u", password="p"))
    assert told(tmp_path, "docker.io")["server"] == "https://registry-1.docker.io"
