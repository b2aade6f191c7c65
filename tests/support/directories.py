"""What lies in a directory, to be compared with what lay there."""

from __future__ import annotations

import stat


def snapshot(folder):
    """All that lies there: kind, content, mode and owner of each."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (content, stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid)
    return found
