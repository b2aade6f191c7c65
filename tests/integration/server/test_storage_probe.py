"""registry_storage_probe at a real SeaweedFS: yes to one that is set up well, no to filers that are each a world."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import managed
import memory_s3
import pytest
from certificates import Authority
from engine import wait_for
from memory_s3 import SECRET_KEY
from seaweedfs import SeaweedFS, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRONG_SECRET = "another/Secret+that+is+wrong"
# Of a file system: directories stay for minutes, and a/b comes before a-b.
OF_SEAWEEDFS = {"empty_directories", "order"}


@pytest.fixture(scope="module")
def tree() -> None:
    """What the module needs is there. No engine is."""
    managed.build_tree()


@pytest.fixture
def at_home(tree: None, tmp_path: Path) -> Callable[[str], managed.Host]:
    """This machine with one of its Pythons."""

    def make(python: str) -> managed.Host:
        return managed.Host(python=python, env={"HOME": str(tmp_path)})

    return make


@pytest.fixture
def probe(at_home: Callable[[str], managed.Host], storage: SeaweedFS) -> Callable[..., dict]:
    def run(
        *, failed: bool = False, check: bool = False, python: str = managed.Host().python, **options: object
    ) -> dict:
        return at_home(python).run_module(
            "registry_storage_probe",
            given(storage, **options),
            failed=failed,
            check=check,
            secrets=(SECRET_KEY, WRONG_SECRET),
        )

    return run


def given(storage: SeaweedFS, **options: object) -> dict:
    """Options of the module, by HTTP where nothing else is said."""
    args = {
        "endpoint": f"http://127.0.0.1:{storage.gateways[0]}",
        "bucket": memory_s3.BUCKET,
        "region": memory_s3.REGION,
        "access_key": memory_s3.ACCESS_KEY,
        "secret_key": SECRET_KEY,
        **options,
    }
    return {key: value for key, value in args.items() if value is not None}


def by_status(result: dict, status: str) -> dict[str, dict]:
    return {check["name"]: check for check in result["checks"] if check["status"] == status}


def assert_empty(storage: SeaweedFS) -> None:
    assert storage.objects() == []
    assert storage.uploads() == []


def test_it_says_yes_twice_and_leaves_nothing(probe: Callable[..., dict], storage: SeaweedFS, ca: Authority) -> None:
    """By HTTP with the oldest Python of managed hosts, and by HTTPS."""
    oldest = next(iter(managed.pythons().values()))
    https = {"endpoint": f"https://localhost:{storage.https}", "ca_path": str(ca.certificate), "repetitions": 10}
    ways = ({"python": oldest}, https)
    for way in ways:
        result = probe(**way)
        assert (result["verdict"], result["changed"]) == ("suitable", False), result["sentence"]
        assert by_status(result, "failed") == {}
        # That of the latency is about this machine.
        assert set(by_status(result, "warning")) - {"latency"} <= OF_SEAWEEDFS
        assert result["left"] == []
        assert_empty(storage)


def test_other_objects_stay(probe: Callable[..., dict], storage: SeaweedFS) -> None:
    path = f"/{memory_s3.BUCKET}/wharf-probe/other"
    storage.ask("PUT", path, body=b"content")
    probe(repetitions=5)
    assert storage.objects() == ["wharf-probe/other"]
    assert storage.ask("GET", path) == (200, b"content")
    storage.ask("DELETE", path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"secret_key": WRONG_SECRET}, ("SignatureDoesNotMatch", "Correct secret_key")),
        ({"access_key": "AKIDUNKNOWN"}, ("InvalidAccessKeyId", "Correct access_key")),
        ({"bucket": "absent"}, ("NoSuchBucket", "Create the bucket")),
    ],
)
def test_it_says_what_the_login_lacks(
    probe: Callable[..., dict], storage: SeaweedFS, options: dict, says: tuple[str, str]
) -> None:
    result = probe(failed=True, **options)
    assert result["verdict"] == "unknown"
    assert all(text in result["msg"] for text in says), result["msg"]
    assert_empty(storage)


def test_it_says_what_is_wrong_with_the_way(probe: Callable[..., dict], storage: SeaweedFS) -> None:
    result = probe(failed=True, endpoint=f"https://localhost:{storage.https}")
    assert "unknown CA" in result["msg"]
    assert "ca_path" in result["msg"]
    result = probe(failed=True, endpoint=f"https://127.0.0.1:{storage.gateways[0]}")
    assert "Begin endpoint with http://" in result["msg"]
    result = probe(failed=True, endpoint=f"http://localhost:{storage.https}")
    assert "Begin endpoint with https://" in result["msg"]


def test_check_mode_writes_nothing(probe: Callable[..., dict], storage: SeaweedFS) -> None:
    result = probe(check=True)
    assert (result["verdict"], list(by_status(result, "failed"))) == ("unknown", [])
    assert_empty(storage)


def test_a_run_that_is_ended_leaves_nothing(at_home: Callable[[str], managed.Host], storage: SeaweedFS) -> None:
    process = at_home(managed.Host().python).start("registry_storage_probe", given(storage, repetitions=1000))
    wait_for("the first objects", storage.objects, 60)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode != 0
    assert SECRET_KEY not in stdout + stderr
    assert_empty(storage)


@pytest.mark.long
def test_filers_with_stores_of_their_own_are_found_out(at_home: Callable[[str], managed.Host], tmp_path: Path) -> None:
    """Each learns from the other what was written, a moment later: some lists in a hundred miss it."""
    host = at_home(managed.Host().python)
    with SeaweedFS(tmp_path, filers=2) as worlds, in_turn(worlds.gateways) as port:
        until = time.monotonic() + 120
        while True:
            options = given(worlds, endpoint=f"http://127.0.0.1:{port}", repetitions=400, fail_on="never")
            result = host.run_module("registry_storage_probe", options, secrets=(SECRET_KEY,))
            if result["verdict"] == "unsuitable" or time.monotonic() > until:
                break
        assert result["verdict"] == "unsuitable"
        first = next(iter(by_status(result, "failed").values()))
        assert first["name"] in ("read_after_write", "list_after_write", "overwrite", "delete")
        assert "of SeaweedFS" in first["cure"]
