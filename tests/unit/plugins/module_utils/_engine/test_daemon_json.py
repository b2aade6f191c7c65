"""daemon.json: nothing outside the two lists changes, for any file, and what an engine would refuse is refused here."""

from __future__ import annotations

import json

import inputs
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import (
    INSECURE,
    MIRRORS,
    DaemonConfig,
    check_mirror,
    is_effective,
    same_mirror,
    same_registry,
    without_users,
)
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from examples import examples

HOST, MIRROR = "r.example.com:5000", "https://m.example.com"
OURS = (INSECURE, MIRRORS)

# --- any file at all --------------------------------------------------------------------------------------------------

space = st.sampled_from(["", "", " ", "  ", "\n", "\n  ", "\n\t", "\r\n    ", "\r\n"])
number = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
words = st.tuples(st.text(max_size=10), st.booleans()).map(lambda parts: json.dumps(parts[0], ensure_ascii=parts[1]))
# Half of a surrogate pair has no UTF-8, and stands in a file as an escape.
words = words.filter(lambda text: text.isprintable() or text.isascii())
scalar = st.one_of(st.sampled_from(["null", "true", "false", "{}", "[ ]"]), number, words)


def laid_out(opening, closing, items, gaps):
    gap = iter(gaps)
    inner = ",".join(next(gap) + item + next(gap) for item in items)
    return opening + (inner or next(gap)) + closing


def as_list(item, most=4):
    items = st.lists(item, max_size=most)
    return items.flatmap(lambda found: gaps(found).map(lambda spaces: laid_out("[", "]", found, spaces)))


def as_object(pairs):
    items = [f"{json.dumps(key)}:{value}" if len(key) % 2 else f"{json.dumps(key)} : {value}" for key, value in pairs]
    return gaps(items).map(lambda spaces: laid_out("{", "}", items, spaces))


def gaps(items):
    size = 2 * len(items) + 1
    return st.lists(space, min_size=size, max_size=size)


def objects(values, keys=None, most=4):
    return st.dictionaries(keys or st.text(max_size=8), values, max_size=most).flatmap(
        lambda found: as_object(found.items())
    )


value = st.recursive(scalar, lambda inner: st.one_of(as_list(inner), objects(inner)), max_leaves=10)
entries = st.one_of(st.just("null"), as_list(words))
foreign = st.dictionaries(st.text(max_size=10).filter(lambda key: key not in OURS), value, max_size=4)
document = (
    st.tuples(
        foreign, st.fixed_dictionaries({}, optional=dict.fromkeys(OURS, entries)), st.randoms(use_true_random=False)
    )
    .map(lambda parts: shuffled({**parts[0], **parts[1]}, parts[2]))
    .flatmap(as_object)
)
texts = st.tuples(space, document, space).map("".join)


def shuffled(pairs, random):
    found = list(pairs.items())
    random.shuffle(found)
    return found


def lexical(text):
    """The document with its numbers as they are written and its order."""
    return json.loads(
        text, parse_int=lambda raw: ("n", raw), parse_float=lambda raw: ("n", raw), object_pairs_hook=list
    )


def without_ours(text):
    """(the text with the values of our keys cut out, the keys that were cut). Read apart from the module's code."""
    cut, found, depth, at, begin, key = [], [], 0, 0, None, None
    last = 0
    while at < len(text):
        sign = text[at]
        if sign == '"':
            end = at + 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            if depth == 1 and begin is None:
                key = json.loads(text[at : end + 1])
            at = end
        elif sign == ":" and depth == 1 and begin is None:
            begin = at + 1
        elif sign in "}," and depth == 1 and begin is not None:
            if key in OURS:
                inner = text[begin:at]
                start = begin + len(inner) - len(inner.lstrip())
                cut += [text[last:start]]
                last = start + len(inner.strip())
                found.append(key)
            begin = None
        if sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
        at += 1
    return "@".join([*cut, text[last:]]), found


def config(text):
    return DaemonConfig(text.encode(), "daemon.json")


def present(before):
    return before.with_entries(INSECURE, [HOST], [], same_registry).with_entries(MIRRORS, [MIRROR], [], same_mirror)


def absent(before):
    return before.with_entries(INSECURE, [], [HOST], same_registry).with_entries(MIRRORS, [], [MIRROR], same_mirror)


@settings(max_examples=examples(400), deadline=None)
@given(text=texts)
@example(text="{}")
@example(text='{"a":1}')
@example(text='\r\n{\r\n    "a": 1e999,\r\n    "insecure-registries": [\r\n        "x"\r\n    ]\r\n}')
@example(text='{"insecure\\u002dregistries": ["x", "x"], "b": "\\ud800"}')
@example(text='{"a": "insecure-registries", "b": {"insecure-registries": [1]}, "c": ["}", "\\"", "\\\\"]}')
@example(text='{"n": ' + "9" * 5000 + "}")
def test_present_then_absent_gives_any_file_back(text):
    before = config(text)
    old = {key: before.entries(key) for key in OURS}
    assume(HOST not in map(str, old[INSECURE]) and MIRROR not in old[MIRRORS])
    there = present(before)
    for key, entry in ((INSECURE, HOST), (MIRRORS, MIRROR)):
        # Foreign entries keep their places, and their repetitions.
        assert there.entries(key) == [*old[key], entry]
    assert present(there) is there
    gone = absent(there)
    assert absent(gone) is gone
    assert {key: gone.entries(key) for key in OURS} == old
    for after in (there, gone):
        check_outside(text, after.text)


def check_outside(text, after):
    kept, had = without_ours(text)
    now, has = without_ours(after)
    new = [key for key in OURS if key not in had]
    assert has == had + new
    if not new:
        assert now == kept
        return
    # New keys come last, and nothing stands between what was there.
    others = [pair for pair in lexical(text) if pair[0] not in OURS]
    assert [pair for pair in lexical(after) if pair[0] not in OURS] == others
    if lexical(text):
        end = len(kept.rstrip()[:-1].rstrip())
        assert now.startswith(kept[:end])
        assert now.endswith(kept[end:])
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in text or text.count("\n") != text.count("\r\n")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", '{\n  "insecure-registries": ["r"]\n}\n'),
        (" \n", '{\n  "insecure-registries": ["r"]\n}\n'),
        ("{}", '{\n  "insecure-registries": ["r"]\n}'),
        ('{"a": 1}', '{"a": 1, "insecure-registries": ["r"]}'),
        ('{\n    "a": 1\n}\n', '{\n    "a": 1,\n    "insecure-registries": ["r"]\n}\n'),
        ('{\r\n\t"a": 1\r\n}', '{\r\n\t"a": 1,\r\n\t"insecure-registries": ["r"]\r\n}'),
        ('{"insecure-registries": null}', '{"insecure-registries": ["r"]}'),
        ('{\n "insecure-registries": ["a"]\n}', '{\n "insecure-registries": ["a", "r"]\n}'),
        (
            '{\n  "insecure-registries": [\n    "a"\n  ]\n}',
            '{\n  "insecure-registries": [\n    "a",\n    "r"\n  ]\n}',
        ),
        (
            '{\r\n  "insecure-registries": [\r\n    "a"\r\n  ]\r\n}',
            '{\r\n  "insecure-registries": [\r\n    "a",\r\n    "r"\r\n  ]\r\n}',
        ),
    ],
)
def test_it_is_written_as_it_was_found(text, after):
    assert config(text).with_entries(INSECURE, ["r"], [], same_registry).text == after


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1"),
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ('{"a": 1,}', "not valid JSON"),
        ('{"a": 1} // no', "not valid JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"insecure-registries": "x"}', "list of strings"),
        ('{"insecure-registries": [1]}', "list of strings"),
        ('{"registry-mirrors": {}}', "list of strings"),
        ("[" * 100000, "nested"),
    ],
)
def test_what_is_no_daemon_json_is_told_without_its_content(text, says):
    with pytest.raises(InputError, match=says) as told:
        config(text)
    assert "daemon.json" in str(told.value)
    with pytest.raises(InputError, match="UTF-8"):
        DaemonConfig(b'{"a": "\xff"}', "daemon.json")


@settings(max_examples=examples(200), deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_a_document_or_an_error(raw):
    try:
        found = DaemonConfig(raw, "x")
    except InputError:
        return
    assert not raw.strip() or isinstance(json.loads(raw), dict)
    assert present(found).entries(INSECURE)[-1:] == [HOST]


# --- what an engine would say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("debug", [True, None], ["true", 1]),
        ("mtu", [1500, None], ["1500", True]),
        ("log-driver", ["x"], [1, []]),
        ("dns", [["1.1.1.1"], []], ["1.1.1.1", [1]]),
        ("log-opts", [{"max-size": "1m"}], [{"max-size": 1}, []]),
        ("runtimes", [{"x": {"path": "/y"}}], [[]]),
        ("a-key-of-a-newer-engine", [1, "x", None, {}], []),
    ],
)
def test_types(key, good, bad):
    for one in good:
        config(json.dumps({key: one})).check([])
    for one in bad:
        with pytest.raises(InputError, match=f'"{key}" is not'):
            config(json.dumps({key: one})).check([])


@pytest.mark.parametrize(
    ("key", "flags"),
    [
        (INSECURE, ["--insecure-registry=x"]),
        (INSECURE, ["-H", "fd://", "--insecure-registry", "x"]),
        (MIRRORS, ["--registry-mirror=https://x"]),
        ("hosts", ["-H", "fd://"]),
        ("hosts", ["--host=fd://"]),
        ("debug", ["-D"]),
        ("bip", ["--bip=10.0.0.1/24"]),
        ("log-opts", ["--log-opt", "max-size=1m"]),
        ("default-ulimits", ["--default-ulimit=nofile=1"]),
    ],
)
def test_a_key_that_is_a_flag_as_well(key, flags):
    lists = {"hosts": [], "log-opts": {}, "debug": True, "bip": "x", "default-ulimits": {}}
    document = config(json.dumps({key: lists.get(key, [])}))
    document.check(["--containerd=/x", "--tls"])
    with pytest.raises(InputError, match="dockerd is started with") as told:
        document.check(flags)
    assert key in told.value.message


def test_runtimes_may_be_both():
    config('{"runtimes": {}}').check(["--add-runtime", "x=/y"])


@pytest.mark.parametrize(
    ("entry", "insecure"),
    [
        ("r:1", ["r:1"]),
        ("http://r:1", ["r:1"]),
        ("10.0.0.7/8", ["10.0.0.0/8"]),
        ("10.0.0.1", ["10.0.0.1"]),
        ("2001:DB8::/32", ["2001:db8::/32"]),
        ("[::1]:5000", ["[::1]:5000"]),
    ],
)
def test_what_an_engine_believes(entry, insecure):
    assert is_effective(entry, insecure)
    assert not is_effective(entry, ["other", "127.0.0.0/8"])


def test_upper_case_is_another_registry():
    assert not same_registry("R.example.com", "r.example.com")
    assert same_registry("HTTPS://r.example.com", "r.example.com")


@pytest.mark.parametrize("url", ["https://m", "http://m:80/", "https://[::1]:5000", "https://M.example.com"])
def test_mirrors(url):
    check_mirror(url)


@pytest.mark.parametrize(
    "url", ["m", "ftp://m", "https://", "https://m/x", "https://m?x", "https://m:0", "https://m:99999", "https://[::1"]
)
def test_no_mirrors(url):
    with pytest.raises(InputError, match="no mirror"):
        check_mirror(url)


@pytest.mark.parametrize("secret", ["geheim", "ge@heim", "ge:heim", "ge@@he:im"])
def test_no_password_of_a_url_is_told(secret):
    text = f'proxy "http://user:{secret}@proxy:3128/x" and https://u:{secret}@other'
    assert "heim" not in without_users(text) and "proxy:3128" in without_users(text)
    with pytest.raises(InputError) as told:
        check_mirror(f"https://user:{secret}@m")
    assert "heim" not in str(told.value)


# --- files of other editors -------------------------------------------------------------------------------------------

FILES = inputs.cases("daemon_json.yml")


@pytest.mark.parametrize("case", FILES, ids=lambda case: case["name"])
def test_what_an_editor_of_windows_has_written_is_kept_or_named(case):
    if "module" in case:
        with pytest.raises(InputError, match=case["module"]):
            DaemonConfig(case["raw"], "daemon.json")
        return
    before = DaemonConfig(case["raw"], "daemon.json")
    after = before.with_entries(INSECURE, [HOST])
    read = DaemonConfig(after.raw, "daemon.json")
    assert read.content == {**before.content, INSECURE: [HOST]}
    encoding = case.get("encoding", "utf-8")
    assert after.raw == read.text.encode(encoding) if encoding != "utf-16-be" else after.raw.startswith(b"\xfe\xff\0{")
    assert after.with_entries(INSECURE, absent=[HOST]).with_empty_list(MIRRORS).entries(INSECURE) == []
    if "old" in case:
        with pytest.raises(InputError, match=f"{case['old']}.*from 23 on"):
            after.check_plain()
    else:
        after.check_plain()
