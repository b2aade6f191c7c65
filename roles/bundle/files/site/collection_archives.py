# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of a collection of this control node and of all that it needs: collection_archives.py DIRECTORY NAME

An installed collection has a list of its files (MANIFEST.json), by which it is packed again. A checkout is built.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

GALAXY = os.path.join(os.path.dirname(sys.executable), "ansible-galaxy")


def main(directory, name):
    os.makedirs(directory, exist_ok=True)
    command = [GALAXY if os.path.exists(GALAXY) else "ansible-galaxy", "collection"]
    listed = json.loads(subprocess.run([*command, "list", "--format", "json"], check=True, capture_output=True).stdout)
    made, waiting = {}, [name]
    while waiting:
        name = waiting.pop()
        place = next((path for path, found in listed.items() if name in found), None)
        if place is None:
            return f"The collection {name} is not installed on the control node: install it with ansible-galaxy."
        path = os.path.realpath(os.path.join(place, *name.split(".")))
        if os.path.exists(os.path.join(path, "MANIFEST.json")):
            made[name] = archive(path, directory)
        else:
            build = [*command, "build", "--force", "--output-path", directory, path]
            subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
            made[name] = f"{name.replace('.', '-')}-{listed[place][name]['version']}.tar.gz"
        waiting += set(needed(os.path.join(directory, made[name]))) - set(made)
    lines = [f"  - {{name: ./{made[name]}, type: file}}\n" for name in sorted(made)]
    with open(os.path.join(directory, "requirements.yml"), "w", encoding="utf-8") as file:
        file.writelines(["---\n", "collections:\n", *lines])
    return 0


def needed(path):
    """The names of the collections that an archive needs."""
    with tarfile.open(path) as tar:
        return json.load(tar.extractfile("MANIFEST.json"))["collection_info"]["dependencies"]


def archive(path, directory):
    """The name of the archive of an installed collection."""
    about, listed = (_read(path, name) for name in ("MANIFEST.json", "FILES.json"))
    # The package ansible leaves tests and the like out.
    listed["files"] = [one for one in listed["files"] if os.path.lexists(os.path.join(path, one["name"]))]
    files = _encoded(listed)
    about["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(files).hexdigest()
    info = about["collection_info"]
    name = f"{info['namespace']}-{info['name']}-{info['version']}.tar.gz"
    with tarfile.open(os.path.join(directory, name), "w:gz") as tar:
        for own, content in (("MANIFEST.json", _encoded(about)), ("FILES.json", files)):
            entry = tarfile.TarInfo(own)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
        for one in listed["files"]:
            if one["name"] != ".":
                tar.add(os.path.join(path, one["name"]), one["name"], recursive=False, filter=_plain)
    return name


def _read(path, name):
    with open(os.path.join(path, name), encoding="utf-8") as file:
        return json.load(file)


def _encoded(document):
    return json.dumps(document, indent=1).encode()


def _plain(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
