# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of mirror.yml: which images were copied from outside, and how many pulls are left there."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import (
    FAILED_TITLE,
    count,
    line,
    outcome_of,
    result_of,
    section,
    size,
    with_rows,
    without_result,
)

READS = ("mirror_state", "mirror_foretold", "mirror_told", "__playbook_failure")

_FAILED = (
    ("host", "Host", "text"),
    ("mirror", "Mirror", "text"),
    ("outcome", "Outcome", "outcome"),
    ("said", "Problem and cure", "text"),
)
_MIRRORS = (
    ("mirror", "Mirror", "text"),
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("images", "Images", "number"),
    ("copied", "Copied", "number"),
    ("present", "Were here", "number"),
    ("skipped", "Skipped", "number"),
    ("failed", "Failed", "number"),
    ("copied_bytes", "Copied", "bytes"),
    ("remaining", "Pulls left there", "number"),
    ("succeeded", "Last success", "time"),
    ("stale_since", "Stale since", "time"),
)
_IMAGES = (
    ("mirror", "Mirror", "text"),
    ("image", "Image", "text"),
    ("to", "To", "text"),
    ("copied_bytes", "Size", "bytes"),
)


def of_mirror(facts, when, check):
    """facts: {host: what the role has told of it, see READS}."""
    rows, failed, images, lines, hosts = [], [], [], [], {}
    for host, told in facts.items():
        state = result_of(told, "mirror_state")
        looks = told.get("mirror_foretold") or []
        found = (
            [_looked(look) for look in looks] if check else [_copied(name, one) for name, one in sorted(state.items())]
        )
        rows += [{"host": host, **one} for one in found]
        wrong = [{"host": host, **one} for one in found if one["outcome"] == "failed"]
        if not wrong and (told.get("__playbook_failure") or (not found and "mirror_state" not in told and not looks)):
            outcome, said = without_result(told, check)
            wrong = [{"host": host, "mirror": "", "outcome": outcome, "said": said}]
        failed += wrong
        images += [
            {"mirror": look["item"]["name"], "image": f"{one['repository']}:{one['tag']}", **one}
            for look in looks
            for one in look.get("images") or []
            if one["changed"]
        ]
        lines += told.get("mirror_told") or [f"{one['host']}: {one['said']}" for one in wrong]
        hosts[host] = {"mirrors": [_of_mirror(name, one) for name, one in sorted(state.items())], "when": when}
    return {
        "outcome": outcome_of(failed),
        "summary": _summary(rows, check),
        "sections": with_rows(
            section(FAILED_TITLE, _FAILED, failed),
            section("Mirrors", _MIRRORS, rows),
            section("Images that would be copied", _IMAGES, images),
        ),
        "lines": lines,
        "hosts": hosts if not check else {},
    }


def _copied(name, state):
    outcome = "failed" if state["problem"] else "ok"
    return {**state, "mirror": name, "outcome": outcome, "said": line(state["problem"]), "remaining": _left(state)}


def _looked(look):
    images = look.get("images") or []
    changed = [one for one in images if one["changed"]]
    return {
        "mirror": look["item"]["name"],
        "outcome": "failed" if look.get("msg") else "would change" if changed else "ok",
        "said": line(look.get("msg")),
        "images": len(images),
        "copied": len(changed),
        "copied_bytes": look.get("copied_bytes", 0),
        "remaining": _left(look),
    }


def _left(told):
    return told["remaining"] if told.get("remaining", -1) >= 0 else None


def _of_mirror(name, state):
    names = ("succeeded", "stale_since", "problem", "images", "failed", "copied_bytes", "remaining", "ended")
    return {"name": name, **{one: state.get(one) for one in names}}


def _summary(rows, check):
    if not rows:
        return "Nothing to copy: mirror_sync has no entry, or its host has told nothing."
    copied, stale = (
        sum(row.get("copied_bytes") or 0 for row in rows),
        sum(1 for row in rows if row["outcome"] == "failed"),
    )
    said = f"{count(len(rows), 'mirror')} with {count(sum(row['images'] for row in rows), 'image')}"
    said += f"; {size(copied)} {'would be' if check else 'were'} copied"
    return f"{said}. {count(stale, 'mirror')} failed." if stale else f"{said}."
