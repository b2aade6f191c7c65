"""What the files of the page may be: small, ours alone, and without any way to make markup of text."""

from __future__ import annotations

import re

from page_server import FILES

SOURCES = {path.name: path.read_text(encoding="utf-8") for path in FILES.iterdir()}


def test_all_of_it_is_small():
    sizes = {path.name: path.stat().st_size for path in FILES.iterdir()}
    assert sum(sizes.values()) <= 150_000, sorted(sizes.items(), key=lambda one: -one[1])


def test_names_are_those_that_the_proxy_serves():
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*\.(js|css|svg|html|woff2)", name) for name in SOURCES)


def test_no_text_can_become_markup_or_code():
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment|"
        r"DOMParser|srcdoc|setHTML"
    )
    assert [(name, found) for name, text in SOURCES.items() for found in re.findall(forbidden, text)] == []


def test_nothing_inline_and_nothing_from_elsewhere():
    html = SOURCES["index.html"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html)
    assert re.findall(r'(?:src|href)="(?!/page/|#)[^"]*"', html) == []
    outside = [(name, found) for name, text in SOURCES.items() for found in re.findall(r"https?://[^\s\"'<]+", text)]
    assert {found for _name, found in outside} <= {
        "http://www.w3.org/2000/svg",
        "https://REGISTRY/v2/_catalog",
        "https://REGISTRY/v2/NAME/tags/list",
        "https://REGISTRY/v2/NAME/manifests/TAG",
    }


def test_modules_import_downwards_and_each_is_loaded_early():
    imports = {name: re.findall(r"from '\./([^']+)'", text) for name, text in SOURCES.items() if name.endswith(".js")}
    preloaded = re.findall(r"modulepreload href=/page/([^>]+)>", SOURCES["index.html"])
    assert sorted(preloaded) == sorted(set(imports) - {"main.js", "start.js"})
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{name} imports itself by {above}"
        if name not in done:
            for other in imports[name]:
                walk(other, (*above, name))
            done.add(name)

    walk("main.js", ())
    assert done == set(imports) - {"start.js"}
