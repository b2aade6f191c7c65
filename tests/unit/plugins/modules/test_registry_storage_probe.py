"""The module registry_storage_probe against a storage in memory: when it fails, what it tells, what it never tells."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading

import memory_s3
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_probe import CHECKS
from ansible_collections.wharf.registry.plugins.modules import registry_storage_probe
from inprocess import run_module
from memory_s3 import SECRET_KEY


@pytest.fixture
def run(server, storage, capfd):
    """Runs the module; what it writes anywhere must not hold the secret."""

    def run(*, check=False, secret=SECRET_KEY, **options):
        given = memory_s3.options(server, secret_key=secret, repetitions=2)
        given.pop("ca_path")
        result = run_module("registry_storage_probe", {**given, **options}, check=check)
        said = json.dumps(result) + "".join(capfd.readouterr())
        assert secret not in said
        assert base64.b64encode(secret.encode()).decode() not in said
        return result

    return run


def test_a_storage_that_is_right(run, storage):
    result = run()
    assert (result["verdict"], result["changed"], result.get("failed", False)) == ("suitable", False, False)
    assert result["invocation"]["module_args"]["secret_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert result["left"] == []
    assert "warnings" not in result
    assert storage.objects == {}


def test_it_fails_where_the_storage_is_not_suitable(run, storage):
    storage.faults.add("copy_succeeds")
    result = run()
    assert (result["verdict"], result["changed"], result["failed"]) == ("unsuitable", False, True)
    assert result["msg"] == result["sentence"]
    assert "A copy of what is not there is answered with 200" in result["msg"]
    assert [check["name"] for check in result["checks"] if check["status"] == "failed"] == ["failed_copy"]
    assert not run(fail_on="never").get("failed", False)


def test_warnings_fail_only_where_they_shall(run, storage):
    storage.faults.add("no_conditional")
    result = run()
    assert (result["verdict"], result.get("failed", False)) == ("suitable", False)
    assert any("Needed only with several registry hosts" in str(warning) for warning in result["warnings"])
    assert run(fail_on="warning")["failed"]


def test_a_wrong_secret_is_said_and_not_told(run):
    result = run(secret="another/Secret+that+is+wrong")
    assert (result["verdict"], result["failed"]) == ("unknown", True)
    assert "SignatureDoesNotMatch" in result["msg"]
    assert "Correct secret_key" in result["msg"]
    assert not run(secret="another/Secret+that+is+wrong", fail_on="never").get("failed", False)


@pytest.mark.parametrize("fault", ["lists_late", "loses_parts", "abort_does_nothing", "pages_lead_nowhere"])
def test_no_failure_tells_the_secret(run, storage, fault):
    storage.faults.add(fault)
    assert run(repetitions=10)["failed"]


def test_check_mode_writes_nothing(run, storage):
    result = run(check=True)
    assert (result["verdict"], result["changed"], result.get("failed", False)) == ("unknown", False, False)
    assert {method for method, _target in storage.requests} <= {"GET", "HEAD"}
    assert run(check=True, bucket="absent")["failed"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"repetitions": 0}, "repetitions is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"prefix": "a b"}, "prefix is"),
        ({"endpoint": "storage"}, "endpoint is no address"),
        ({"bucket": "a/b"}, "bucket is"),
    ],
)
def test_options_that_can_t_be_meant(run, storage, options, says):
    result = run(**options)
    assert result["failed"]
    assert says in result["msg"]
    assert storage.requests == []


def test_a_run_that_is_ended_leaves_nothing(run, storage):
    """By SIGTERM, which Python does not take for an exception by itself."""
    met = threading.Event()

    def end(request, connection):
        storage.instead = []
        met.set()
        os.kill(os.getpid(), signal.SIGTERM)
        return storage(request, connection)

    storage.instead = [("PUT", "partNumber=", end)]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="Expecting value"):
        # There is no result.
        run()
    assert met.is_set()
    assert storage.objects == {}
    assert storage.uploads == {}
    assert signal.getsignal(signal.SIGTERM) == before


def test_its_documentation_names_all_checks():
    documented = registry_storage_probe.RETURN
    assert [check.name for check in CHECKS if f"V({check.name})" not in documented] == []
