"""registries.yaml of k3s and RKE2: what it says for each option, and what is left of it afterwards."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import apply_all
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import DesiredState
from ansible_collections.wharf.registry.plugins.module_utils._engine.rancher_trust import K3sTrust, Rke2Trust
from certificates import Authority
from directories import snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import PATIENT, examples

HOST = "r.example.com:5000"
OWNERS = """\
# The platform team's.
mirrors:
  "docker.io":
    endpoint:
      - "https://near.example.com" # first
    rewrite:
      "^rancher/(.*)": "copies/$1"
configs:
  near.example.com:
    auth:
      username: theirs
      password: theirs
"""
# What k3s reads, by its source: anything else it ignores or refuses.
SCHEMA = {
    "mirrors": {"endpoint", "rewrite"},
    "auth": {"username", "password", "auth", "identity_token"},
    "tls": {"ca_file", "cert_file", "key_file", "insecure_skip_verify"},
}


def registry(host=HOST, **options):
    absent = dict.fromkeys(("ca", "client_cert", "client_key", "username", "password"))
    return {"host": host, "insecure": False, **absent, **options}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "a-ca")


def run(root, *registries, mirrors=None, state="present", kind=K3sTrust):
    engine = type(kind.__name__, (kind,), {"root": str(root)})({"apply": "reload", "timeout": 5, "certs_dir": None})
    desired = DesiredState(list(registries), [], state == "present", mirrors or {})
    return [change.path.removeprefix(f"{root}/") for change in apply_all(engine.plan(desired))]


def told(root, kind="k3s"):
    """What the file says, which must fit what k3s reads."""
    found = yaml.safe_load((root / kind / "registries.yaml").read_text())
    assert set(found) <= {"mirrors", "configs"}
    for mirror in (found.get("mirrors") or {}).values():
        assert set(mirror) <= SCHEMA["mirrors"]
        assert all(isinstance(url, str) for url in mirror["endpoint"])
    for config in (found.get("configs") or {}).values():
        assert set(config) <= {"auth", "tls"}
        for part, values in config.items():
            assert set(values) <= SCHEMA[part]
    return found


@pytest.mark.parametrize(("kind", "name"), [(K3sTrust, "k3s"), (Rke2Trust, "rke2")])
def test_all_that_can_be_said(tmp_path, authority, kind, name):
    pair = authority.issue("client", ("client.test",))
    full = registry(
        ca=authority.certificate.read_text(),
        client_cert=pair.certificate.read_text(),
        client_key=pair.key.read_text(),
        username="ci",
        password='"p #: \\',
    )
    mirrors = {"quay.io": f"https://{HOST}/mirror/quay.io", "docker.io": ["https://one.example.com", f"https://{HOST}"]}
    run(tmp_path, full, mirrors=mirrors, kind=kind)
    folder = f"{tmp_path}/{name}/certs.d/{HOST}"
    assert told(tmp_path, name) == {
        "configs": {
            HOST: {
                "auth": {"username": "ci", "password": '"p #: \\'},
                "tls": {
                    "ca_file": f"{folder}/ca.crt",
                    "cert_file": f"{folder}/client.cert",
                    "key_file": f"{folder}/client.key",
                },
            }
        },
        "mirrors": {
            "docker.io": {"endpoint": ["https://one.example.com", f"https://{HOST}"]},
            "quay.io": {"endpoint": [f"https://{HOST}/v2/mirror/quay.io"]},
        },
    }
    assert (tmp_path / name / "registries.yaml").stat().st_mode & 0o777 == 0o600
    assert run(tmp_path, full, mirrors=mirrors, kind=kind) == []
    # Not mentioned, all of it stays.
    assert run(tmp_path, registry(), kind=kind) == []
    run(tmp_path, registry(ca="", client_cert="", client_key="", username=""), kind=kind)
    assert "configs" not in told(tmp_path, name)
    run(tmp_path, registry(), mirrors=mirrors, state="absent", kind=kind)
    assert not (tmp_path / name / "registries.yaml").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"insecure": True, "plain_http": True}, {"mirrors": {HOST: {"endpoint": [f"http://{HOST}"]}}}),
        (
            {"insecure": True},
            {
                "mirrors": {HOST: {"endpoint": [f"https://{HOST}", f"http://{HOST}"]}},
                "configs": {HOST: {"tls": {"insecure_skip_verify": True}}},
            },
        ),
    ],
)
def test_without_trust(tmp_path, options, expected):
    run(tmp_path, registry(**options))
    assert told(tmp_path) == expected
    run(tmp_path, registry(ca=""))
    assert not (tmp_path / "k3s" / "registries.yaml").exists()


def test_a_file_of_the_owner(tmp_path):
    path = tmp_path / "k3s" / "registries.yaml"
    path.parent.mkdir()
    path.write_text(OWNERS)
    before = path.read_bytes()
    run(tmp_path, registry(username="ci", password="x"), mirrors={"docker.io": "https://far.example.com"})
    found = told(tmp_path)
    assert found["mirrors"]["docker.io"]["endpoint"] == ["https://near.example.com", "https://far.example.com"]
    assert found["mirrors"]["docker.io"]["rewrite"] and found["configs"]["near.example.com"]["auth"]
    assert found["configs"][HOST] == {"auth": {"username": "ci", "password": "x"}}
    run(tmp_path, registry(), mirrors={"docker.io": "https://far.example.com"}, state="absent")
    assert path.read_bytes() == before


def test_what_is_none_of_ours_changes_no_mode(tmp_path):
    path = tmp_path / "k3s" / "registries.yaml"
    path.parent.mkdir()
    path.write_text(OWNERS)
    path.chmod(0o640)
    assert run(tmp_path, registry("unrelated.example.com"), state="absent") == []
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", ["mirrors: {docker.io: {}}\n", "a: &b 1\n", "mirrors:\n\tx: 1\n", "mirrors: x\n  y\n"])
def test_a_file_that_is_not_understood(tmp_path, text):
    path = tmp_path / "k3s" / "registries.yaml"
    path.parent.mkdir()
    path.write_text(text)
    before = snapshot(tmp_path)
    with pytest.raises(InputError) as failed:
        run(tmp_path, registry(username="ci", password="x"))
    assert failed.value.message.startswith(f"{path}, line ")
    assert snapshot(tmp_path) == before


NAMES = st.sampled_from([HOST, "docker.io", "near.example.com", "[::1]:5000"])
URLS = st.sampled_from(
    ["https://near.example.com", "http://[::1]:5000", f"https://{HOST}/a/b", "https://m.example.com"]
)
REGISTRIES = st.dictionaries(
    NAMES,
    st.fixed_dictionaries({"insecure": st.booleans(), "username": st.sampled_from([None, "", "u: #'"])}),
    max_size=2,
)
MIRRORS = st.dictionaries(NAMES, st.lists(URLS, min_size=1, max_size=2, unique=True), max_size=2)


@settings(max_examples=examples(80), suppress_health_check=PATIENT)
@given(
    st.lists(st.tuples(REGISTRIES, MIRRORS), min_size=1, max_size=3),
    st.sampled_from([None, "", "# c", OWNERS, OWNERS.replace("\n", "\r\n"), OWNERS.rstrip(), "mirrors:\nconfigs:\n"]),
)
def test_what_was_there_is_there_afterwards(tmp_path_factory, runs, owners):
    root = tmp_path_factory.mktemp("rancher")
    path = root / "k3s" / "registries.yaml"
    path.parent.mkdir()
    if owners is not None:
        path.write_bytes(owners.encode())
    for registries, mirrors in runs:
        wanted = [registry(name, password="p", **options) for name, options in registries.items()]
        with contextlib.suppress(InputError):
            run(root, *wanted, mirrors=mirrors)
            assert run(root, *wanted, mirrors=mirrors) == []
    for registries, mirrors in runs:
        run(root, *(registry(name) for name in registries), mirrors=mirrors, state="absent")
    assert (path.read_bytes().decode() if path.exists() else None) == owners
