"""What is wrong with the variables by which the role registry stores images."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_storage import (
    bucket_options,
    storage_problems,
)

SECRET = "s3cr3t-that-is-never-told"
RIGHT = {
    "endpoint": "https://s3.example.com:8333",
    "bucket": "images",
    "access_key": "wharf",
    "secret_key": SECRET,
}
CA = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("s3", "storage", "extra"),
    [
        ({}, "filesystem", {}),
        (RIGHT, "s3", {}),
        ({**RIGHT, "ca": CA, "root_directory": "/wharf/images/", "chunk_size": 5 << 20}, "s3", {}),
        ({**RIGHT, "endpoint": "http://192.0.2.7:8333/", "plain_http": True}, "s3", {}),
        ({**RIGHT, "endpoint": "https://[2001:db8::7]"}, "s3", {}),
        # Amazon's, with the role of the instance.
        ({"bucket": "my.images-1", "region": "eu-central-1"}, "s3", {}),
        ({}, "other", {"storage": {"azure": {"container": "images"}, "redirect": {"disable": False}}}),
        ({}, "filesystem", {"storage": {"cache": {"blobdescriptor": "redis"}, "filesystem": {"maxthreads": 50}}}),
        (RIGHT, "s3", {"storage": {"s3": {"multipartcopychunksize": 33554432}, "redirect": {"disable": True}}}),
        ({}, "filesystem", {"notifications": {"endpoints": []}, "http": {"headers": {"X-A": ["b"]}}}),
    ],
)
def test_what_can_work_is_taken(s3, storage, extra):
    assert storage_problems(s3, storage, extra) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bucket": ""}, 'registry_s3.bucket is ""'),
        ({"bucket": "a/b"}, 'registry_s3.bucket is "a/b"'),
        ({"bucket": "a..b"}, 'registry_s3.bucket is "a..b"'),
        ({"bucket": "images\n"}, "registry_s3.bucket is"),
        ({"access_key": ""}, "only one of access_key and secret_key"),
        ({"secret_key": ""}, "only one of access_key and secret_key"),
        ({"endpoint": "s3.example.com:8333"}, "is no URL of a server"),
        ({"endpoint": "https://"}, "is no URL of a server"),
        ({"endpoint": "https://s3.example.com/images"}, "The bucket and the keys have variables of their own"),
        ({"endpoint": f"https://wharf:{SECRET}@s3.example.com"}, "is no URL of a server"),
        ({"endpoint": "https://s3.example.com:port"}, "is no URL of a server"),
        ({"endpoint": "https://s3.example.com:0"}, "is no URL of a server"),
        ({"endpoint": "https://[2001:db8::7"}, "is no URL of a server"),
        ({"endpoint": "ftp://s3.example.com"}, "is no URL of a server"),
        ({"endpoint": "https://s3.example.com?x=1"}, "is no URL of a server"),
        ({"endpoint": "http://s3.example.com"}, "without encryption"),
        ({"endpoint": "https://127.0.0.1:8333"}, "the container itself"),
        ({"endpoint": "https://[::1]:8333"}, "the container itself"),
        ({"endpoint": "https://localhost:8333"}, "the container itself"),
        ({"endpoint": "http://s3.example.com", "plain_http": True, "ca": CA}, "which has no certificate"),
        ({"ca": "/etc/ssl/ca.pem"}, "not its path"),
        ({"endpoint": "", "ca": CA}, "there is no endpoint"),
        ({"chunk_size": (5 << 20) - 1}, "registry_s3.chunk_size is 5242879"),
        ({"chunk_size": 6 << 30}, "registry_s3.chunk_size"),
        ({"root_directory": "a/../b"}, 'registry_s3.root_directory is "a/../b"'),
        ({"root_directory": "a b"}, 'registry_s3.root_directory is "a b"'),
    ],
)
def test_what_cannot_work_is_told_with_a_cure_and_no_secret(changes, told):
    problems = storage_problems({**RIGHT, **changes}, "s3", {})
    assert len(problems) == 1
    assert told in problems[0]
    assert SECRET not in problems[0]


def test_settings_of_s3_without_it():
    assert storage_problems(RIGHT, "filesystem", {}) == [
        "registry_s3 is set, and registry_storage is filesystem: set registry_storage to s3, or remove registry_s3."
    ]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"auth": {"htpasswd": {}}}, "sets auth,"),
        ({"proxy": {"remoteurl": "https://registry-1.docker.io"}}, "sets proxy,"),
        ({"http": {"addr": ":5000"}}, "sets http.addr,"),
        ({"http": {"net": "tcp"}}, "sets http.net,"),
        ({"http": {"secret": SECRET}}, "sets http.secret,"),
        ({"http": {"tls": {}}}, "sets http.tls,"),
        ({"storage": {"s3": {}}}, "beside registry_storage=filesystem"),
        ({"storage": {"azure": {}, "gcs": {}}}, "has azure and gcs under storage"),
    ],
)
def test_what_the_role_decides_and_a_second_driver_are_refused(extra, told):
    problems = storage_problems({}, "filesystem", extra)
    assert len(problems) == 1
    assert told in problems[0]
    assert SECRET not in problems[0]


@pytest.mark.parametrize(
    ("storage", "told"),
    [({}, "has nothing under storage"), ({"delete": {}}, "has nothing"), ({"azure": {}, "gcs": {}}, "azure and gcs")],
)
def test_another_storage_is_one_driver(storage, told):
    problems = storage_problems({}, "other", {"storage": storage})
    assert len(problems) == 1
    assert told in problems[0]


def test_the_options_of_a_bucket():
    assert bucket_options(RIGHT) == {**RIGHT, "region": "us-east-1", "force_path_style": True}
    assert bucket_options({"bucket": "images"})["endpoint"] == "https://s3.us-east-1.amazonaws.com"
    china = bucket_options({"bucket": "images", "region": "cn-north-1", "force_path_style": False})
    assert (china["endpoint"], china["force_path_style"]) == ("https://s3.cn-north-1.amazonaws.com.cn", False)


@pytest.mark.parametrize(
    ("given", "read"), [(True, True), (False, False), ("yes", True), ("no", False), ("false", False)]
)
def test_a_switch_may_come_as_text(given, read):
    assert bucket_options({**RIGHT, "force_path_style": given})["force_path_style"] is read
