"""The bucket of the copy is another one than that of the images, and can be reached."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.backup_bucket import bucket_problems

S3 = {"endpoint": "https://s3.example.com", "bucket": "images", "access_key": "a", "secret_key": "geheim"}
COPY = {**S3, "endpoint": "https://vault.example.com:8333", "bucket": "copies"}


@pytest.mark.parametrize(
    "copy", [COPY, {**S3, "bucket": "copies"}, {**COPY, "bucket": "images"}, {**COPY, "root_directory": "a/b"}]
)
def test_another_bucket_is_right(copy):
    assert bucket_problems(copy, S3, True, "sftp:u@host:/x") == []
    assert bucket_problems({}, {}, False, "/srv") == []


@pytest.mark.parametrize(
    ("copy", "s3", "repository", "said"),
    [
        ({}, S3, "/srv", "backup_bucket is not set, and the images are in a bucket"),
        (S3, S3, "/srv", "backup_bucket is the bucket of registry_s3, and would be lost with it"),
        ({**S3, "endpoint": "https://S3.example.com:443", "root_directory": "x"}, S3, "/srv", "is the bucket of"),
        ({**S3, "endpoint": ""}, {**S3, "endpoint": "https://s3.us-east-1.amazonaws.com"}, "/srv", "is the bucket"),
        (COPY, S3, "s3:https://s3.example.com/images/restic", "backup_repository lies in the bucket of registry_s3"),
        (COPY, S3, "s3:s3.example.com/images", "backup_repository lies in the bucket of registry_s3"),
        ({**COPY, "secret_key": ""}, S3, "/srv", "backup_bucket has no access_key or no secret_key"),
        (COPY, {**S3, "access_key": "", "secret_key": ""}, "/srv", "registry_s3 has no access_key or no secret_key"),
        ({**COPY, "bucket": ""}, S3, "/srv", 'backup_bucket.bucket is ""'),
        ({**COPY, "endpoint": "vault.example.com"}, S3, "/srv", "backup_bucket.endpoint is no URL of a server"),
        ({**COPY, "endpoint": "http://vault.example.com"}, S3, "/srv", "set backup_bucket.plain_http to true"),
        ({**COPY, "ca": "/etc/ca.pem"}, S3, "/srv", "backup_bucket.ca holds no certificate"),
        ({**COPY, "root_directory": "../x"}, S3, "/srv", 'backup_bucket.root_directory is "../x"'),
    ],
)
def test_what_is_wrong_is_said_once(copy, s3, repository, said):
    (problem,) = bucket_problems(copy, s3, True, repository)
    assert said in problem and "geheim" not in problem


def test_a_copy_of_files_is_not_made():
    (problem,) = bucket_problems(COPY, {}, False, "/srv")
    assert "remove backup_bucket, or set registry_storage to s3" in problem
