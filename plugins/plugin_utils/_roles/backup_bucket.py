# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the bucket that a backup copies images to."""

from __future__ import annotations

from urllib.parse import urlsplit

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_storage import (
    access_problems,
    bucket_options,
)

_NOT_NEEDED = (
    "backup_bucket is set, and the images are files, which backup_repository takes as well: remove backup_bucket, or "
    "set registry_storage to s3."
)
_NEEDED = (
    "backup_bucket is not set, and the images are in a bucket: give another bucket that they are copied to, best of "
    "another storage or account."
)


def bucket_problems(copy, s3, in_bucket, repository):
    """Sentences on what is wrong. None shows a secret.

    copy, s3 and repository: the values of backup_bucket, registry_s3 and backup_repository.
    """
    if not in_bucket:
        return [_NOT_NEEDED] if copy else []
    if not copy:
        return [_NEEDED]
    problems = access_problems(copy, "backup_bucket")
    for name, one in (("backup_bucket", copy), ("registry_s3", s3)):
        if not one.get("access_key") or not one.get("secret_key"):
            problems.append(
                f"{name} has no access_key or no secret_key, by which a backup reaches the bucket: give both."
            )
    if _place(bucket_options(copy)) == _place(bucket_options(s3)):
        problems.append(
            "backup_bucket is the bucket of registry_s3, and would be lost with it: give another one, best of another "
            "storage or account."
        )
    if repository.startswith("s3:") and _bucket_of(repository) == _place(bucket_options(s3)):
        problems.append(
            "backup_repository lies in the bucket of registry_s3, and would be lost with it: give another one, such as "
            "that of backup_bucket."
        )
    return problems


def _place(options):
    """What tells one bucket from another."""
    return (*_server(options["endpoint"]), options["bucket"])


def _bucket_of(repository):
    """The same of a repository of restic, s3:https://host/bucket/path or s3:host/bucket/path."""
    text = repository[len("s3:") :]
    url = urlsplit(text if "://" in text else f"https://{text}")
    return (*_server(f"{url.scheme}://{url.netloc}"), url.path.strip("/").partition("/")[0])


def _server(endpoint):
    try:
        url = urlsplit(endpoint)
        return (url.hostname or "").lower(), url.port or (80 if url.scheme == "http" else 443)
    except ValueError:
        return endpoint, 0
