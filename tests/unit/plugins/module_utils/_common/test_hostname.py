"""Names of hosts: the same as in tests/verdicts/names.txt, about which tests/integration asks the clients."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.hostname import check_hostname
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference, parse_registry
from paths import ROOT

LINES = (ROOT / "tests" / "verdicts" / "names.txt").read_text(encoding="utf-8").splitlines()
ROWS = [[part.strip() for part in line.split(" | ")] for line in LINES if not line.startswith("#")]


def long_name(name):
    if not name.startswith("long "):
        return name
    return ".".join("a" * int(length) for length in name.removeprefix("long ").split("."))


def test_the_table_is_there():
    assert len(ROWS) > 70 and {row[1] for row in ROWS} == {"registry", "refused"}


@pytest.mark.parametrize(("name", "ours"), [row[:2] for row in ROWS])
def test_a_registry_in_an_option(name, ours):
    name = long_name(name)
    if ours == "registry":
        assert parse_registry(name).name == name
        return
    with pytest.raises(InputError) as error:
        parse_registry(name)
    assert error.value.cure and "registry is" in error.value.message


@pytest.mark.parametrize(("name", "ours", "clients"), [(row[0], row[1], row[2:]) for row in ROWS])
def test_a_registry_in_the_name_of_an_image(name, ours, clients):
    """It is that registry, or the image is none; or, where the clients say so, one of Docker Hub."""
    name = long_name(name)
    try:
        reference = parse_reference(f"{name}/wharf/app:1")
    except InputError:
        assert ours == "refused"
        return
    assert (reference.registry.name == name) is (ours == "registry")
    if ours == "refused":
        assert reference.registry.is_hub and "hub" in clients


def test_what_engines_would_ask_for_and_we_refuse():
    """It is no name of DNS, or a number that Go and the C library read in two ways. crane takes any host of a URL."""
    asked = {row[0] for row in ROWS if row[1] == "refused" and "registry" in row[2:-1]}
    assert asked == {
        *("192.0.2.256", "192.0.2", "127.1", "2130706433:443", "0x7f000001:443", "127.0.0.01:443"),
        *("registry.example.com:0", "long 64.63", "long 63.63.63.62"),
        # Docker since 2023 alone.
        *("H3-docker", "LOCALHOST", "Localhost"),
    }


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("h3-docker", "they read h3-docker/app as docker.io/h3-docker/app, and send the password to Docker Hub"),
        ("h3-docker", "Use a name with a dot, or give the port, as in h3-docker:443."),
        ("https://Registry/v2/", "as in registry:443."),
        ("h3_docker.example.com", "an underscore, which engines refuse. Use a name with hyphens"),
        ("registry.example.com.", "a dot at its end"),
        ("a..b", "an empty part"),
        ("a.-b", "begins or ends with a hyphen"),
        ("ä.example.com", "Write it as DNS has it, xn--4ca.example.com."),
        ("a.b:99999", "a port from 1 to 65535"),
        ("127.0.0.01:443", "without leading zeros"),
        ("2001:db8::1", "an IPv6 address in brackets"),
        ("$host.example.com", "Give letters, digits, hyphens and dots"),
        ("x" * 64 + ".example.com", "too long for DNS"),
    ],
)
def test_the_cure_is_named(name, says):
    with pytest.raises(InputError) as error:
        parse_registry(name)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("registry.example.com", 443, ""),
        ("localhost", 443, ""),
        ("h3-docker", 5000, ""),
        ("192.0.2.1", 443, ""),
        ("h3-docker", 443, "or set registry_port to another port than 443"),
        ("Localhost", 443, "or set registry_port to another port than 443"),
        ("h3_docker", 5000, "underscore"),
        ("registry.example.com:5000", 5000, "Give a bare name or address, without scheme, port or path"),
        ("https://registry.example.com", 443, "Give a bare name or address"),
        ("2001:db8::1", 443, "registry_hostname is the IPv6 address '2001:db8::1'"),
        ("[2001:db8::1]", 443, "registry_hostname is the IPv6 address"),
        ("registry.example.com;", 443, "which is no host name"),
        ("a\n.example.com", 443, "which is no host name"),
        ("registry.example.com\n", 443, "which is no host name"),
        ("", 443, "which names no host"),
    ],
)
def test_the_hostname_of_an_inventory(host, port, says):
    if not says:
        check_hostname(host, port)
        return
    with pytest.raises(InputError) as error:
        check_hostname(host, port)
    assert says in str(error.value) and str(error.value).startswith("registry_hostname is ")


@pytest.mark.parametrize("name", ["h3-docker", "H3-docker", "registry", "127.1", "x" * 64])
def test_what_was_a_registry_once_can_be_removed(name):
    assert parse_registry(name, former=True).name == name


@pytest.mark.parametrize("name", ["..", "a..b", "h3_docker", "-a", "a\nb", "$(id)", "[x]", "a:x"])
def test_what_never_was_can_not(name):
    with pytest.raises(InputError):
        parse_registry(name.replace("/", "\\"), former=True)
