"""The cache of another registry, as site.yml has installed it on a host with systemd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from labtest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labtest import DockerClient, LabHost, Registry

UNIT = "wharf-registry-mirror-cache"
SETTINGS = "/etc/wharf-registry/mirror-cache.json"
DIRECTORY = "/var/lib/wharf-registry/mirror-cache"
UPSTREAM = "127.0.0.1:5555"
CONFIGURATION = f"""
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/registry}}}}
http: {{addr: {UPSTREAM!r}}}
"""


@pytest.fixture(scope="module")
def upstream(lab: LabHost, clients: dict[str, DockerClient]) -> Iterator[str]:
    """An image of the upstream, by its repository and tag. The name of the container is that of the upstream."""
    image = lab.inspect("wharf-registry-1")["Config"]["Image"]
    lab.run("cat > /root/upstream.yml", stdin=CONFIGURATION)
    lab.run(
        "docker run --detach --name=upstream --network=host --volume=/root/upstream.yml:/upstream.yml:ro "
        f"--entrypoint=/usr/bin/registry {image} serve /upstream.yml"
    )
    reference = clients["ci"].make_image("cached/app")
    image = reference.partition("/")[2]
    lab.run(f"docker tag {reference} {UPSTREAM}/{image}")
    wait_for("the upstream listens", lambda: lab.run(f"docker push {UPSTREAM}/{image}", check=False).returncode == 0)
    yield image
    lab.run("docker rm --force --volumes upstream; rm /root/upstream.yml")


def state(lab: LabHost) -> dict:
    return json.loads(lab.output(f"cat {DIRECTORY}/state/state.json"))["upstreams"]["hub.lab.test"]


def test_what_was_pulled_is_pulled_without_the_upstream(
    lab: LabHost, registry: Registry, clients: dict[str, DockerClient], upstream: str
) -> None:
    cached = f"{registry.hostname}/hub.lab.test/{upstream}"
    layers = clients["ci"].layers(f"{registry.hostname}/{upstream}")
    clients["runtime"].run("pull", cached)
    lab.run("docker stop upstream")
    assert clients["runtime"].pull_anew(cached) == layers
    # However it ends, it goes on with what it had.
    lab.run(f"systemctl kill --signal=KILL {UNIT}")
    wait_for("it runs again", lambda: lab.run(f"systemctl is-active {UNIT}", check=False).returncode == 0)
    assert clients["runtime"].pull_anew(cached) == layers
    refused = registry.request("GET", "/v2/hub.lab.test/cached/app/manifests/none", "runtime")
    assert refused.status == 503 and "refused the connection" in refused.body.decode()
    wait_for("the state tells of it", lambda: state(lab)["away_since"], 15)
    assert "refused the connection" in state(lab)["problem"]
    lab.run("docker start upstream")
    wait_for("it is asked again", lambda: clients["runtime"].run("pull", cached) and not state(lab)["away_since"])


def test_it_is_shut_in(lab: LabHost) -> None:
    assert lab.output(f"systemctl is-enabled {UNIT}") == "enabled"
    done = lab.run(f"systemd-analyze security --no-pager --threshold=20 {UNIT}.service", check=False)
    assert done.returncode == 0, done.stdout
    account = lab.output("id wharf-cache")
    assert account.count("wharf-cache") == 3 and "," not in account.partition("groups=")[2]
    # The proxy alone, beside the cache itself, can read what is there and ask it.
    assert lab.output(f"stat --format='%U %G %a' {SETTINGS}") == "root wharf-cache 640"
    assert lab.output(f"stat --format='%U %G %a' {DIRECTORY} {DIRECTORY}/served {DIRECTORY}/served/cache.sock").split(
        "\n"
    ) == ["root wharf-cache 750", "wharf-cache wharf-cache 750", "wharf-cache wharf-cache 660"]
    assert lab.output(f"find {DIRECTORY} -type f -perm /007") == ""
    group = lab.output("getent group wharf-cache").split(":")[2]
    assert group in lab.inspect("wharf-proxy")["HostConfig"]["GroupAdd"]
    others = [lab.inspect(name)["HostConfig"]["GroupAdd"] or [] for name in ("wharf-registry-1", "wharf-proxy-auth")]
    assert not any(group in groups for groups in others)
