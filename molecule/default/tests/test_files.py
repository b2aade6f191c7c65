"""Who may read what on the registry host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from labtest import LabHost, Registry
    from testinfra.host import Host

CONFIG = "/etc/wharf-registry"
DATA = "/var/lib/wharf-registry"


@pytest.mark.parametrize(
    ("path", "mode", "user", "group"),
    [
        (f"{CONFIG}/certificate/ca.crt", 0o644, "root", "root"),
        (f"{CONFIG}/certificate/ca.key", 0o600, "root", "root"),
        (f"{CONFIG}/certificate/server.crt", 0o644, "root", "root"),
        (f"{CONFIG}/certificate/server.key", 0o600, "root", "root"),
        (f"{CONFIG}/http.secret", 0o600, "root", "root"),
        (f"{CONFIG}/registry", 0o750, "root", "wharf-registry"),
        (f"{CONFIG}/registry/config-1.yml", 0o640, "root", "wharf-registry"),
        (f"{CONFIG}/registry/config-2.yml", 0o640, "root", "wharf-registry"),
        (f"{CONFIG}/registry/served-1.json", 0o600, "root", "root"),
        (f"{CONFIG}/proxy", 0o750, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/nginx/nginx.conf", 0o640, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/auth/auth.conf", 0o640, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/nginx/nginx.sh", 0o640, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/auth/nginx.sh", 0o640, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/former", 0o700, "root", "root"),
        (f"{CONFIG}/proxy/auth/htpasswd", 0o640, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/auth/htpasswd.former", 0o640, "root", "wharf-proxy"),
        (f"{CONFIG}/proxy/nginx/tls/server.key", 0o600, "wharf-proxy", "wharf-proxy"),
        (f"{DATA}/auth", 0o700, "wharf-proxy", "wharf-proxy"),
        (f"{DATA}/looked-at", 0o700, "wharf-proxy", "wharf-proxy"),
        (f"{DATA}/log", 0o700, "wharf-proxy", "wharf-proxy"),
        (f"{DATA}/page/site/index.html", 0o640, "root", "wharf-proxy"),
        (f"{DATA}/page/data", 0o2750, "root", "wharf-proxy"),
        (f"{CONFIG}/page.json", 0o600, "root", "root"),
        (f"{CONFIG}/maintenance.json", 0o600, "root", "root"),
        (f"{DATA}/data", 0o750, "wharf-registry", "wharf-registry"),
        ("/root/.docker/config.json", 0o600, "root", "root"),
    ],
)
def test_mode_and_owner(host: Host, path: str, mode: int, user: str, group: str) -> None:
    file = host.file(path)
    assert (oct(file.mode), file.user, file.group) == (oct(mode), user, group)


def test_ca_trust_is_readable_and_not_writable(host: Host, registry: Registry) -> None:
    file = host.file(f"/etc/docker/certs.d/{registry.hostname}/ca.crt")
    assert (oct(file.mode), file.user) == (oct(0o644), "root")


@pytest.mark.parametrize("path", [CONFIG, DATA])
def test_nothing_is_open_to_others(lab: LabHost, path: str) -> None:
    """No file but certificates may be read by others, and none written.

    What nginx makes in looked-at and log has its mode from nginx, and a directory that no other user can enter.
    """
    readable = lab.output(f"find {path} -path '{DATA}/l*' -prune -o -type f -perm /o=r ! -name '*.crt' -print")
    writable = lab.output(f"find {path} ! -type l ! -type s -perm /o=w")
    assert (readable, writable) == ("", "")


@pytest.mark.parametrize("account", ["wharf-registry", "wharf-proxy"])
def test_accounts_cannot_log_in(host: Host, account: str) -> None:
    user = host.user(account)
    assert 0 < user.uid < 1000
    assert user.shell.endswith("/nologin")


def test_htpasswd_holds_bcrypt_for_every_user(host: Host, registry: Registry) -> None:
    lines = host.file(f"{CONFIG}/proxy/auth/htpasswd").content_string.splitlines()
    hashes = dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))
    assert set(hashes) == {*registry.users, "guest"}
    assert all(value.startswith(("$2b$", "$2y$")) and int(value[4:6]) >= 10 for value in hashes.values())
    assert len(set(hashes.values())) == len(hashes)


def test_credentials_stay_with_their_owner(registry: Registry) -> None:
    assert oct(registry.credentials_file.stat().st_mode & 0o777) == oct(0o600)
    assert {name: user["access"] for name, user in registry.users.items()} == {
        "admin": "admin",
        "ci": "push",
        "runtime": "pull",
    }
    passwords = [user["password"] for user in registry.users.values()]
    assert all(len(password) >= 20 for password in passwords)
    assert len(set(passwords)) == 3


def test_replicas_share_the_secret_and_one_purges(host: Host) -> None:
    configs = [yaml.safe_load(host.file(f"{CONFIG}/registry/config-{number}.yml").content_string) for number in (1, 2)]
    secret = host.file(f"{CONFIG}/http.secret").content_string.strip()
    assert len(secret) >= 32
    assert [config["http"]["secret"] for config in configs] == [secret, secret]
    purging = [config["storage"]["maintenance"]["uploadpurging"]["enabled"] for config in configs]
    assert sorted(purging) == [False, True]


@pytest.mark.parametrize("number", [1, 2])
def test_registry_settings(host: Host, number: int) -> None:
    config = yaml.safe_load(host.file(f"{CONFIG}/registry/config-{number}.yml").content_string)
    assert config["storage"]["delete"]["enabled"] is True
    assert "cache" not in config["storage"], "a descriptor cache believes in blobs that a collection removed"
    assert config["http"]["relativeurls"] is True
    assert config["http"]["draintimeout"]
    assert config["http"]["net"] == "unix"
    debug = config["http"].get("debug", {}).get("addr", "127.0.0.1:0")
    assert debug.rpartition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}
    assert "auth" not in config, "the proxy owns authentication"
