"""registry_check: the hops to real registries, and this machine's engine and Podman, which keep what they had."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest
from engine import LABEL, command
from hops import FIRST, HOST, OF_PULL, OF_PUSH, digest_of, looked_at, walked
from marks import repeated
from peers import docker_config
from runs import run_at_registry
from steps import says

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import managed
    from clients import Box
    from peers import Peers


def test_push(check: Callable[..., dict], peers: Peers) -> None:
    done = check(access="push")
    assert walked(done) == OF_PUSH
    assert done["reference"] == f"{peers['basic']}/wharf-verify:{HOST}"
    assert (done["engine"], done["verified"], done["failed_hop"], done["cure"]) == ("docker", True, "", "")
    assert done["digest"] == digest_of(peers, f"wharf-verify:{HOST}")
    # The same again sends no layer: the registry does not grow.
    before = len(peers.requests("basic"))
    assert check(access="push")["digest"] == done["digest"]
    asked = peers.requests("basic")[before:]
    assert {method for method, *_rest in asked} == {"GET", "HEAD", "PUT"}


def test_pull(check: Callable[..., dict], peers: Peers, image: str) -> None:
    done = check("read_only", access="pull", image=image)
    assert walked(done) == OF_PULL
    assert done["reference"] == f"{peers['read_only']}/{image}"
    assert (done["digest"], done["verified"]) == (digest_of(peers, image), True)
    pinned = image.rpartition(":")[0] + "@" + done["digest"]
    assert check("read_only", access="pull", image=pinned)["digest"] == done["digest"]
    assert check("read_only", access="pull", image=f"{peers['read_only']}/{image}@{done['digest']}")["verified"]


def test_without_access_nothing_but_the_credentials_is_tried(check: Callable[..., dict], peers: Peers) -> None:
    before = len(peers.requests("read_only"))
    done = check("read_only", engine="docker", socket="/nonexistent.sock")
    assert walked(done) == FIRST
    assert (done["verified"], done["engine"], done["reference"]) == (True, "", "")
    assert [(method, status) for method, _path, status, _user in peers.requests("read_only")[before:]] == [
        ("GET", 401),
        ("GET", 401),
        ("GET", 200),
    ]


def test_a_user_who_could_push_fails_the_check_of_one_who_may_only_pull(
    check: Callable[..., dict], peers: Peers, image: str
) -> None:
    before = len(peers.requests("basic"))
    result = check(access="pull", image=image, failed=True)
    assert result["failed_hop"] == "upload refused"
    says(result, peers["basic"], "upload refused", "'ci'", "access is pull", "reverse_proxy_users")
    assert walked(result) == OF_PULL[:6]
    # The upload that was let in is not left behind.
    asked = [(method, status) for method, _path, status, _user in peers.requests("basic")[before:]]
    assert asked[-2:] == [("POST", 202), ("DELETE", 204)]


@pytest.mark.parametrize("access", ["pull", "push"])
def test_check_mode_changes_nothing_anywhere(check: Callable[..., dict], peers: Peers, image: str, access: str) -> None:
    before = len(peers.requests("basic"))
    done = check(access=access, image=image, check=True)
    assert (walked(done), done["verified"], done["digest"]) == (FIRST, False, "")
    assert {method for method, *_rest in peers.requests("basic")[before:]} == {"GET"}


def test_an_open_registry_is_a_warning(check: Callable[..., dict], peers: Peers) -> None:
    done = check("registry", access="push", plain_http=True, username=None, password=None)
    assert walked(done) == [name for name in OF_PUSH if name != "TLS"]
    assert "requires no login" in str(done["warnings"])
    # Who is meant to pull only can still not be told from who may push.
    result = check("registry", access="pull", image="x", plain_http=True, username=None, password=None, failed=True)
    assert result["failed_hop"] == "upload refused"


# Options, the hop that breaks, and what must be said: of peers, of one's own, and of the engine.
BROKEN = {
    "no such name": ({"peer": "registry.invalid"}, "name", ["registry.invalid", "resolve", "/etc/hosts"]),
    "nobody listens": ({"peer": "refused"}, "connection", ["refused", "wharf-proxy", "firewalls"]),
    "expired": ({"peer": "expired"}, "TLS", ["expired", "renew"]),
    "another name": ({"peer": "other_name"}, "TLS", ["another name"]),
    "unknown CA": ({"ca_path": None}, "TLS", ["unknown CA", "certs.d"]),
    "no such CA": ({"ca_path": "/nonexistent.crt"}, "TLS", ["/nonexistent.crt"]),
    "no TLS": ({"peer": "plain"}, "TLS", ["speaks HTTP"]),
    "not a registry": ({"peer": "web_page"}, "registry", ["not as a registry", "port"]),
    "nothing there": ({"peer": "not_found"}, "registry", ["404"]),
    "ill": ({"peer": "unavailable"}, "registry", ["503", "log", "wharf-registry-1"]),
    "no challenge": ({"peer": "no_challenge"}, "registry", ["neither Basic nor Bearer"]),
    "forbidden": ({"peer": "forbidden"}, "registry", ["403"]),
    "wrong password": ({"password": "wrong-password"}, "credentials", ["'ci'", "password", "reverse_proxy_users"]),
    "no login": ({"password": None}, "credentials", ["asks for a login"]),
    "no engine": ({"engine": "docker", "socket": "/nonexistent.sock"}, "engine", ["/nonexistent.sock"]),
    "no such image": ({"peer": "read_only", "access": "pull", "image": "none/none"}, "pull", ["none/none:latest"]),
    "may not push": ({"peer": "read_only"}, "push", ["may not push", "push access"]),
}

# What of these are common mistakes, with their names.
MISTAKES = {
    "no such name": "no_such_name",
    "nobody listens": "refused",
    "expired": "expired",
    "another name": "other_name",
    "unknown CA": "unknown_ca",
    "no TLS": "http_for_https",
    "ill": "registry_error",
    "forbidden": "address_refused",
    "wrong password": "wrong_password",
    "no login": "not_logged_in",
    "no engine": "engine_down",
    "no such image": "no_repository",
    "may not push": "wrong_account",
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_first_hop_that_breaks(check: Callable[..., dict], peers: Peers, tmp_path: Path, case: str) -> None:
    options, hop, wanted = BROKEN[case]
    env = {"DOCKER_CONFIG": str(tmp_path)}
    result = check(**{"access": "push", "timeout": 5, "failed": True, "env": env, **options})
    assert (result["failed_hop"], result["mistake"]) == (hop, MISTAKES.get(case, ""))
    assert walked(result)[-1] == hop
    message = says(result, "failed the check of ", f" at the hop {hop}: ", *wanted)
    assert message.startswith(HOST)
    assert result["cure"]
    assert result["cure"].rstrip(".") in result["msg"]


MISTAKEN = {
    "a digest to push to": {"access": "push", "image": f"x@sha256:{'0' * 64}"},
    "no name": {"access": "pull", "image": "A B"},
    "no tag": {"access": "pull", "image": "x:"},
    "no time": {"timeout": 0},
    "no registry": {"peer": "a b"},
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_options_that_are_mistaken(check: Callable[..., dict], case: str) -> None:
    result = check(**MISTAKEN[case], failed=True)
    assert (result["failed_hop"], result["hops"]) == ("", [])
    assert result["cure"]


def test_an_engine_that_does_not_trust_the_registry(check: Callable[..., dict], peers: Peers) -> None:
    """The module may be told to, and this engine reads the certificates of its own directory alone."""
    result = check(peers.outside, access="push", failed=True)
    assert result["failed_hop"] == "push"
    says(
        result,
        peers.outside,
        "does not know the CA",
        f"/etc/docker/certs.d/{peers.outside}/ca.crt",
        "unknown authority",
    )


def test_tokens(check: Callable[..., dict], peers: Peers, config: Path) -> None:
    assert walked(check("bearer", access="push")) == OF_PUSH
    image = f"wharf-verify:{HOST}"
    result = check("bearer", access="pull", image=image, failed=True)
    assert result["failed_hop"] == "upload refused"
    peers.tokens.readers.add("ci")
    assert walked(check("bearer", access="pull", image=image)) == OF_PULL
    result = check("bearer", access="push", image="other", failed=True)
    assert result["failed_hop"] == "push"
    says(result, peers["bearer"], "may not push", "push access")


def test_an_identity_token(check: Callable[..., dict], peers: Peers, config: Path) -> None:
    """As docker login leaves it where a token server gives one."""
    docker_config(config, "other.example.com", "other", "secret")
    address, password = peers["bearer"], peers.tokens.users["ci"]
    arguments = ("docker", "--config", str(config.parent), "login", "--username", "ci", "--password-stdin", address)
    command(*arguments, stdin=password)
    token = json.loads(config.read_text())["auths"][address]["identitytoken"]
    done = check("bearer", access="push", password=None, config_path=str(config), secrets=(token, password))
    assert walked(done) == OF_PUSH


def docker(*arguments: str) -> str:
    return command("docker", *arguments).stdout.strip()


STATES = ["the same", "an older one", "another tag", "another repository", "its digest alone", "a container's alone"]


@pytest.mark.parametrize("state", [*STATES[:2], *repeated(*STATES[2:])])
def test_an_image_that_was_there_stays(
    check: Callable[..., dict], peers: Peers, image: str, tmp_path: Path, state: str
) -> None:
    config = tmp_path / "reader" / "config.json"
    docker_config(config, peers["read_only"], "ci", peers.users["ci"])
    name, elsewhere = f"{peers['read_only']}/{image}", f"{image.partition('/')[0]}:elsewhere"
    digest = digest_of(peers, image)
    container = ""
    if state == "an older one":
        (tmp_path / "empty.tar").write_bytes(bytes(1024))
        docker("import", str(tmp_path / "empty.tar"), name)
    else:
        pinned = f"{name.rpartition(':')[0]}@{digest}"
        docker("--config", str(config.parent), "pull", pinned if state == "its digest alone" else name)
        name = pinned if state == "its digest alone" else name
    identifier = docker("image", "inspect", "--format={{.Id}}", name)
    try:
        if state.startswith("another") or state == "a container's alone":
            docker("tag", name, f"{name}-other" if state == "another tag" else elsewhere)
            docker("rmi", "--force", name)
        if state == "a container's alone":
            container = docker("create", f"--label={LABEL}", elsewhere, "x")
            (tmp_path / "empty.tar").write_bytes(bytes(1024))
            docker("import", str(tmp_path / "empty.tar"), elsewhere)
            docker("rmi", elsewhere)
        form = "--format={{.Id}} {{.RepoTags}} {{.RepoDigests}}"
        before = docker("image", "inspect", form, identifier)
        for wanted in (image, f"{image.rpartition(':')[0]}@{digest}"):
            assert walked(check("read_only", access="pull", image=wanted)) == OF_PULL
            assert docker("image", "inspect", form, identifier) == before
    finally:
        if container:
            docker("rm", container)
        docker("rmi", "--force", identifier)


def test_the_image_of_a_push_that_was_there_stays(check: Callable[..., dict], peers: Peers, config: Path) -> None:
    docker_config(config, peers["basic"], "ci", peers.users["ci"])
    done = check(access="push")
    docker("--config", str(config.parent), "pull", done["reference"])
    identifier = docker("image", "inspect", "--format={{.Id}}", done["reference"])
    try:
        assert check(access="push")["digest"] == done["digest"]
    finally:
        docker("rmi", "--force", identifier)


def test_every_python(any_host: managed.Host, peers: Peers, image: str) -> None:
    run = functools.partial(run_at_registry, any_host, peers, "registry_check")
    assert walked(looked_at(run(access="push"))) == OF_PUSH
    assert walked(looked_at(run(registry=peers["read_only"], access="pull", image=image))) == OF_PULL
    for peer, hop in (("refused", "connection"), ("expired", "TLS"), ("plain", "TLS"), ("not_found", "registry")):
        assert looked_at(run(registry=peers[peer], failed=True))["failed_hop"] == hop


# --- Podman -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def podman(root_box: Box, peers: Peers) -> Callable[..., dict]:
    """Runs registry_check beside Podman. Its images stay as they were, and no login is left."""
    for peer in ("basic", "read_only"):
        place = f"/etc/containers/certs.d/{peers[peer]}"
        root_box.run(f"mkdir -p {place} && cp /ca.crt {place}/ca.crt")

    def run(peer: str = "basic", **options: object) -> dict:
        listed = "podman images --all --digests --no-trunc --format '{{.ID}} {{.Names}}' | sort"
        left = "find / /run /tmp -xdev -name 'wharf-check*' -or -xdev -name auth.json -newer /tmp/began"
        root_box.run("touch /tmp/began")
        before = root_box.output(listed)
        args = {"registry": peers[peer], "ca_path": "/ca.crt", **options}
        result = looked_at(run_at_registry(root_box.host, peers, "registry_check", **args))
        assert root_box.output(listed) == before
        assert root_box.output(left) == ""
        return result

    return run


def test_podman_pushes(podman: Callable[..., dict], peers: Peers) -> None:
    done = podman(access="push")
    assert walked(done) == OF_PUSH
    assert (done["engine"], done["reference"]) == ("podman", f"{peers['basic']}/wharf-verify:clients")
    assert done["digest"] == digest_of(peers, "wharf-verify:clients")
    before = len(peers.requests("basic"))
    assert podman(access="push", engine="podman")["digest"] == done["digest"]
    assert not [path for method, path, *_rest in peers.requests("basic")[before:] if method == "POST"]


def test_podman_pulls(podman: Callable[..., dict], peers: Peers, image: str) -> None:
    done = podman("read_only", access="pull", image=image)
    assert (walked(done), done["digest"], done["engine"]) == (OF_PULL, digest_of(peers, image), "podman")
    pinned = f"{image.rpartition(':')[0]}@{done['digest']}"
    assert podman("read_only", access="pull", image=pinned)["verified"]


@pytest.mark.parametrize("state", [STATES[0], *repeated(*STATES[1:5])])
def test_an_image_of_podman_that_was_there_stays(
    podman: Callable[..., dict], root_box: Box, peers: Peers, image: str, state: str
) -> None:
    name = f"{peers['read_only']}/{image}"
    pinned = f"{name.rpartition(':')[0]}@{digest_of(peers, image)}"
    login = ["--authfile=/tmp/login.json", "--username=ci", "--password-stdin"]
    root_box.run(f"podman login {' '.join(login)} {peers['read_only']}", stdin=peers.users["ci"])
    if state == "an older one":
        root_box.run(f"head --bytes=1024 /dev/zero | podman import --quiet - {name}")
    else:
        root_box.run(f"podman pull --quiet {login[0]} {pinned if state == 'its digest alone' else name}")
    if state in ("another tag", "another repository"):
        other = f"{name}-other" if state == "another tag" else "localhost/elsewhere:1"
        root_box.run(f"podman tag {name} {other}; podman untag {name} {name}")
    try:
        assert walked(podman("read_only", access="pull", image=image)) == OF_PULL
    finally:
        root_box.run("podman rmi --all --force; rm /tmp/login.json")


def test_what_podman_says(podman: Callable[..., dict], root_box: Box, peers: Peers) -> None:
    result = podman("read_only", access="push", failed=True)
    assert result["failed_hop"] == "push"
    says(result, peers["read_only"], "may not push", "push access")
    root_box.run("rm -r /etc/containers/certs.d")
    result = podman(access="push", failed=True)
    says(result, peers["basic"], "does not know the CA", f"/etc/containers/certs.d/{peers['basic']}/ca.crt")
    result = podman(access="push", engine="docker", failed=True)
    assert result["failed_hop"] == "engine"
