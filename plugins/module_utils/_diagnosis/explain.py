# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local findings about the cause of a failed hop, with a cure. Private to this collection.

This module changes nothing and sends no secrets: it asks an untrusted server only for the time.
"""

from __future__ import annotations

import difflib
import email.utils
import glob
import os
import platform
import re
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import read_text
from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import day, validity
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import Describer, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import CERTIFICATE_DIRECTORIES, TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient

# A smaller difference between two clocks is ignored.
SAME_TIME = 300  # seconds
# A disk with less free space counts as full: the smaller limit of the two, since some disks are tiny.
_FULL_BYTES = 16 << 20
_FULL_SHARE = 0.01
# The size of a trial upload, which shows whether the registry can store anything.
_TRIED_BYTES = 256 << 10
_PATH = re.compile(r"(/[^\s:\"']+)[\"']?: (?:no space left|disk quota)")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}
# Platforms that a processor supports in addition to its own, and that engines use where an index lacks the latter.
_ALSO_RUNS = {"linux/amd64": "linux/386", "linux/arm64": "linux/arm"}
_MOST_NAMES = 5


# --- the name ---------------------------------------------------------------------------------------------------------


def in_hosts_file(name, path="/etc/hosts"):
    """The addresses that /etc/hosts gives a name."""
    lines = [line.partition("#")[0].split() for line in read_text(path).splitlines()]
    return [words[0] for words in lines if name.lower() in (word.lower() for word in words[1:])]


# --- the clock --------------------------------------------------------------------------------------------------------


def explain_time(error, url, timeout):
    """Distinguishes an invalid certificate from a wrong clock, by the time that the server sends.

    Returns the seconds that the clock of this host is ahead of that of the server, or None where it is unknown.
    """
    try:
        begin, end, server = _times(url, timeout)
    except RegistryError:
        # There is nothing to add.
        return None
    here = time.time()
    ahead = here - server
    if _side(here, begin, end) != _side(server, begin, end) and abs(ahead) > SAME_TIME:
        # This host cannot tell which of the two: a certificate that was issued by a fast clock is valid by that clock
        # only.
        error.message += (
            f", by the clock of this host, which is {_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} that "
            "of the server. One of the two clocks is wrong, this host's or the registry host's"
        )
        error.cure = (
            "Compare both with date -u, and set the clock of this host or that of the registry host, as by "
            "timedatectl set-ntp true"
        )
        error.mistake = "clock_off"
    elif server > end:
        error.message += f" on {day(end)}, by the clock of the server, too"
        error.cure = "Renew it on the registry host: run site.yml, or rotate.yml -e rotate=certificate, there"
        error.mistake = "expired"
    elif server < begin:
        error.message += f", and not before {day(begin)} by the clock of the server, either"
        error.cure = "Check the clock of the host that issued it, and issue it again"
    return round(ahead)


def _side(moment, begin, end):
    """-1 before the validity of a certificate, 0 during it, and 1 after it."""
    return (moment > end) - (moment < begin)


def _times(url, timeout):
    """(begin, end of the certificate, the time of the server), in seconds since 1970. Raises RegistryError."""
    with HttpClient(TLSConfig(urllib.parse.urlsplit(url).netloc, validate_certs=False), timeout, attempts=1) as client:
        client.step("connection", url)
        client.step("TLS", url)
        begin, end = validity(client.certificate(url), "the certificate")
        date = client.request("HEAD", url).headers.get("Date") or ""
    try:
        return begin, end, email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        raise InputError("the server sends no valid Date header") from None


def _span(seconds):
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


# --- the CA -----------------------------------------------------------------------------------------------------------


def explain_ca(error, registry):
    """For a CA that is unknown on this host: names the CAs in the directories of engines, or in similar directories."""
    host = registry.api_host
    found, near = _certificates(host)
    if found:
        error.message += (
            f". What lies in {_listed(found)} is another CA, or the server does not send its intermediate certificates"
        )
    elif near:
        error.message += f". There is {_listed(near)}, which is not for {host}"
    error.cure += ". For a host of the inventory, rollout.yml --limit HOST does it"


def explain_engine_ca(error, registry, engine_directory, timeout):
    """For a CA that is known to this host and unknown to its engine: names where this host has it."""
    found = [path for path in _certificates(registry.api_host)[0] if not path.startswith(engine_directory)]
    if found:
        error.message += f". It lies in {_listed(found)}, where this engine does not look"
    elif _system_knows(f"https://{registry.api_host}/v2/", timeout):
        error.message += ". The CAs of the system know it, which an engine reads only when it starts"
        error.cure += ". Or restart the engine, which stops containers where live-restore is off"


def _certificates(host):
    """(the CAs for a registry in the directories of engines, the directories for its other ports)"""
    folders = [os.path.expanduser(folder) for folder in CERTIFICATE_DIRECTORIES]
    name = re.sub(r":[0-9]+$", "", host)
    found = [
        path for folder in folders for path in sorted(glob.glob(f"{glob.escape(os.path.join(folder, host))}/*.crt"))
    ]
    near = [path for folder in folders for path in glob.glob(glob.escape(os.path.join(folder, name)) + "*")]
    alike = re.compile(re.escape(name) + r"(?::[0-9]+)?")
    return found, sorted(
        path for path in near if alike.fullmatch(os.path.basename(path)) and os.path.basename(path) != host
    )


def _system_knows(url, timeout):
    # No engine has a directory for this name.
    with HttpClient(TLSConfig("system.invalid"), timeout, attempts=1) as client:
        try:
            client.step("connection", url)
            client.step("TLS", url)
        except RegistryError:
            return False
    return True


# --- disks ------------------------------------------------------------------------------------------------------------


def disk(path):
    """{path, size, free (bytes), full} of the file system of an existing or future path, or None."""
    place = os.path.abspath(path)
    while not os.path.exists(place) and place != "/":
        place = os.path.dirname(place)
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    no_files = found.f_files > 0 and found.f_favail == 0
    return {
        "path": place,
        "size": size,
        "free": free,
        "full": no_files or free < min(_FULL_BYTES, size * _FULL_SHARE) or free == 0,
    }


def explain_space(error, text, root):
    """For a full disk: detects whether it is the engine's, with its data in root. text: the message of the engine."""
    named = _PATH.search(text)
    for path in [named.group(1)] if named else [root, os.path.join(root, "tmp")]:
        found = disk(path) if path and os.path.exists(root or "/") else None
        # A path in the message may be one in the storage of the registry, and not on this host.
        if found and (found["full"] or _lies_in(path, root)):
            quote = re.search(r" \(the engine said: .*\)", text, re.DOTALL)
            error.message = f"{found['path']} is full, with {found['free']} bytes left{quote.group(0) if quote else ''}"
            error.cure = "Free space there, as by docker system prune or podman system prune"
            error.mistake = "disk_full"
            return


def explain_storage(error, api, repository):
    """For a registry that answers a push with 5xx: detects a full disk, which the engine does not report."""
    try:
        api.try_upload(repository, _TRIED_BYTES)
    except RegistryError as found:
        if found.mistake == "registry_full":
            error.message = f"{found.message}. {error.message}"
            error.cure, error.mistake = found.cure, found.mistake


def _lies_in(path, root):
    return bool(root) and os.path.commonpath([os.path.abspath(path), os.path.abspath(root)]) == os.path.abspath(root)


# --- logins -----------------------------------------------------------------------------------------------------------


def explain_login(error, registry, others):
    """For an account without a login: names its logins for the same host with another scheme or port."""
    name = re.sub(r":[0-9]+$", "", registry.name)
    alike = [other for other in others if re.search(rf"(?:^|//){re.escape(name)}(?:[:/]|$)", other)]
    if alike:
        error.message += f". There is a login for {_listed(alike)}, which is not for {registry.name}"


# --- the image --------------------------------------------------------------------------------------------------------


def explain_absent(api, reference, tag_was_named):
    """The RegistryError for an image that the registry does not have, with similar names."""
    name, repository, wanted = reference.registry.name, reference.repository, reference.digest or reference.tag
    tags = api.tags(repository)
    message = f"{name} has no {reference}"
    if tags is None:
        near = _near(repository, _repositories(api))
        return RegistryError(
            f"{message}: no repository {repository}" + (f", but {_listed(near)}" if near else ""),
            "Push it before, or correct the name of the repository",
            "no_repository",
        )
    # Signatures and the like are not images, and their tags would be listed before all others.
    signatures, tags = len(tags), [tag for tag in tags if not subject_of(tag)]
    if not tags:
        what = "no tags of images, only of signatures and the like" if signatures else "no tags"
        return RegistryError(f"{message}: {repository} has {what}", "Push it before, or correct image", "no_tag")
    if reference.tag and tags == ["latest"]:
        return RegistryError(
            f"{message}: {repository} has no tag but latest",
            "Push it under a tag of its own, such as its version, since latest changes",
            "latest_only",
        )
    if reference.tag == "latest" and not tag_was_named:
        return RegistryError(
            f"{message}: image names no tag, which means latest, and there is none. There is {_listed(_newest(tags))}",
            "Name one of these tags",
            "no_latest",
        )
    near = _near(wanted, tags) or _newest(tags)
    return RegistryError(
        f"{message}. There is {_listed(near)}", "Push it before, or name a tag that is there", "no_tag"
    )


def _repositories(api):
    """The repositories that the registry lists for this user; most users may list none."""
    try:
        return list(api.repositories())
    except RegistryError:
        return []


def _near(name, names):
    return difflib.get_close_matches(name, names, _MOST_NAMES)


def _newest(tags):
    """The last of the tags in natural order."""
    return sorted(tags, key=lambda tag: [int(part) if part.isdigit() else -1 for part in re.split(r"([0-9]+)", tag)])[
        -_MOST_NAMES:
    ]


def platform_of_host():
    """The platform in the format of images, without a variant."""
    return f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}"


def check_image(api, reference):
    """Checks that the registry has an image for this host, with its manifest and the first bytes of all its parts.

    Returns a description, or None for a missing manifest. Raises RegistryError where this host cannot use the image.
    """
    manifest = api.manifest(reference.repository, reference.digest or reference.tag)
    if manifest is None:
        return None
    here = found = platform_of_host()
    if manifest.is_index:
        found, digest = _child(manifest, here, reference)
        manifest = api.manifest(reference.repository, digest)
        if manifest is None:
            raise _lost(reference, digest)
    for blob in manifest.blobs:
        if not api.blob_begins(reference.repository, blob["digest"]):
            raise _lost(reference, blob["digest"])
    facts = Describer().describe(api, reference.repository, manifest.digest) or {"platforms": []}
    # Without the variant, since only the engine knows which variants the host supports.
    offered = ["/".join(name.split("/")[:2]) for name in facts["platforms"]]
    runs = _runnable(offered, here)
    if offered and not runs and not _emulates(offered[0]):
        raise _other_platform(reference, offered, here)
    return f"{reference} is there for {runs or found}, and its {len(manifest.blobs)} parts can be read"


def _child(manifest, here, reference):
    """(platform, digest) of the manifest for this host in an index."""
    offered = {}
    for child in manifest.children:
        about = child.get("platform")
        about = about if isinstance(about, dict) else {}
        offered.setdefault(f"{about.get('os')}/{about.get('architecture')}", child["digest"])
    found = _runnable(offered, here)
    if not found:
        raise _other_platform(reference, [name for name in offered if "unknown" not in name], here)
    return found, offered[found]


def _runnable(offered, here):
    """The first of the offered platforms that this host supports, or an empty string."""
    return next((name for name in (here, _ALSO_RUNS.get(here)) if name in offered), "")


def _lost(reference, digest):
    return RegistryError(
        f"{reference.registry.name} has {reference}, but not its part {digest}",
        "Push the image again: the storage lost that part, as by a garbage collection during a push",
        "layer_missing",
    )


def _other_platform(reference, offered, here):
    return RegistryError(
        f"{reference} is for {_listed(offered) or 'no platform'}, and this host is {here}",
        f"Build it for {here}, too, or name an image that is",
        "other_platform",
    )


def _emulates(name):
    """Whether the kernel runs programs of another architecture with an emulator."""
    names = {value: key for key, value in _ARCHITECTURES.items()}
    wanted = names.get(name.partition("/")[2], name.partition("/")[2])
    return bool(glob.glob(f"/proc/sys/fs/binfmt_misc/qemu-{glob.escape(wanted)}*"))


def _listed(names):
    names = list(names)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
