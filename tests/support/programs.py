"""Programs of roles with what they import of the collection, as the roles place them on hosts."""

from __future__ import annotations

import sys
from pathlib import Path

from paths import ROOT

sys.path.insert(0, str(ROOT / ".venv" / "collections"))

from ansible_collections.wharf.registry.plugins.lookup._library_files import library_files
from ansible_collections.wharf.registry.plugins.lookup._program_files import program_files


def install(source: Path, place: Path, **beside: Path) -> Path:
    """The program of a directory, and others beside it by their names."""
    placed = [*program_files(source, str(place)), *library_files(source, str(place))]
    for name, directory in beside.items():
        placed += [*program_files(directory, f"{place}/{name}"), *library_files(directory, str(place))]
    for one in placed:
        if one["state"] == "directory":
            Path(one["path"]).mkdir(parents=True, exist_ok=True)
        else:
            Path(one["path"]).write_text(one["content"])
    return place
