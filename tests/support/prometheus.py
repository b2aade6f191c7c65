"""Prometheus and its tools, out of the packages of the distribution: nothing is installed, no service is started."""

from __future__ import annotations

import unpacked

PACKAGES = {"prometheus": ("prometheus", "promtool"), "prometheus-alertmanager": ("prometheus-alertmanager", "amtool")}


def program(name: str) -> str:
    """The path of prometheus, promtool, prometheus-alertmanager or amtool."""
    return unpacked.program(next(package for package, programs in PACKAGES.items() if name in programs), name)
