"""Several registries on one host share no name."""

from __future__ import annotations

import itertools
import re

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.wharf.registry.plugins.filter.instance_names import instance_names
from paths import ROOT

ROLES = ROOT / "roles"
# Names that could come near each other, the parts of other names among them.
INSTANCES = [
    "wharf",
    "staging",
    "a",
    "a-registry",
    "registry",
    "proxy",
    "auth",
    "proxy-auth",
    "backup",
    "wharf-a",
    "x" * 16,
]


def taken(instance):
    """What is on the host, by its kind; no two instances may have one of a kind."""
    names = instance_names(instance)
    accounts = [names["registry"], names["proxy"], names["metrics_account"], names["address_account"]]
    proxies = [names["proxy"], f"{names['proxy']}-auth", f"{names['proxy']}-network"]
    containers = [f"{names['registry']}-{number}" for number in range(1, 4)] + proxies
    return {
        "account": accounts,
        "container": containers + [f"{name}-next" for name in proxies],
        "network": [names["proxy"]],
        "unit": [
            *(names["proxy_unit"], names["maintenance"], names["backup"], names["mirror"], names["exposure"]),
            *(names["metrics"], names["address"]),
        ],
        "label": [f"{names['label']}.role", f"{names['label']}.part", f"{names['label']}.config"],
        "etc": [names["config_directory"], f"/etc/{names['backup']}"],
        "var": [names["data_directory"], f"/var/lib/{names['backup']}", f"/var/lib/{names['exposure']}"],
        "lib": [names["programs"], f"/usr/local/lib/{names['backup']}"],
        "run": [f"/run/{names['maintenance']}", f"/run/{names['backup']}.lock", f"/run/{names['metrics']}"],
    }


def test_an_installation_of_before_keeps_its_names():
    assert instance_names("wharf") == {
        "registry": "wharf-registry",
        "proxy": "wharf-proxy",
        "proxy_unit": "wharf-registry-proxy",
        "maintenance": "wharf-registry-maintenance",
        "mirror": "wharf-registry-mirror",
        "mirror_account": "wharf-mirror",
        "mirror_cache": "wharf-registry-mirror-cache",
        "mirror_cache_account": "wharf-cache",
        "metrics": "wharf-registry-metrics",
        "metrics_account": "wharf-metrics",
        "backup": "wharf-registry-backup",
        "exposure": "wharf-registry-exposure",
        "address": "wharf-registry-address",
        "address_account": "wharf-address",
        "label": "registry.wharf",
        "programs": "/usr/local/lib/wharf-registry",
        "config_directory": "/etc/wharf-registry",
        "data_directory": "/var/lib/wharf-registry",
        "page": "wharf-registry-page",
        "certificate_directory": "/etc/wharf-registry/certificate",
        "proxy_config_directory": "/etc/wharf-registry/proxy",
    }


def test_no_two_instances_share_a_name():
    for one, other in itertools.combinations(INSTANCES, 2):
        ones, others = taken(one), taken(other)
        for kind, names in ones.items():
            assert not set(names) & set(others[kind]), (one, other, kind)


def test_no_directory_lies_in_that_of_another_instance():
    for one, other in itertools.permutations(INSTANCES, 2):
        for kind in ("etc", "var", "lib", "run"):
            for path, above in itertools.product(taken(one)[kind], taken(other)[kind]):
                assert not path.startswith(f"{above}/"), (one, other)


@pytest.mark.parametrize("instance", INSTANCES)
def test_accounts_have_names_that_useradd_takes(instance):
    for name in taken(instance)["account"]:
        assert len(name) <= 32
        assert re.fullmatch(r"[a-z_][a-z0-9_-]*", name)


@pytest.mark.parametrize(
    "instance",
    ["", "Staging", "a_b", "1st", "-a", "a-", "a b", "a/b", "../a", "a\n", "x" * 17, "\u00fcber", None, 5, ["a"], True],
)
def test_other_names_are_refused(instance):
    with pytest.raises(AnsibleFilterError, match=r"(?s)^registry_instance is .*Give a name of at most 16 "):
        instance_names(instance)


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/*/*.yml")), ids=lambda path: str(path.relative_to(ROLES)))
def test_no_role_has_fixed_names_of_the_host(path):
    """They come from the filter. What the role calls `inside` is seen in containers alone."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.parent.name != "meta" else None
    fixed = re.compile(r"wharf-(registry|proxy|auth|looked)|registry\.wharf\.(role|part|config)")
    # Not the names of the role's templates.
    of_template = re.compile(r"wharf-registry-backup\.(?:\w+\.)?j2|^wharf-registry-backup\.")
    found = [text for text in texts(content) if fixed.search(of_template.sub("", text))]
    assert not found


def texts(value):
    if isinstance(value, dict):
        for name, one in value.items():
            if not name.endswith("_inside"):
                yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value
