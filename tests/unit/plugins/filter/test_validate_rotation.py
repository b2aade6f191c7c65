"""What rotate.yml finds before it begins: hosts that no rollout brings what is new, and that are cut off in the end."""

from __future__ import annotations

import pytest

OLD, NEW = (f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n" for body in ("b2xk", "bmV3"))
REGISTRY = {
    "registry_hostname": "registry.test",
    "certificate_names": ["mirror.test"],
    "certificate_addresses": ["192.0.2.7", "2001:db8::7"],
    "reverse_proxy_users": [{"name": "ci", "password": "the new one"}],
}


@pytest.fixture(scope="session")
def problems(plugin):
    loaded = plugin("filter", "_validate_rotation").validate_rotation

    def found(rotate, **of_host):
        return loaded(["h1"], {"r": REGISTRY, "h1": of_host}, "r", rotate=rotate, bundle=OLD + NEW)

    return found


@pytest.mark.parametrize(
    "of_host",
    [
        {},
        {"client_registries": [{"host": "registry.test"}]},
        {"client_registries": [{"host": "elsewhere.test", "ca": OLD}]},
        {"client_registries": [{"host": "registry.test", "ca": OLD + NEW}]},
        {"client_registries": [{"host": "registry.test", "insecure": True}]},
        {"client_ca_host": "r", "client_ca_path": "/etc/wharf-registry/certificate/ca.crt"},
    ],
)
def test_the_rollout_brings_the_ca(problems, of_host):
    assert problems("ca", **of_host) == []


@pytest.mark.parametrize(
    ("of_host", "named"),
    [
        ({"client_registries": [{"host": "registry.test", "ca": OLD}]}, "client_registries"),
        ({"client_registries": [{"host": "registry.test", "ca": ""}]}, "client_registries"),
        ({"client_registries": [{"host": "Registry.test:443", "ca": OLD}]}, "client_registries"),
        ({"client_registries": [{"host": "mirror.test", "ca": OLD}]}, "client_registries"),
        ({"client_registries": [{"host": "[2001:db8::7]", "ca": OLD}]}, "client_registries"),
        ({"client_registries": [{"host": "registry.test"}, {"host": "mirror.test", "ca": OLD}]}, "client_registries"),
        ({"client_ca_host": "other"}, "client_ca_host"),
        ({"client_ca_path": "/elsewhere/ca.crt"}, "client_ca_path"),
    ],
)
def test_a_ca_of_another_source_is_found(problems, of_host, named):
    (found,) = problems("ca", **of_host)
    assert found.startswith(f"h1: {named}")


@pytest.mark.parametrize(
    "login",
    [
        {"username": "ci", "password": "the new one"},
        {"username": "stranger", "password": "x"},
        {"username": "ci", "password": "x", "registry": "elsewhere.test"},
        {"credential_helper": "ecr-login", "registry": "elsewhere.test"},
    ],
)
def test_logins_that_go_on(problems, login):
    assert problems("passwords", client_logins=[login]) == []


@pytest.mark.parametrize(
    "more",
    [{}]
    + [
        {"registry": name}
        for name in ("registry.test", "https://registry.test", "registry.test:443", "https://Registry.test/v2/")
    ],
)
def test_a_password_that_would_end_is_found_and_not_shown(problems, more):
    (found,) = problems("passwords", client_logins=[{"username": "ci", "password": "the former one", **more}])
    assert found.startswith("h1: client_logins")
    assert "the former one" not in found and "the new one" not in found


def test_a_password_that_nobody_knows_of_is_found(problems):
    (found,) = problems("passwords", client_logins=[{"credential_helper": "pass", "registry": "registry.test"}])
    assert "rotate_despite" in found


def test_another_name_of_the_registry_is_the_registry(problems):
    registries = [{"host": "registry.test"}, {"host": "mirror.test"}]
    login = {"username": "ci", "password": "the former one", "registry": "mirror.test"}
    (found,) = problems("passwords", client_registries=registries, client_logins=[login])
    assert found.startswith("h1: client_logins")
