# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the images of containers are in the registry, and whether their tags still lead to them.

Pure: facts are given to it. Private to this collection.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference

# The state of a container's image. The first two are in the registry under their digest; UNKNOWN ones may be.
CURRENT, MOVED, ABSENT, ELSEWHERE, LOCAL, UNKNOWN = "current", "moved", "absent", "elsewhere", "local", "unknown"


class Place:
    """Where the image of a container may be in the registry.

    tags: [(repository, tag)] by the name that it was started with. images: [(repository, digest)]. origin: the registry
    of its name where that is another one, or an empty string.
    """

    def __init__(self, container, names, mirrors):
        """names: those of the registry. mirrors: {another registry: paths below which its images lie in this one}."""
        started = _parsed(container["image"])
        known = [one for one in map(_parsed, container["digests"]) if one is not None and one.digest]
        # What was started by a digest does not follow a tag.
        follows = started is not None and started.tag and not started.digest
        self.tags = _within(started, names, mirrors, started.tag) if follows else []
        self.images = []
        for reference in known:
            self.images += [
                one for one in _within(reference, names, mirrors, reference.digest) if one not in self.images
            ]
        # The repository that it was started from comes first: others may have the same image.
        first = {repository for repository, _tag in _within(started, names, mirrors, "")} if started else set()
        self.images.sort(key=lambda image: image[0] not in first)
        self.has_digests = bool(known)
        self.is_own = any(_is_own(one, names) for one in known)
        others = sorted({one.registry.name for one in known if not _is_own(one, names)})
        self.origin = others[0] if others else ""


def _parsed(name):
    try:
        return parse_reference(name)
    except InputError:
        return None


def _is_own(reference, names):
    return reference.registry.name.lower() in names


def _within(reference, names, mirrors, last):
    if _is_own(reference, names):
        return [(reference.repository, last)]
    below = mirrors.get(reference.registry.name) or []
    return [(f"{path.strip('/')}/{reference.repository}".lstrip("/"), last) for path in below]


class Facts:
    """What the registry says. tags: {(repository, tag): its digest, or ""}. images: {(repository, digest): a bool}.

    problems: {(repository, reference): a sentence} on what it does not tell.
    """

    def __init__(self, tags, images, problems):
        self.tags = tags
        self.images = images
        self.problems = problems


def placed(place, facts):
    """(state, repository, digest, a sentence or "") of the image of a Place."""
    if not place.has_digests:
        return LOCAL, "", "", "no registry knows it: it was built or loaded on the host"
    there = [image for image in place.images if facts.images.get(image)]
    if there:
        return _placed(place, facts, there)
    problems = [facts.problems[image] for image in place.images if image in facts.problems]
    if problems:
        return (UNKNOWN, *place.images[0], problems[0])
    if not place.is_own:
        return ELSEWHERE, "", "", f"its name is of {place.origin}, and this registry does not have it"
    return (ABSENT, *place.images[0], "it is no longer in the registry, and no host could pull it again")


def _placed(place, facts, there):
    current = {(repository, facts.tags.get((repository, tag))) for repository, tag in place.tags}
    repository, digest = next((image for image in there if image in current), there[0])
    if (repository, digest) in current:
        return CURRENT, repository, digest, ""
    for tag in place.tags:
        name = ":".join(tag)
        if tag[0] == repository and tag in facts.problems:
            return UNKNOWN, repository, digest, f"it is not known where {name} leads: {facts.problems[tag]}"
        if tag[0] == repository and tag in facts.tags:
            now = facts.tags[tag]
            return MOVED, repository, digest, f"{name} is {now} now" if now else f"the tag {name} is gone"
    return CURRENT, repository, digest, ""
