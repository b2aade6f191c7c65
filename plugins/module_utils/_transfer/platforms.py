# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An index and the platforms that are chosen of it. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import platform_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import new_manifest

# Annotations of an index that was reduced: the digest of the whole one, and the platforms that were asked for.
WHOLE_INDEX = "registry.wharf.whole-index"
PLATFORMS = "registry.wharf.platforms"
# Where BuildKit says whose attestation an entry of an index is.
_ATTESTED = "vnd.docker.reference.digest"


def reduced(index, chosen, platforms):
    """An index of the chosen children alone. It has a digest of its own, which is the same each time."""
    document = {
        **index.document,
        "manifests": chosen,
        "annotations": {**_annotations(index.document), WHOLE_INDEX: index.digest, PLATFORMS: _text(platforms)},
    }
    return new_manifest(document, index.media_type)


def is_reduction(manifest, whole, platforms):
    """Whether a manifest was made of this index, for the same platforms."""
    annotations = _annotations(manifest.document)
    return (annotations.get(WHOLE_INDEX), annotations.get(PLATFORMS)) == (whole, _text(platforms))


def _text(platforms):
    return " ".join(sorted(platforms))


def _annotations(document):
    annotations = document.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def of_platforms(children, platforms):
    """Those of the children that are for one of the platforms, and the attestations of these."""
    chosen = {child["digest"] for child in children if _fits(platform_in(child), platforms)}
    return [child for child in children if child["digest"] in chosen or _attested(child) in chosen]


def platform_in(child):
    """The platform of an entry of an index, or an empty string."""
    text = platform_of(child.get("platform"))
    return "" if text == "unknown/unknown" else text


def _fits(platform, wanted):
    """A platform without a variant asks for all variants: linux/arm for linux/arm/v6 and linux/arm/v7."""
    return any(platform == one or platform.startswith(one + "/") for one in wanted)


def _attested(child):
    return _annotations(child).get(_ATTESTED)
