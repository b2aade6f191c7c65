"""What README.md, CONTRIBUTING.md and the pages of docs/docsite show is there: examples parse, and names exist.

Sphinx, in scripts/docs-site, checks the links between pages.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml
from paths import ROOT

RST = sorted((ROOT / "docs" / "docsite" / "rst").glob("*.rst"))
MARKDOWN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES = [*RST, *MARKDOWN]
LABEL = "ansible_collections.wharf.registry."

PLAYBOOKS = {path.name for path in (ROOT / "playbooks").glob("*.yml")}
ROLES = {path.name for path in (ROOT / "roles").iterdir()}
PLUGINS = {
    kind: {path.stem for path in (ROOT / "plugins" / folder).iterdir() if path.suffix in (".py", ".yml")}
    for folder, kind in {
        "modules": "module",
        "lookup": "lookup",
        "filter": "filter",
        "test": "test",
        "callback": "callback",
    }.items()
}
TARGETS = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
# Files of an inventory, and others that pages may name by their last part alone.
OTHER_FILES = {
    "hosts.yml",
    "vault.yml",
    "zz-dynamic.yml",
    "main.yml",
    "argument_specs.yml",
    "runtime.yml",
    "galaxy.yml",
}

# A variable of a role, or one that a playbook takes by -e.
VARIABLE = re.compile(
    r"(?<![\w./-])(?:engine|certificate|registry|reverse_proxy|client|maintenance|monitoring|backup|image|rollout|doctor|restore|rotate)_\w+"
)


def options(specs):
    """Names of options, and of what is in them."""
    found = set()
    for name, option in specs.items():
        found |= {name} | options(option.get("options", {}))
    return found


def known_names():
    found = set().union(*PLUGINS.values())
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found |= options(entry.get("options", {}))
    # Results of roles, which have no "__" before them.
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        found |= set(re.findall(r"\bregister: ([a-z]\w+)", path.read_text(encoding="utf-8")))
    for path in (ROOT / "playbooks").glob("*.yml"):
        found |= set(re.findall(r"\b(?:rollout|doctor|restore|rotate)_\w+", path.read_text(encoding="utf-8")))
    return found


NAMES = known_names()


def blocks(page, language):
    """The code blocks of a page in this language."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    else:
        found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def literals(page):
    """What a page shows as code within its sentences."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    quotes = "`" if page.suffix == ".md" else "``"
    return [" ".join(found.split()) for found in re.findall(rf"{quotes}([^`]+){quotes}", text)]


def shown(page):
    """All that is code on a page: within its sentences, and in its examples."""
    return [*literals(page), *blocks(page, "yaml"), *commands(page)]


def commands(page):
    """The commands of the consoles of a page, without their prompt."""
    lines = [line.removeprefix("$ ") for block in blocks(page, "console") for line in block.splitlines()]
    return [line for line in lines if line.strip()]


def identify(path):
    return str(path.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=identify)


@each_page
def test_examples_of_yaml_parse(page):
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block), block


@each_page
def test_tasks_of_examples_have_options_that_exist(page):
    """A module of this collection, with options that it has."""
    for play in [play for block in blocks(page, "yaml") for play in as_plays(yaml.safe_load(block))]:
        for task in play["tasks"]:
            for name, given in task.items():
                if name.startswith("wharf.registry."):
                    taken = module_options(name.removeprefix("wharf.registry."))
                    assert not set(given) - taken, f"{name} has no {set(given) - taken}"


def as_plays(document):
    return [play for play in document if "tasks" in play] if isinstance(document, list) else []


def module_options(name):
    """Options of a module, with those of its fragments."""
    module = documentation(ROOT / "plugins" / "modules" / f"{name}.py", "DOCUMENTATION")
    found = set(module["options"])
    for fragment in module.get("extends_documentation_fragment", []):
        file = fragment.rpartition("registry.")[2]
        name, _separator, part = file.partition(".")
        found |= set(
            documentation(ROOT / "plugins" / "doc_fragments" / f"{name}.py", part.upper() or "DOCUMENTATION").get(
                "options", {}
            )
        )
    return found


def documentation(path, name):
    text = re.search(rf"\b{name} = r?\"\"\"(.*?)\"\"\"", path.read_text(encoding="utf-8"), re.DOTALL)
    return yaml.safe_load(text[1]) if text else {}


@each_page
def test_commands_are_right(page):
    """Playbooks, targets of make and values of DATA that a console shows exist."""
    for command in commands(page):
        words = shlex.split(command, comments=True)
        for before, word in itertools.pairwise(["", *words]):
            if word.startswith("playbooks/"):
                assert word.removeprefix("playbooks/") in PLAYBOOKS, command
            if before == "-e":
                name = word.partition("=")[0]
                assert name in NAMES | {"rotate", "report"}, command
        for part in re.findall(r"(?:^|&& )make ([a-z-]+)", command):
            assert part in " ".join(TARGETS).split(), command


@each_page
def test_names_in_sentences_and_examples_exist(page):
    for text in shown(page):
        for name in VARIABLE.findall(text):
            known = any(one.startswith(name) for one in NAMES) if name.endswith("_") else name in NAMES
            assert known, f"{name} is no variable of a role or a playbook, and no plugin"
        for name in re.findall(r"\bwharf\.registry\.(\w+)", text):
            assert name in ROLES | set().union(
                *PLUGINS.values(), {"registry"}, {file.removesuffix(".yml") for file in PLAYBOOKS}
            ), name


@each_page
def test_playbooks_and_targets_in_sentences_exist(page):
    for literal in literals(page):
        command, _separator, rest = literal.partition(" ")
        if re.fullmatch(r"[a-z-]+\.yml", command):
            assert command in PLAYBOOKS | OTHER_FILES, literal
        if command == "make" and rest:
            assert rest.split()[0] in " ".join(TARGETS).split(), literal


@pytest.mark.parametrize("page", RST, ids=identify)
def test_references_to_the_reference_exist(page):
    """The pages that antsibull-docs makes of roles, modules and plugins."""
    for name, kind in re.findall(rf"{re.escape(LABEL)}(\w+)_([a-z]+)>", page.read_text(encoding="utf-8")):
        assert name in (ROLES if kind == "role" else PLUGINS[kind]), f"{name}_{kind}"


def test_every_page_is_in_the_table_of_contents():
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    assert sorted(name for section in sections for name in section["toctree"]) == [page.stem for page in RST]
    for page in RST:
        assert page.read_text(encoding="utf-8").startswith(f".. _{LABEL}docsite.{page.stem}:\n"), page


@pytest.mark.parametrize("page", MARKDOWN, ids=identify)
def test_links_of_markdown_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_layers_are_those_of_the_test():
    """The table of CONTRIBUTING.md and what test_layers.py checks."""
    spec = importlib.util.spec_from_file_location("layers", Path(__file__).with_name("test_layers.py"))
    layers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layers)
    rows = re.findall(
        r"^\| `(_\w+)` \|[^|]*\| ([^|]*) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {package: set(re.findall(r"`(_\w+)`", imports)) for package, imports in rows} == layers.MAY_IMPORT


def test_an_execution_environment_finds_its_files():
    meta = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text(encoding="utf-8"))
    assert meta["version"] == 1
    assert all((ROOT / path).is_file() for path in meta["dependencies"].values())


def sources():
    """All that this collection can say, with strings that go over several lines made one."""
    texts = []
    for folder in ("plugins", "roles", "playbooks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yml", ".j2", ".njs"):
                text = path.read_text(encoding="utf-8")
                # `"one "\n f"two"` is one string.
                text = re.sub(r"([\"'])\s*\n\s*[fr]{0,2}\1", "", text)
                texts.append(" ".join(text.split()))
    return "\n".join(texts)


def own_errors():
    """The texts on the page of errors that are of this collection, and not of an engine."""
    page = (ROOT / "docs" / "docsite" / "rst" / "troubleshooting.rst").read_text(encoding="utf-8")
    own = page.partition("\nWhat the registry answers\n")[2]
    heads = re.findall(r"^(``.*)\n   \*\*Cause:", own, re.MULTILINE)
    return [text for head in heads for text in re.findall(r"``([^`]+)``", head)]


def test_known_errors_are_what_the_collection_says():
    assert len(own_errors()) > 50
    said = sources()
    missing = [
        text for text in own_errors() if not all(part.strip() in said for part in text.split("…") if part.strip())
    ]
    assert not missing
