from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._reference import names_registry, parse_registry


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
    ],
)
def test_what_is_no_registry(text):
    with pytest.raises(InputError) as error:
        parse_registry(text)
    assert "host" in str(error.value)


def test_a_password_in_the_name_is_not_shown():
    with pytest.raises(InputError) as error:
        parse_registry("https://ci:geheim@registry.example.com")
    assert "geheim" not in str(error.value)


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
