# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured, beside what is counted from the log: the families of the sources."""

from __future__ import annotations

from .families import Gauges, Reading

_ALL = (
    # ---- the program -------------------------------------------------------------------------------------------------
    Gauges(
        "wharf_source_up",
        "1 where a source of metrics can be read, and 0 where it is damaged: the journal of the unit says why. A "
        "source that is not there has no series.",
        ("source",),
    ),
    Gauges("wharf_source_age_seconds", "How old what is told of a source is.", ("source",)),
    Gauges("wharf_start_time_seconds", "When this program was started, in seconds since 1970."),
    Gauges("wharf_log_readable", "1 where the request log of the proxy is there and can be read."),
    Gauges("wharf_log_unread_bytes", "Bytes of the request log that are not counted yet: near 0 where it keeps up."),
    Gauges("wharf_log_last_line_timestamp_seconds", "When the last line of the request log was counted."),
    # ---- the registry ------------------------------------------------------------------------------------------------
    Gauges("wharf_replica_up", "1 where a replica of the registry answers, and 0 where it does not.", ("replica",)),
    Gauges("wharf_storage_bytes", "Bytes of all blobs in the storage, each counted once."),
    Gauges("wharf_repositories", "Repositories in the storage."),
    Gauges("wharf_tags", "Tags in the storage."),
    Gauges(
        "wharf_repository_storage_bytes",
        "Bytes of the blobs and manifests that a repository has. What several repositories share counts in each of "
        "them. The largest ones by name, and the sum of the rest as other.",
        ("repository",),
    ),
    Gauges("wharf_repository_tags", "Tags of a repository. The same repositories as for bytes.", ("repository",)),
    Gauges("wharf_disk_size_bytes", "Size of the file system that holds the storage."),
    Gauges("wharf_disk_free_bytes", "What is free on the file system that holds the storage."),
    Gauges(
        "wharf_disk_full_in_seconds",
        "When the file system will be full if it goes on as in the last four weeks. Absent in the first day, and where "
        "nothing grows.",
    ),
    # ---- maintenance -------------------------------------------------------------------------------------------------
    Gauges(
        "wharf_job_failed",
        "1 where the last run of a unit has failed, by task: collection, backup, mirror, exposure. Absent for units "
        "that are not installed.",
        ("task",),
    ),
    Gauges("wharf_collection_timestamp_seconds", "When the last garbage collection ended."),
    Gauges("wharf_collection_duration_seconds", "How long the last garbage collection took."),
    Gauges("wharf_collection_held_seconds", "How long the last garbage collection held back writes."),
    Gauges("wharf_collection_freed_bytes", "What the last garbage collection has freed."),
    Gauges(
        "wharf_collection_problems",
        "Repositories that the last garbage collection could not read whole. What they need is lost or damaged.",
    ),
    Gauges("wharf_backup_timestamp_seconds", "When the last backup that succeeded began."),
    Gauges(
        "wharf_backup_checked_timestamp_seconds",
        "When the repository of the backups was last checked by reading from it. Absent where it never was.",
    ),
    Gauges(
        "wharf_backup_restored_timestamp_seconds",
        "When a restore on this host was last proven. Absent where none was.",
    ),
    Gauges("wharf_backup_succeeded", "1 where the last backup succeeded, or one is running, and 0 where it failed."),
    Gauges("wharf_backup_duration_seconds", "How long the last backup took."),
    Gauges("wharf_backup_problems", "Images that the last backup found damaged or incomplete."),
    Gauges(
        "wharf_certificate_expiry_timestamp_seconds",
        "When a certificate expires: server, or ca. Of a file with several, the one that expires first.",
        ("certificate",),
    ),
    # ---- other registries --------------------------------------------------------------------------------------------
    Gauges(
        "wharf_mirror_lag_seconds",
        "How long ago the last run of a mirror began to miss something: time since its last success. 0 while it is "
        "complete as of its last run.",
        ("mirror",),
    ),
    Gauges("wharf_mirror_timestamp_seconds", "When a mirror last copied all that it should.", ("mirror",)),
    Gauges("wharf_mirror_failed_images", "Images that the last run of a mirror could not copy.", ("mirror",)),
    Gauges(
        "wharf_mirror_pulls_remaining",
        "Pulls that the upstream of a mirror still allowed in its last run. Absent where it sets no limit.",
        ("mirror",),
    ),
    Reading(
        "wharf_cache_requests_total",
        "Requests to the cache of another registry, by result: hit (served from here), miss (fetched), or stale "
        "(served from here while the upstream was away). Begins anew with the cache.",
        ("upstream", "result"),
    ),
    Gauges("wharf_cache_bytes", "Bytes that the caches of other registries hold."),
    Gauges("wharf_cache_limit_bytes", "Bytes that the caches of other registries may hold."),
    Gauges(
        "wharf_cache_upstream_up", "1 where the upstream of a cache answers, and 0 while it is away.", ("upstream",)
    ),
    Gauges(
        "wharf_cache_pulls_remaining",
        "Pulls that the upstream of a cache still allows. Absent where it sets no limit.",
        ("upstream",),
    ),
    # ---- the fleet ---------------------------------------------------------------------------------------------------
    Gauges("wharf_rollout_timestamp_seconds", "When rollout.yml was last run."),
    Gauges("wharf_rollout_hosts", "Hosts by the outcome of the last rollout.", ("outcome",)),
    Gauges("wharf_exposure_timestamp_seconds", "When what runs in the fleet was last scanned by exposure.yml."),
    Gauges(
        "wharf_exposure_findings",
        "Vulnerabilities that run in the fleet, by severity. One that runs on two hosts counts twice.",
        ("severity",),
    ),
)

GAUGES = {one.name: one for one in _ALL}
