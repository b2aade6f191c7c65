"""Programs out of packages of the distribution: nothing is installed, and no service is started."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from paths import ROOT

PLACE = ROOT / ".cache" / "unpacked"


def program(package: str, name: str) -> str:
    """The path of a program, of the one that is installed where there is one."""
    installed = shutil.which(name)
    if installed:
        return installed
    place = PLACE / package
    found = place / "usr" / "bin" / name
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            _unpack(package, place)
    assert found.exists(), f"the package {package} has no {name}"
    return str(found)


def _unpack(package: str, place: Path) -> None:
    fetched = PLACE / f"{package}.fetched"
    shutil.rmtree(fetched, ignore_errors=True)
    fetched.mkdir()
    done = subprocess.run(["apt-get", "download", package], cwd=fetched, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"The package {package} cannot be had (apt-get update may help): {done.stderr}"
    subprocess.run(["dpkg-deb", "--extract", str(next(fetched.glob("*.deb"))), str(place)], check=True)
