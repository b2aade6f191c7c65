"""buildkitd.toml: what it says for each option, and what is left of it afterwards.

That BuildKit's own code reads it so and pulls by it is shown by tests/integration/client/test_client_buildkit.py.
"""

from __future__ import annotations

import contextlib
import tomllib

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import apply_all
from ansible_collections.wharf.registry.plugins.module_utils._engine.buildkit_trust import BuildkitTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import DesiredState
from certificates import Authority
from directories import snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import PATIENT, examples

HOST = "r.example.com:5000"
FILE = "buildkitd.toml"
OWNERS = """\
# The build team's.
debug = true
root = "/srv/buildkit"

[worker.oci]
  max-parallelism = 4   # two a processor

[registry."docker.io"]
  mirrors = ["near.example.com"]

[[registry."own.example.com".keypair]]
  key = "/etc/own.key"
  cert = "/etc/own.crt"
"""


def registry(host=HOST, **options):
    absent = dict.fromkeys(("ca", "client_cert", "client_key", "username", "password"))
    return {"host": host, "insecure": False, **absent, **options}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "a-ca")


def run(root, *registries, mirrors=None, state="present"):
    kind = type("BuildkitTrust", (BuildkitTrust,), {"root": str(root)})
    engine = kind({"apply": "reload", "timeout": 5, "certs_dir": None})
    desired = DesiredState(list(registries), [], state == "present", mirrors or {})
    return [change.path.removeprefix(f"{root}/") for change in apply_all(engine.plan(desired))]


def told(root):
    return tomllib.loads((root / FILE).read_text()).get("registry", {})


def test_all_that_can_be_said(tmp_path, authority):
    pair = authority.issue("client", ("client.test",))
    full = registry(
        ca=authority.certificate.read_text(),
        client_cert=pair.certificate.read_text(),
        client_key=pair.key.read_text(),
        username="ci",
        password="geheim",
    )
    mirrors = {"quay.io": f"https://{HOST}/mirror/quay.io/", "docker.io": ["https://one.example.com", "http://two:80"]}
    run(tmp_path, full, mirrors=mirrors)
    folder = f"{tmp_path}/certs.d/{HOST}"
    assert told(tmp_path) == {
        HOST: {
            "ca": [f"{folder}/ca.crt"],
            "keypair": [{"key": f"{folder}/client.key", "cert": f"{folder}/client.cert"}],
        },
        "docker.io": {"mirrors": ["one.example.com", "two:80"]},
        "quay.io": {"mirrors": [f"{HOST}/mirror/quay.io"]},
        "two:80": {"http": True},
    }
    # BuildKit has the login of the client of a build.
    assert "geheim" not in (tmp_path / FILE).read_text()
    assert run(tmp_path, full, mirrors=mirrors) == []
    assert run(tmp_path, registry()) == []
    run(tmp_path, registry(ca="", client_cert="", client_key=""))
    assert HOST not in told(tmp_path)
    run(tmp_path, registry(), mirrors=mirrors, state="absent")
    assert not (tmp_path / FILE).exists()


def test_an_insecure_registry_is_asked_with_and_without_tls(tmp_path):
    run(tmp_path, registry(insecure=True))
    assert told(tmp_path) == {HOST: {"insecure": True, "http": True}}
    run(tmp_path, registry(insecure=False))
    assert not (tmp_path / FILE).exists()


def test_a_mirror_that_two_registries_have_stays_one_without_tls(tmp_path):
    mirrors = {"docker.io": "http://m:80", "quay.io": "http://m:80/quay"}
    run(tmp_path, mirrors=mirrors)
    run(tmp_path, mirrors={"docker.io": "http://m:80"}, state="absent")
    assert told(tmp_path) == {"quay.io": {"mirrors": ["m:80/quay"]}, "m:80": {"http": True}}
    run(tmp_path, mirrors={"quay.io": "http://m:80/quay"}, state="absent")
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("url", [f"http://{HOST}", f"https://{HOST}/mirror", f"http://{HOST}/a"])
def test_an_insecure_registry_that_is_a_mirror_leaves_nothing(tmp_path, url):
    mirrors = {"docker.io": url}
    run(tmp_path, registry(insecure=True), mirrors=mirrors)
    assert run(tmp_path, registry(insecure=True), mirrors=mirrors) == []
    run(tmp_path, registry(insecure=True), mirrors=mirrors, state="absent")
    assert not (tmp_path / FILE).exists()


def test_a_mirror_that_gets_tls_is_asked_by_it(tmp_path):
    run(tmp_path, registry(insecure=True), mirrors={"docker.io": f"https://{HOST}"})
    run(tmp_path, registry(), mirrors={"docker.io": f"https://{HOST}"})
    assert told(tmp_path) == {"docker.io": {"mirrors": [HOST]}}


def test_what_an_owner_has_set_stays(tmp_path, authority):
    (tmp_path / FILE).write_text(OWNERS)
    before = snapshot(tmp_path)
    options = registry(ca=authority.certificate.read_text())
    mirrors = {"docker.io": ["https://one.example.com", "https://near.example.com"]}
    run(tmp_path, options, mirrors=mirrors)
    found = told(tmp_path)
    assert found["docker.io"]["mirrors"] == ["near.example.com", "one.example.com"]
    assert found["own.example.com"] == {"keypair": [{"key": "/etc/own.key", "cert": "/etc/own.crt"}]}
    kept = [line for line in (tmp_path / FILE).read_text().splitlines() if "wharf.registry" not in line]
    assert kept == [line for line in OWNERS.splitlines() if "mirrors" not in line]
    run(tmp_path, options, mirrors=mirrors, state="absent")
    after = snapshot(tmp_path)
    assert after == {**before, "certs.d": after["certs.d"], f"certs.d/{HOST}": after[f"certs.d/{HOST}"]}


@pytest.mark.parametrize("text", ["[registry", "a = 1\na = 2\n", "[registry]\n'docker.io' = 1\n"])
def test_what_is_not_understood_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=FILE):
        run(tmp_path, registry(insecure=True), mirrors={"docker.io": "https://m.example.com"})
    assert (tmp_path / FILE).read_text() == text


NAMES = st.sampled_from([HOST, "docker.io", "own.example.com", "a.example.com"])
VALUES = st.sampled_from(["http = true", "insecure = false", 'ca = ["/x"]', 'mirrors = ["m"]', "mirrors = []  # none"])


@st.composite
def documents(draw):
    """A buildkitd.toml as people write one."""
    lines = draw(st.sampled_from(["", "debug = true\n", "# a comment\n\n"]))
    for name in draw(st.lists(NAMES, unique=True, max_size=3)):
        values = {value.partition(" ")[0]: value for value in draw(st.lists(VALUES, max_size=3))}
        indent = draw(st.sampled_from(["", "  "]))
        lines += f'[registry."{name}"]\n' + "".join(f"{indent}{one}\n" for one in values.values())
    return lines if draw(st.booleans()) else lines.rstrip("\n")


@settings(max_examples=examples(300), suppress_health_check=PATIENT)
@given(
    documents(),
    st.lists(st.tuples(NAMES, st.booleans()), max_size=2, unique_by=lambda one: one[0]),
    st.dictionaries(NAMES, st.sampled_from(["http://m:80", "https://m", "https://n/x"]), max_size=2),
)
def test_what_comes_goes_without_a_trace(tmp_path, text, registries, mirrors):
    (tmp_path / FILE).write_text(text)
    given = [registry(name, insecure=insecure) for name, insecure in registries]
    with contextlib.suppress(InputError):
        run(tmp_path, *given, mirrors=mirrors)
        for name, url in mirrors.items():
            assert url.partition("://")[2] in told(tmp_path)[name]["mirrors"]
        assert run(tmp_path, *given, mirrors=mirrors) == []
        run(tmp_path, *given, mirrors=mirrors, state="absent")
    assert (tmp_path / FILE).read_text() == text
