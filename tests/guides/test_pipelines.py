"""The pipelines of examples/ci run: on a host that a rollout has made trust the registry, against the gate of the page.

Each goes on from one test to the next: a build that oversteps, an image that is not signed, a commit, its release.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pipelines
import pytest
import vulnerable
from content import Content
from labtest import LabHost, RegistryConnection
from reader import as_reader
from runner_host import PAGE, Builder, Project, Tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reader import Site

SYSTEMS = ("shell", *pipelines.FILES)
RELEASES = {system: f"3.{number}.0" for number, system in enumerate(SYSTEMS)}
# By what the programs of each stage are known.
STARTS = {
    "build": "docker login --username ci ",
    "sign": "cosign sign --yes",
    "promote": "ansible-playbook ",
    "deploy": "docker login --username runtime ",
    "ask": "curl ",
    "pull": "docker pull ",
}
STAGED, RELEASED = "staging/web", "apps/web"


@pytest.fixture(scope="module")
def tools() -> Tools:
    return Tools.install()


def of_the_lab(name: str) -> str:
    """The password of a user that the near site has not made one for."""
    return f"of-the-lab-and-of-no-worth-{name}"


@pytest.fixture(scope="module")
def builder(tools: Tools, near: Site, checkout: Path) -> Builder:
    """The host, trusting the registry by a rollout, logged in nowhere."""
    near.says(json.dumps({"builders": {"hosts": {"builder": {}}}}), "pipelines.yml")
    near.says(PAGE.yaml("Set it up"), "group_vars/builders/main.yml")
    as_reader("$ ansible-playbook -i inventories/production playbooks/rollout.yml --limit=builder", checkout)
    secrets = {
        "BUILD_PASSWORD": near.registry.password("ci"),
        "COSIGN_PASSWORD": "of-the-lab-and-of-no-worth-either",
        "PROMOTER_PASSWORD": of_the_lab("promoter"),
        "RUNTIME_PASSWORD": near.registry.password("runtime"),
    }
    builder = Builder(LabHost("builder"), near, secrets)
    builder.install(tools)
    builder.make_site()
    mirror = Content(RegistryConnection(near.registry), near.registry.authorization("mirror", of_the_lab("mirror")))
    vulnerable.put_image(mirror, "mirror/debian", "12.9", vulnerable.MENDED)
    vulnerable.put_image(mirror, "mirror/debian", "12.8")
    mirror.connection.close()
    return builder


@pytest.fixture(scope="module", params=SYSTEMS)
def project(builder: Builder, request: pytest.FixtureRequest) -> Project:
    return Project(builder, request.param, RELEASES[request.param])


@pytest.fixture
def digests(near: Site) -> Iterator[dict[str, Content]]:
    """What the registry has, by the users that may read it."""
    with near.registry.content("ci") as staging, near.registry.content("runtime") as releases:
        yield {STAGED: staging, RELEASED: releases}


def forget_images(builder: Builder) -> None:
    """Nothing is on the host that a deployment could take in place of a pull."""
    builder.host.run("docker ps -aq | xargs -r docker rm -f; docker images -q | sort -u | xargs -r docker rmi -f")


class TestPipeline:
    def test_a_build_cannot_write_a_release(self, project: Project, digests: dict[str, Content]) -> None:
        """Who changes the build has the identity of the build, and no other."""
        project.commit(build=("/staging/", "/apps/"))
        said, status = project.run("push")
        assert status != 0
        assert "denied" in said and "Pushed and signed" not in said, said
        assert digests[RELEASED].digest(RELEASED, project.sha) is None
        project.git("reset -q --hard HEAD~1")

    def test_what_is_not_signed_is_not_released(self, project: Project, digests: dict[str, Content]) -> None:
        # With a file of its own, so that no other test has signed this image.
        files = {"commit": project.sha.encode()}
        vulnerable.put_image(digests[STAGED], STAGED, project.sha, vulnerable.MENDED, files=files)
        said, status = project.run("tag")
        assert status != 0
        assert "has no signature. Sign it" in " ".join(said.split()), said
        assert "Deployed:" not in said
        assert digests[RELEASED].digest(RELEASED, project.version) is None

    def test_a_commit_is_pushed_and_signed(self, project: Project, digests: dict[str, Content]) -> None:
        before = digests[STAGED].digest(STAGED, project.sha)
        said, status = project.run("push")
        assert status == 0, said
        digest = digests[STAGED].digest(STAGED, project.sha)
        assert digest != before
        assert f"Pushed and signed: registry.example.com/{STAGED}@{digest}" in said
        assert f"{digest.replace(':', '-')}.sig" in digests[STAGED].tags(STAGED)
        assert digests[RELEASED].digest(RELEASED, project.version) is None

    def test_a_tag_releases_and_deploys(
        self, project: Project, digests: dict[str, Content], builder: Builder, near: Site
    ) -> None:
        forget_images(builder)
        said, status = project.run("tag")
        assert status == 0, said
        digest = digests[RELEASED].digest(RELEASED, project.version)
        assert digest == digests[STAGED].digest(STAGED, project.sha)
        release = f"registry.example.com/{RELEASED}@{digest}"
        assert f"Deployed: {release}" in said
        running = json.loads(builder.host.output("docker inspect web"))[0]
        assert running["State"]["Running"] and running["Config"]["Image"] == release
        assert builder.host.output("docker exec web /bin/busybox cat /version").startswith(project.system)
        # By digest alone: no tag is there.
        assert json.loads(builder.host.output(f"docker image inspect {release}"))[0]["RepoTags"] == []
        keys = "--key /etc/wharf-registry/gate/cosign.pub --insecure-ignore-tlog=true"
        near.host.run(f"SSL_CERT_FILE=/etc/wharf-registry/certificate/ca.crt cosign verify {keys} {release}")

    def test_a_stage_sees_its_own_secrets_alone(self, project: Project, builder: Builder) -> None:
        found: dict[str, set[str]] = {}
        for secrets, command in builder.recorded():
            for stage, start in STARTS.items():
                if command.startswith(start):
                    found.setdefault(stage, set()).update(secrets)
        key = "COSIGN_KEY" if project.system in ("gitlab", "jenkins") else "COSIGN_PRIVATE_KEY"
        assert found == {
            "build": {"BUILD_PASSWORD", "COSIGN_PASSWORD", key},
            "sign": {"COSIGN_PASSWORD", key},
            "promote": {"PROMOTER_PASSWORD"},
            "deploy": {"RUNTIME_PASSWORD"},
            # No password reaches what the engine runs, or what reads an answer of the registry.
            "ask": set(),
            "pull": set(),
        }

    def test_no_secret_is_told_or_left(self, project: Project, builder: Builder) -> None:
        assert "Deployed:" in project.log and "denied" in project.log
        assert builder.leaks(project.log) == []
        told = "\n".join(command for _secrets, command in builder.recorded())
        assert "docker push" in told and "ansible-playbook -i inventories/release" in told
        assert builder.leaks(told) == []
        # Neither a login nor a key of a step.
        assert builder.host.output("find /tmp /var/tmp /root/.docker -name config.json 2>/dev/null || true") == ""
        kept = "grep -rlF -f - /tmp /var/tmp /root/.docker /root/.cache /srv 2>/dev/null || true"
        plain = [value for name, value in builder.secrets.items() if name != "COSIGN_PRIVATE_KEY"]
        encoded = [builder.secrets["COSIGN_PRIVATE_KEY"].splitlines()[1]]
        assert builder.host.output(kept, stdin="\n".join([*plain, *encoded]) + "\n") == ""


def test_a_leak_would_be_found(builder: Builder) -> None:
    assert builder.leaks("x" + builder.secrets["COSIGN_PASSWORD"]) == ["COSIGN_PASSWORD"]
    for user in builder.users:
        assert user in builder.leaks(builder.near.registry.authorization(user, builder.users[user]))
    assert builder.leaks(builder.secrets["COSIGN_PRIVATE_KEY"]) == ["COSIGN_PRIVATE_KEY"]
    assert builder.leaks("nothing") == []


def test_what_has_a_vulnerability_is_not_released(builder: Builder, digests: dict[str, Content]) -> None:
    project = Project(builder, "shell", "4.0.0")
    project.commit(base="12.8")
    said, status = project.run("push")
    assert status == 0, said
    said, status = project.run("tag")
    assert status != 0 and "Deployed:" not in said
    told = " ".join(said.split())
    assert "is refused: CVE-2026-0001 (critical) in libssl3 3.0.11-1, fixed in 3.0.15-1" in told, said
    assert digests[RELEASED].digest(RELEASED, "4.0.0") is None


@pytest.mark.parametrize("repository", [STAGED, RELEASED, "mirror/debian"])
def test_hosts_push_nothing(builder: Builder, repository: str) -> None:
    image = f"registry.example.com/{repository}:pushed"
    script = f"""
        export DOCKER_CONFIG=$(mktemp -d); trap 'rm -rf "$DOCKER_CONFIG"' EXIT
        docker login --username runtime --password-stdin registry.example.com 2>&1
        tar -C /etc -c hostname | docker import - {image} >/dev/null
        docker push {image} 2>&1
    """
    done = builder.host.run(script, stdin=builder.secrets["RUNTIME_PASSWORD"], check=False)
    assert "Login Succeeded" in done.stdout
    assert done.returncode != 0 and "denied" in done.stdout, done.stdout


@pytest.mark.parametrize("path", pipelines.FILES["github"][1].values(), ids=lambda path: path.name)
def test_actionlint_takes_the_workflows(path: Path, tools: Tools, tmp_path: Path) -> None:
    # Labels of runners are the user's own, and actionlint asks for a list of them.
    problems = [found for found in tools.actionlint(path) if not found.startswith('label "')]
    assert problems == []
    spoilt = tmp_path / path.name
    spoilt.write_text(path.read_text(encoding="utf-8").replace("${{ github.sha }}", "${{ github.nothing }}"))
    assert any("nothing" in found for found in tools.actionlint(spoilt))


def test_buildx_takes_the_ca_along(builder: Builder) -> None:
    """As far as it goes without an image of BuildKit: the builder is made, and not started."""
    for path in (pipelines.CI / "private-ca").iterdir():
        builder.copy(path, f"/root/{path.name}")
    builder.host.run("BUILDX_CONFIG=/root/buildx sh /root/buildx.sh /root/buildkitd.toml")
    made = json.loads(builder.host.output("cat /root/buildx/instances/wharf"))
    (node,) = made["Nodes"]
    assert node["Name"] == "wharf0" and made["Driver"] == "docker-container"
    # What is put into the container when it is made.
    taken = base64.b64decode(node["Files"]["certs/registry.example.com/ca.crt"]).decode()
    assert taken.strip() == builder.near.registry.ca_file.read_text(encoding="utf-8").strip()
