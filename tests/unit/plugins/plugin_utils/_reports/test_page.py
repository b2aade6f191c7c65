"""The page of a report: what it shows, that nothing in it does anything, and that it stays small."""

from __future__ import annotations

import html.parser
import time

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.rollout_report import rollout_report
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.document import report
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.page import page
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import section
from hypothesis import given, settings
from hypothesis import strategies as st

VOID = {"meta", "br", "wbr"}
# All that a page is made of.
ELEMENTS = VOID | {
    *("html", "head", "title", "style", "body", "main", "header", "h1", "h2", "span", "p", "div", "i", "ul", "li", "b"),
    *(
        "section",
        "small",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "bdi",
        "time",
        "details",
        "summary",
        "pre",
        "footer",
    ),
}
ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "id",
        "role",
        "scope",
        "colspan",
        "tabindex",
        "datetime",
    ),
    *("aria-hidden", "aria-labelledby"),
}


class Page(html.parser.HTMLParser):
    """Reads a page as strictly as a browser does not: each element ends, and none is unknown."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.rows, self.styles = [], [], 0, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in ELEMENTS, tag
        assert {name for name, _value in attrs} <= ATTRIBUTES, attrs
        self.rows += tag == "tr"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        assert self.open or not data.strip()
        (self.styles if "style" in self.open else self.texts).append(data)

    @property
    def text(self):
        return "".join(self.texts)


def document(rows=(), kinds=("text", "outcome", "number", "bytes", "time", "seconds"), **changes):
    columns = [(f"c{number}", f"Column {number}", kind) for number, kind in enumerate(kinds)]
    told = [{f"c{number}": value for number, value in enumerate(row)} for row in rows]
    base = {
        "version": 1,
        "kind": "doctor",
        "made": "2026-11-30T17:20:05Z",
        "registry": "registry.example.com:5000",
        "check": False,
        "outcome": "ok",
        "summary": "All is well.",
        "sections": [section("Hosts", columns, told)],
        "lines": ["HOST  FAILS AT"],
        "data": {"hosts": {}},
    }
    return {**base, **changes}


def test_values_are_shown_for_people():
    read = Page(page(document([("a", "rolled_back", 12345, 3 << 20, "2026-11-30T17:20:05Z", 0.44)]))).text
    for shown in ("rolled back", "12,345", "3.0 MiB", "2026-11-30 17:20 UTC", "0.4 s", "Ended well", "All is well."):
        assert shown in read
    assert "2 min 5 s" in Page(page(document([("a", "ok", 1, 1, "", 125)]))).text


def test_an_outcome_has_its_word_and_its_colour():
    text = page(document([("a", one, 1, 1, "", 1) for one in ("ok", "changed", "failed", "skipped", "stale")]))
    for word, colour in {
        "ok": "good",
        "changed": "change",
        "failed": "bad",
        "skipped": "rest",
        "stale": "care",
    }.items():
        assert f'<span class="outcome {colour}"><bdi>{word}</bdi></span>' in text


def test_a_failure_is_told_first():
    failed = section(
        "What failed", [("host", "Host", "text"), ("said", "What", "text")], [{"host": "a", "said": "Broken. Mend it."}]
    )
    one = document([("b", "ok", 1, 1, "", 1)], outcome="failed")
    read = Page(page({**one, "sections": [failed, *one["sections"]]})).text
    assert read.index("Failed") < read.index("All is well.") < read.index("Mend it.") < read.index("Hosts")


def test_check_mode_is_marked():
    assert "Made in check mode" in page(document(check=True)) and "Made in check mode" not in page(document())


def test_it_asks_for_nothing():
    text = page(document([("a", "ok", 1, 1, "", 1)]))
    assert (
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        in text
    )
    assert not any(word in text for word in ("<script", "url(", "@import", "src=", "href=", "//"))


def test_a_table_says_what_it_is():
    text = page(document([("a", "ok", 1, 1, "", 1)]))
    assert '<th scope="col"' in text and '<th scope="row"' in text and 'aria-labelledby="h0"' in text
    # On a narrow screen cells are blocks, which would take their meaning.
    assert text.count('role="cell"') == 5 and 'role="rowheader"' in text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("</style><img src=x onerror=alert(1)>", "</style><img src=x onerror=alert(1)>"),
        ('" onmouseover="x', '" onmouseover="x'),
        ("\x1b[31mred\x00\x7f\x85", "⟨U+001B⟩[31mred⟨U+0000⟩⟨U+007F⟩⟨U+0085⟩"),
        ("user\u202egnp.exe\u2066\u200b", "user⟨U+202E⟩gnp.exe⟨U+2066⟩⟨U+200B⟩"),
        ("half \ud83d one", "half ⟨U+D83D⟩ one"),
        ("עברית שלום", "עברית שלום"),
        ("x" * 10240, f"{'x' * 1000}… (10,240 characters)"),
    ],
)
def test_hostile_text_is_inert(hostile, shown):
    row = (hostile, hostile, hostile, hostile, hostile, hostile)
    text = page(document([row], registry=hostile, summary=hostile, lines=[hostile]))
    read = Page(text)
    assert read.text.count(shown) >= 4
    assert len(read.styles) == 1 and hostile not in read.styles[0]
    text.encode()


@settings(deadline=None)
@given(text=st.text(alphabet=st.characters(), max_size=60), kind=st.sampled_from(["text", "outcome", "number", "time"]))
def test_any_text_is_inert(text, kind):
    one = document([(text, text)], kinds=(kind, "outcome"), registry=text, summary=text, lines=[text], made=text)
    read = Page(page(one))
    assert read.rows == 2
    assert not any(ord(char) < 32 and char != "\n" for char in read.text)
    page(one).encode()


def test_a_large_fleet():
    """5,000 hosts in a moment, and a file that a browser opens."""
    done = {
        "trust": {
            "changed_files": ["/etc/docker/certs.d/registry.example.com/ca.crt"],
            "reloaded": False,
            "engine": {},
        },
        "logins": [],
        "check": {"registry": "registry.example.com", "verified": True, "engine": "docker"},
        "seconds": 1.0,
    }
    found = rollout_report({f"node-{number}": (done, None) for number in range(5000)}, [1, "10%", "100%"])
    began = time.process_time()
    text = page(report("rollout", found, registry="registry.example.com", made="2026-11-30T17:20:05Z"))
    assert time.process_time() - began < 5
    assert len(text) < 4_000_000
    assert Page(text).rows == 5001
    assert "4,501 more lines" in text
