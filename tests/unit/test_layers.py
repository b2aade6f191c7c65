"""The packages of module_utils and what each may import: arrows point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "plugins" / "module_utils"
PREFIX = "ansible_collections.wharf.registry.plugins.module_utils."
# A package may import itself and these. CONTRIBUTING.md shows them as a table.
MAY_IMPORT = {
    "_common": set(),
    "_distribution": {"_common"},
    "_retention": {"_common", "_distribution"},
    "_transfer": {"_common", "_distribution", "_retention"},
    "_gate": {"_common", "_distribution", "_transfer", "_retention"},
    "_exposure": {"_common", "_gate"},
    "_reports": {"_common"},
    "_storage": {"_common", "_distribution"},
    "_client_config": {"_common", "_distribution"},
    "_engine": {"_common"},
    "_diagnosis": {"_common", "_distribution", "_retention", "_client_config", "_engine"},
    "_modules": {
        "_common",
        "_distribution",
        "_retention",
        "_transfer",
        "_gate",
        "_exposure",
        "_reports",
        "_storage",
        "_client_config",
        "_engine",
        "_diagnosis",
    },
}
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Packages of the collection that a file imports, by any form of import."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the whole name of what is imported"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.removeprefix(PREFIX).partition(".")[0] for name in names if name.startswith(PREFIX)}
    return found


def test_every_file_lies_in_a_package() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) <= MAY_IMPORT[package] | {package}


FILTERS = sorted((ROOT.parent / "filter").glob("*.py"))
LIGHT = ("module_utils._common.", "plugin_utils._roles.")


@pytest.mark.parametrize("path", FILTERS, ids=[path.stem for path in FILTERS])
def test_filters_load_little(path: Path) -> None:
    """Ansible loads all filters of a collection in each process that uses one, which is nearly each task of a role."""
    nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
    ours = PREFIX.removesuffix("module_utils.")
    names = [node.module.removeprefix(ours) for node in nodes if node.module.startswith(ours)]
    assert [name for name in names if not name.startswith(LIGHT)] == []
