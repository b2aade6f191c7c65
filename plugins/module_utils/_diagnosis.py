# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can find out by itself of why a hop does not work, and what helps then. Private to this collection.

Nothing here changes anything, and nothing secret is sent: a server that is not trusted is asked for the time alone.
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

from ansible_collections.wharf.registry.plugins.module_utils._certificates import day, validity
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._http import CERTIFICATE_DIRECTORIES, Client, Trust
from ansible_collections.wharf.registry.plugins.module_utils._images import Describer, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._programs import read_text

# Clocks that differ by less are no reason for anything.
SAME_TIME = 300  # seconds
# What is left of a disk on which nothing can be stored: the less of the two, as some disks are tiny.
_FULL_BYTES = 16 << 20
_FULL_SHARE = 0.01
# What a registry is made to store for a moment, to see whether it can.
_TRIED_BYTES = 256 << 10
_PATH = re.compile(r"(/[^\s:\"']+)[\"']?: (?:no space left|disk quota)")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}
# What a processor runs besides programs of its own kind, and engines take from an index where that is missing.
_ALSO_RUNS = {"linux/amd64": "linux/386", "linux/arm64": "linux/arm"}
_MOST_NAMES = 5


# --- the name ---------------------------------------------------------------------------------------------------------


def in_hosts_file(name, path="/etc/hosts"):
    """The addresses that /etc/hosts gives a name."""
    lines = [line.partition("#")[0].split() for line in read_text(path).splitlines()]
    return [words[0] for words in lines if name.lower() in (word.lower() for word in words[1:])]


# --- the clock --------------------------------------------------------------------------------------------------------


def explain_time(error, url, timeout):
    """Tells a certificate that is out of its time from a clock that is: the server has one, too, and tells its time.

    Returns the seconds that the clock of this host is ahead of that of the server, or None where it does not tell.
    """
    try:
        begin, end, server = _times(url, timeout)
    except RegistryError:
        # Then there is no more to tell.
        return None
    here = time.time()
    ahead = here - server
    if _side(here, begin, end) != _side(server, begin, end) and abs(ahead) > SAME_TIME:
        # Which of the two it is can't be seen from here: a certificate that was issued by a clock that was ahead is
        # valid by that clock alone.
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
        error.cure = "Look at the clock of the host that issued it, and issue it again"
    return round(ahead)


def _side(moment, begin, end):
    """-1 before a certificate is valid, 0 while it is, and 1 after that."""
    return (moment > end) - (moment < begin)


def _times(url, timeout):
    """(begin, end of the certificate, the time of the server), in seconds since 1970. Raises RegistryError."""
    with Client(Trust(urllib.parse.urlsplit(url).netloc, validate_certs=False), timeout, attempts=1) as client:
        client.step("connection", url)
        client.step("TLS", url)
        begin, end = validity(client.certificate(url), "the certificate")
        said = client.request("HEAD", url).headers.get("Date") or ""
    try:
        return begin, end, email.utils.parsedate_to_datetime(said).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        raise InputError("the server does not say what time it is") from None


def _span(seconds):
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


# --- the CA -----------------------------------------------------------------------------------------------------------


def explain_ca(error, registry):
    """Of a CA that nothing on this host knows: what lies where engines look for it, or nearly there."""
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
    """Of a CA that this host knows and its engine does not: where it is known from."""
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
    # Under this name no engine has a directory.
    with Client(Trust("system.invalid"), timeout, attempts=1) as client:
        try:
            client.step("connection", url)
            client.step("TLS", url)
        except RegistryError:
            return False
    return True


# --- disks ------------------------------------------------------------------------------------------------------------


def disk(path):
    """{path, size, free (bytes), full} of the file system on which something lies or would lie, or None."""
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


def explain_space(error, words, root):
    """Of a disk that is full: whether it is the engine's, whose data lies in root."""
    named = _PATH.search(words)
    for path in [named.group(1)] if named else [root, os.path.join(root, "tmp")]:
        found = disk(path) if path and os.path.exists(root or "/") else None
        # A path in what the registry says of its own storage is nothing on this host.
        if found and (found["full"] or _lies_in(path, root)):
            said = re.search(r" \(the engine said: .*\)", words, re.DOTALL)
            error.message = f"{found['path']} is full, with {found['free']} bytes left{said.group(0) if said else ''}"
            error.cure = "Make room there, as by docker system prune or podman system prune"
            error.mistake = "disk_full"
            return


def explain_storage(error, api, repository):
    """Of a registry that answers a push with 5xx: whether it is its disk, which the engine does not pass on."""
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
    """Of an account without a login: those that it has for the same host by another name or port."""
    name = re.sub(r":[0-9]+$", "", registry.name)
    alike = [other for other in others if re.search(rf"(?:^|//){re.escape(name)}(?:[:/]|$)", other)]
    if alike:
        error.message += f". There is a login for {_listed(alike)}, which is not for {registry.name}"


# --- the image --------------------------------------------------------------------------------------------------------


def explain_absent(api, reference, tag_was_named):
    """The RegistryError for an image that the registry does not have."""
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
    # Nobody means what tools put beside the images, and its names would come before all others.
    signatures, tags = len(tags), [tag for tag in tags if not subject_of(tag)]
    if not tags:
        what = "no tags of images, only of signatures and the like" if signatures else "no tags"
        return RegistryError(f"{message}: {repository} has {what}", "Push it before, or correct image", "no_tag")
    if reference.tag and tags == ["latest"]:
        return RegistryError(
            f"{message}: {repository} has no tag but latest",
            "Push it under a tag of its own, such as its version: what latest is changes",
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
    """Those that the registry lists for this user, which are none for most."""
    try:
        return list(api.repositories())
    except RegistryError:
        return []


def _near(name, names):
    return difflib.get_close_matches(name, names, _MOST_NAMES)


def _newest(tags):
    """The last of the names, with numbers in their order."""
    return sorted(tags, key=lambda tag: [int(part) if part.isdigit() else -1 for part in re.split(r"([0-9]+)", tag)])[
        -_MOST_NAMES:
    ]


def platform_of_host():
    """The platform as images name it, without a variant."""
    return f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}"


def look_at(api, reference):
    """What there is of an image for this host, in words: its manifest, its platform, and that each part of it begins.

    Raises RegistryError where an engine of this host could not use it.
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
    # Without the variant: which of them a host can run is the engine's to know.
    offered = ["/".join(name.split("/")[:2]) for name in facts["platforms"]]
    runs = _runnable(offered, here)
    if offered and not runs and not _emulates(offered[0]):
        raise _other_platform(reference, offered, here)
    return f"{reference} is there for {runs or found}, and its {len(manifest.blobs)} parts begin to come"


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
    """The platform that this host runs, of those that are offered, or an empty string."""
    return next((name for name in (here, _ALSO_RUNS.get(here)) if name in offered), "")


def _lost(reference, digest):
    return RegistryError(
        f"{reference.registry.name} has {reference}, and not its part {digest}",
        "Push the image again: its storage lost that, as by a garbage collection while somebody pushed",
        "layer_missing",
    )


def _other_platform(reference, offered, here):
    return RegistryError(
        f"{reference} is for {_listed(offered) or 'no platform'}, and this host is {here}",
        f"Build it for {here}, too, or name an image that is",
        "other_platform",
    )


def _emulates(name):
    """Whether the kernel has programs of another architecture run by an emulator."""
    names = {value: key for key, value in _ARCHITECTURES.items()}
    wanted = names.get(name.partition("/")[2], name.partition("/")[2])
    return bool(glob.glob(f"/proc/sys/fs/binfmt_misc/qemu-{glob.escape(wanted)}*"))


def _listed(names):
    names = list(names)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
