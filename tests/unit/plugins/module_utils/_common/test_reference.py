from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import (
    names_registry,
    parse_reference,
    parse_registry,
)
from hypothesis import assume, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("https://registry.example.com:5000/v2/", "registry.example.com:5000"),
        ("http://registry.example.com", "registry.example.com"),
        ("HTTPS://registry.example.com/team/app?x#y", "registry.example.com"),
        ("registry.example.com/team", "registry.example.com"),
        ("Registry.Example.com", "Registry.Example.com"),
        ("localhost", "localhost"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[::1]:5000", "[::1]:5000"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        (" registry.example.com ", "registry.example.com"),
    ],
)
def test_registry(text, name):
    assert parse_registry(text).name == name


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "https://", "/", "a b", "a_b.example.com", "-a.example.com", "a.example.com-", "a..b", "a:", "a:x"),
        *("a:0", "a:65536", "a:99999", "::1", "[::1", "2001:db8::1", "a\nb", "[x]", "ftp://a"),
        *("ä.example.com", "a:80:80"),
        *("[::1:5007:1:2:3:4:5:6]", "[:::]", "[12345::1]", "[::1::]:5000", "[1:2:3]"),
    ],
)
def test_what_is_no_registry(text):
    with pytest.raises(InputError) as error:
        parse_registry(text)
    assert "host" in str(error.value)


@pytest.mark.parametrize("password", ["geheim", "geh/eim", "1/geheim", "geh#eim", "geh?eim", "geh@eim"])
@pytest.mark.parametrize("scheme", ["", "https://"])
def test_a_password_in_the_name_is_not_shown(scheme, password):
    with pytest.raises(InputError) as error:
        parse_registry(f"{scheme}ci:{password}@registry.example.com")
    assert "holds an @" in str(error.value)
    assert "geh" not in str(error.value) and "eim" not in str(error.value)


def test_docker_hub_has_names_of_its_own():
    hub = parse_registry("docker.io")
    assert (hub.api_host, hub.config_key, hub.podman_key) == (
        "registry-1.docker.io",
        "https://index.docker.io/v1/",
        "docker.io",
    )
    other = parse_registry("registry.example.com:5000")
    assert {other.api_host, other.config_key, other.podman_key} == {"registry.example.com:5000"}


@pytest.mark.parametrize(
    ("key", "registry", "same"),
    [
        ("r.example.com", "r.example.com", True),
        ("https://r.example.com", "r.example.com", True),
        ("http://r.example.com/", "r.example.com", True),
        ("https://r.example.com/v1/", "r.example.com", True),
        ("https://r.example.com/some/path", "r.example.com", True),
        ("r.example.com/", "r.example.com", True),
        ("r.example.com/v2/", "r.example.com", True),
        # Podman's key of one namespace is another login.
        ("r.example.com/team", "r.example.com", False),
        ("r.example.com/v2/team", "r.example.com", False),
        ("r.example.com:443", "r.example.com", False),
        ("R.example.com", "r.example.com", False),
        ("xr.example.com", "r.example.com", False),
        ("https://r.example.com.evil.example", "r.example.com", False),
        ("", "r.example.com", False),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("index.docker.io", "docker.io", True),
        ("docker.io", "docker.io", True),
        ("https://registry-1.docker.io/v2/", "docker.io", True),
        # Docker's own tokens lie beside the key.
        ("https://index.docker.io/v1/access-token", "docker.io", False),
        ("https://index.docker.io/v1/refresh-token", "docker.io", False),
        ("docker.io/library", "docker.io", False),
        ("auth.docker.io", "docker.io", False),
    ],
)
def test_spellings_of_a_key(key, registry, same):
    assert names_registry(key, parse_registry(registry)) is same


# --- references of images ---------------------------------------------------------------------------------------------

F = "sha256:" + "f" * 64
F512 = "sha512:" + "f" * 128
LONG_ID = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a"
SONG = "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev"


# The inputs of the distribution project's own tests (github.com/distribution/reference, reference_test.go and
# normalize_test.go), each with the full form that its normalisation gives.
@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("test_com", "docker.io/library/test_com:latest"),
        ("test.com:tag", "docker.io/library/test.com:tag"),
        ("test.com:5000", "docker.io/library/test.com:5000"),
        ("test.com/repo:tag", "test.com/repo:tag"),
        ("test:5000/repo", "test:5000/repo:latest"),
        ("test:5000/repo:tag", "test:5000/repo:tag"),
        (f"test:5000/repo@{F}", f"test:5000/repo@{F}"),
        (f"test:5000/repo:tag@{F}", f"test:5000/repo:tag@{F}"),
        ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
        ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com/bar/baz/quux:latest"),
        ("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com/bar/baz/quux:some-long-tag"),
        ("b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io/test.example.com/my-app:test.example.com"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        (f"xn--7o8h.com/myimage:xn--7o8h.com@{F512}", f"xn--7o8h.com/myimage:xn--7o8h.com@{F512}"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ("192.168.1.1", "docker.io/library/192.168.1.1:latest"),
        ("192.168.1.1:5000", "docker.io/library/192.168.1.1:5000"),
        ("192.168.1.1/repo", "192.168.1.1/repo:latest"),
        ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050"),
        ("[2001:db8::1]/repo", "[2001:db8::1]/repo:latest"),
        ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]/repo:tag"),
        ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag"),
        (f"[2001:db8::1]:5000/repo:tag@{F}", f"[2001:db8::1]:5000/repo:tag@{F}"),
        ("[2001:db8::]:5000/repo", "[2001:db8::]:5000/repo:latest"),
        ("[::1]:5000/repo", "[::1]:5000/repo:latest"),
        ("docker/docker", "docker.io/docker/docker:latest"),
        ("library/debian", "docker.io/library/debian:latest"),
        ("debian", "docker.io/library/debian:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/docker/docker", "docker.io/docker/docker:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("127.0.0.1:5000/library/debian", "127.0.0.1:5000/library/debian:latest"),
        ("127.0.0.1:5000/debian", "127.0.0.1:5000/debian:latest"),
        ("192.168.0.1:8/debian", "192.168.0.1:8/debian:latest"),
        (SONG, f"docker.io/library/{SONG}:latest"),
        ("[fc00:1:2:3:4:5:6:7]:5000/library/debian", "[fc00:1:2:3:4:5:6:7]:5000/library/debian:latest"),
        (f"docker.io/{LONG_ID}", f"docker.io/library/{LONG_ID}:latest"),
        ("docker---rules/docker", "docker.io/docker---rules/docker:latest"),
        ("d/docker", "docker.io/d/docker:latest"),
        ("dock__er/docker", "docker.io/dock__er/docker:latest"),
        ("docker.io/library/foo/bar", "docker.io/library/foo/bar:latest"),
        ("redis:latest", "docker.io/library/redis:latest"),
        (f"redis@{F}", f"docker.io/library/redis@{F}"),
        (f"busybox:latest@{F}", f"docker.io/library/busybox:latest@{F}"),
        (LONG_ID[:-1], f"docker.io/library/{LONG_ID[:-1]}:latest"),
        (f"{LONG_ID}:tag", f"docker.io/library/{LONG_ID}:tag"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x/y:1.2.3", "localhost:5000/x/y:1.2.3"),
        ("a/" * 127 + "a:tag-puts-this-over-max", "docker.io/" + "a/" * 127 + "a:tag-puts-this-over-max"),
    ],
)
def test_reference(text, full):
    reference = parse_reference(text)
    assert str(reference) == full
    assert parse_reference(full) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", ":justtag", f"@{F}", "repo@sha256:" + "f" * 34, "validname@invaliddigest:" + "f" * 128, "Uppercase:tag"),
        *("test:5000/Uppercase/lowercase:tag", "a/" * 128 + "a:tag", "aa/asdf$$^/aa", "[2001:db8::1]"),
        *(
            "[2001:db8::1]:5000",
            "[2001:db8::1]:tag",
            "[:::]/repo",
            "[12345::1]/repo",
            "[::1:1:2:3:4:5:6:7]:5000/repo",
            "[fe80::1%eth0]:5000/repo",
            "[fe80::1%@invalidzone]:5000/repo",
        ),
        *("https://github.com/docker/docker", "docker/Docker", "-docker", "-docker/docker", "-docker.io/docker/docker"),
        *("docker///docker", "docker.io/docker/Docker", "docker.io/docker///docker", "fc00::1:5000/debian"),
        *(
            "[2001:db8:3:4::192.0.2.33]:5000/debian",
            LONG_ID,
            f"sha256:{LONG_ID}",
            "docker-/docker",
            "-docker-/docker",
            "____/____",
        ),
        *("_docker/_docker", "dock..er/docker", "dock_.er/docker", "dock-.er/docker", "docker/", "a" * 256 + "/docker"),
        *("busybox:-foo", "busybox:", "busybox:a b", "busybox@foo", "busybox@", "x:1\n", "busybox:" + "t" * 129),
        # The project takes these for registries since 2023. No engine in tests/integration/client/test_names.py does.
        *("Docker/docker", "DOCKER/docker"),
        *(f"x@{F.upper()}", "x@sha256:" + "F" * 64, f"x@{F}@{F}", f"x@{F}:tag", "x@md5:" + "f" * 32, "é/x", "x:é"),
    ],
)
def test_what_is_no_reference(text):
    with pytest.raises(InputError):
        parse_reference(text)


def test_upper_case_is_named_as_the_reason():
    with pytest.raises(InputError, match="lower case"):
        parse_reference("registry.example.com/Team/app:1.0")


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("nginx", False),
        ("nginx:latest", False),
        ("nginx:1.28.0", True),
        (f"nginx@{F}", True),
        (f"nginx:latest@{F}", True),
    ],
)
def test_pinned(text, pinned):
    assert parse_reference(text).is_pinned is pinned


alphanumeric = st.text("abcz019", min_size=1, max_size=4)
component = st.builds(
    "".join, st.tuples(alphanumeric, st.sampled_from(["", "."]), alphanumeric, st.sampled_from(["", "__a", "--b"]))
)
domain = st.one_of(
    st.sampled_from(["localhost", "Upper.case", "[::1]", "[2001:db8::1]:5000", "h:1", "127.0.0.1:65535", "docker.io"]),
    st.builds("{}.{}a".format, alphanumeric, alphanumeric),
)


@given(
    domain=st.one_of(st.just(""), domain),
    components=st.lists(component, min_size=1, max_size=4),
    tag=st.one_of(st.none(), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)),
    digest=st.one_of(st.none(), st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)),
)
def test_any_reference_goes_round(domain, components, tag, digest):
    # Without a registry, a first part with a dot would be taken for one.
    assume(domain or len(components) == 1 or "." not in components[0])
    text = "/".join([domain, *components] if domain else components)
    text += (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference
    assert reference.tag == (tag or ("" if digest else "latest"))
    assert reference.digest == (digest or "")
    assert reference.repository.endswith("/".join(components[1:]))


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_one_error(text):
    try:
        reference = parse_reference(text)
    except InputError:
        return
    assert parse_reference(str(reference)) == reference
