"""The steps of examples/ci/shell, with programs that tell what they got: no secret is in arguments or traces."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
from pipelines import STEPS

# Each tells its arguments and standard input, and what lies in DOCKER_CONFIG.
FAKE = r"""#!/bin/sh
{
  printf '%s' "${0##*/}"; printf ' <%s>' "$@"; echo
  if [ -n "${DOCKER_CONFIG:-}" ]; then stat -c '%a %n' "$DOCKER_CONFIG"; fi
} >>"$TOLD/arguments"
case "${0##*/} ${1-}" in
  'docker login') cat >>"$TOLD/input"; echo "$DOCKER_CONFIG" >"$TOLD/config"; touch "$DOCKER_CONFIG/config.json" ;;
  'docker push')
    # exec: while it starts a program, dash can lose a signal.
    [ -z "${PUSH_WAITS:-}" ] || { : >"$TOLD/pushing"; exec sleep 60; }
    [ -z "${PUSH_FAILS:-}" ] || { echo 'denied: ci may not push' >&2; exit 1; }
    echo "abc: digest: sha256:$(printf '%064d' 7) size: 528" ;;
  'cosign sign') [ "${2-}" != --help ] || echo "$COSIGN_HELP" ;;
  curl*) cat >>"$TOLD/input"; [ -z "${CURL_FAILS:-}" ] || exit 22
    printf 'HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:%064d\r\n\r\n' 7 ;;
esac
"""
DIGEST = f"sha256:{7:064d}"
BUILD = {"BUILD_PASSWORD": "of-the-build", "COSIGN_PASSWORD": "of-the-key", "COSIGN_KEY": "/keys/build.key"}
SETTINGS = {"REGISTRY": "registry.example.com", "IMAGE": "web", "COMMIT": "abc", "TAG": "v1.4.2"}
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


class Place:
    """A place where a step runs."""

    def __init__(self, path):
        self.path = path
        self.told = path / "told"
        for directory in ("bin", "told", "tmp", "site"):
            (path / directory).mkdir()
        for name in ("docker", "cosign", "curl", "ansible-playbook"):
            program = path / "bin" / name
            program.write_text(FAKE, encoding="utf-8")
            program.chmod(0o755)

    def start(self, step, *options, shell="sh", **variables):
        system = {"PATH": f"{self.path / 'bin'}:{os.environ['PATH']}", "HOME": str(self.path), "TOLD": str(self.told)}
        system |= {"TMPDIR": str(self.path / "tmp"), "SITE": str(self.path / "site"), "COSIGN_HELP": ""}
        command = [shell, *options, str(STEPS / f"{step}.sh")]
        environment = system | SETTINGS | variables
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.path,
            start_new_session=True,
        )  # fmt: skip

    def run(self, step, *options, **variables):
        """All that the step says, and its exit status."""
        process = self.start(step, *options, **variables)
        return process.communicate(timeout=60)[0], process.returncode

    def read(self, name):
        return (self.told / name).read_text(encoding="utf-8")

    def is_clean(self):
        return not list((self.path / "tmp").iterdir())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("step", "secrets"),
    [
        ("build", BUILD),
        ("promote", {"PROMOTER_PASSWORD": "of-the-promoter"}),
        ("deploy", {"RUNTIME_PASSWORD": "of-the-hosts"}),
    ],
)
def test_no_secret_is_told(place, step, secrets, shell):
    """A runner that traces its shells is one that tells."""
    said, status = place.run(step, "-x", shell=shell, **secrets)
    assert status == 0, said
    for name, secret in secrets.items():
        if name.endswith("PASSWORD"):
            assert secret not in said and secret not in place.read("arguments")
    assert place.is_clean()


def test_the_build_pushes_to_staging_and_signs_the_digest(place):
    said, status = place.run("build", **BUILD)
    assert status == 0, said
    told = place.read("arguments")
    config = place.read("config").strip()
    assert f"700 {config}" in told
    assert place.read("input") == "of-the-build"
    assert "docker <login> <--username> <ci> <--password-stdin> <registry.example.com>" in told
    assert "docker <push> <registry.example.com/staging/web:abc>" in told
    assert (
        "cosign <sign> <--yes> <--tlog-upload=false> <--key> </keys/build.key> "
        f"<registry.example.com/staging/web@{DIGEST}>" in told
    )
    assert "apps/" not in told


def test_cosign_3_is_told_to_stay_offline(place):
    said, status = place.run("build", COSIGN_HELP="--use-signing-config=true:", **BUILD)
    assert status == 0, said
    assert "<--use-signing-config=false>" in place.read("arguments")


def test_the_key_may_come_as_content(place):
    said, status = place.run("build", **{**BUILD, "COSIGN_KEY": "", "COSIGN_PRIVATE_KEY": "-----BEGIN"})
    assert status == 0, said
    assert "<--key> <env://COSIGN_PRIVATE_KEY>" in place.read("arguments")


def test_the_ca_is_named_where_there_is_one(place):
    ca = place.path / "ca.crt"
    for step, more in (("build", BUILD), ("deploy", {"RUNTIME_PASSWORD": "of-the-hosts"})):
        said, status = place.run(step, REGISTRY_CA=str(ca), **more)
        assert status == 0 and str(ca) not in place.read("arguments"), said
    ca.touch()
    for step, more in (("build", BUILD), ("deploy", {"RUNTIME_PASSWORD": "of-the-hosts"})):
        said, status = place.run(step, REGISTRY_CA=str(ca), **more)
        assert status == 0, said
    told = place.read("arguments")
    assert f"<--registry-cacert> <{ca}>" in told and f"<--cacert> <{ca}>" in told


@pytest.mark.parametrize("name", [*BUILD, "IMAGE"])
def test_what_is_missing_is_told(place, name):
    said, status = place.run("build", **{**BUILD, name: ""})
    # The key may come in two ways.
    asked = "COSIGN_PRIVATE_KEY" if name == "COSIGN_KEY" else name
    assert (said, status) == (f"{asked} is not set. Set it for this stage of the pipeline.\n", 1)
    assert not (place.told / "arguments").exists()


def test_a_refused_push_ends_it(place):
    said, status = place.run("build", PUSH_FAILS="1", **BUILD)
    assert status == 1 and "denied: ci may not push" in said
    assert "cosign" not in place.read("arguments")
    assert place.is_clean()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_login_goes_when_the_step_is_stopped(place, number):
    process = place.start("build", PUSH_WAITS="1", **BUILD)
    until = time.monotonic() + 30
    while not (place.told / "pushing").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not place.is_clean()
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert place.is_clean()


@pytest.mark.parametrize("tag", ["v1.4.2", "1.4.2", "v10.0.33"])
def test_the_tag_is_the_release(place, tag):
    said, status = place.run("promote", TAG=tag, PROMOTER_PASSWORD="of-the-promoter")
    assert status == 0, said
    assert place.read("arguments") == (
        "ansible-playbook <-i> <inventories/release> <playbooks/promote.yml> "
        f"<-e> <gate_image=staging/web:abc> <-e> <gate_to=apps/web:{tag.removeprefix('v')}>\n"
    )


@pytest.mark.parametrize(
    "tag", ["latest", "v1.4", "1.4.2.3", "v1..2", "v1.4.", "v1.4.2-rc1", "v1.4.2 gate_policy={}", "v"]
)
def test_another_tag_is_no_release(place, tag):
    said, status = place.run("promote", TAG=tag, PROMOTER_PASSWORD="of-the-promoter")
    assert (said, status) == (f"{tag} is not the tag of a release. Name it like v1.4.2.\n", 1)


def test_hosts_pull_by_digest(place):
    said, status = place.run("deploy", RUNTIME_PASSWORD='a"b\\c')
    assert status == 0, said
    told = place.read("arguments")
    assert f"docker <pull> <registry.example.com/apps/web@{DIGEST}>" in told
    assert f"<web> <--restart> <unless-stopped> <registry.example.com/apps/web@{DIGEST}>" in told
    # The login, and the configuration of curl.
    assert place.read("input") == 'a"b\\cuser = "runtime:a\\"b\\\\c"\n'


def test_what_is_not_released_is_not_deployed(place):
    said, status = place.run("deploy", RUNTIME_PASSWORD="of-the-hosts", CURL_FAILS="1")
    assert status == 1
    assert "registry.example.com has no apps/web:1.4.2 that runtime may pull. Promote it first." in said
    assert "<pull>" not in place.read("arguments") and "<rm>" not in place.read("arguments")
    assert place.is_clean()


def test_a_stage_reads_its_own_file_alone(place):
    secrets = place.path / "secrets"
    secrets.mkdir(0o700)
    for name, text in (
        ("build", "".join(f"{key}='{value}'\n" for key, value in BUILD.items())),
        ("promote", "PROMOTER_PASSWORD='of-the-promoter'\n"),
        ("deploy", "RUNTIME_PASSWORD='of-the-hosts'\n"),
    ):
        (secrets / f"{name}.env").write_text(text, encoding="utf-8")
        (secrets / f"{name}.env").chmod(0o600)
    command = ["sh", str(STEPS / "pipeline.sh")]
    system = {"PATH": f"{place.path / 'bin'}:{os.environ['PATH']}", "HOME": str(place.path), "TOLD": str(place.told)}
    system |= SETTINGS | {"SITE": str(place.path / "site"), "SECRETS": str(secrets), "COSIGN_HELP": ""}
    for arguments in (["build"], ["release", "v1.4.2"]):
        subprocess.run([*command, *arguments], env=system, check=True, capture_output=True, cwd=place.path)
    assert place.read("input") == 'of-the-buildof-the-hostsuser = "runtime:of-the-hosts"\n'
    (secrets / "deploy.env").chmod(0o640)
    done = subprocess.run([*command, "release", "v1.4.2"], env=system, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("/deploy.env can be read by other accounts. Give it the mode 0600.\n")
    done = subprocess.run(command, env=system, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Give build, or release and a tag:")
