"""The pipelines of examples/ci as their systems read them: stages with commands, settings and secrets."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import yaml
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CI = ROOT / "examples" / "ci"
STEPS = CI / "shell"
# Of each system: the schema that check-jsonschema has, and the files by their places in a repository.
FILES = {
    "gitlab": ("vendor.gitlab-ci", {".gitlab-ci.yml": CI / "gitlab/.gitlab-ci.yml"}),
    "github": (
        "vendor.github-workflows",
        {f".github/workflows/{path.name}": path for path in sorted((CI / "github/workflows").iterdir())},
    ),
    "woodpecker": (
        "vendor.woodpecker-ci",
        {f".woodpecker/{path.name}": path for path in sorted((CI / "woodpecker/.woodpecker").iterdir())},
    ),
    "drone": ("vendor.drone-ci", {".drone.yml": CI / "drone/.drone.yml"}),
    "jenkins": (
        None,
        {name: CI / "jenkins" / name for name in ("Jenkinsfile", "Jenkinsfile.release")},
    ),
}
STAGES = ("build", "promote", "deploy")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What runs in a stage. `secrets` are the variables that hold one, by the names of the secrets in the system."""

    name: str
    commands: list[str]
    settings: dict[str, str]
    secrets: dict[str, str]


def documents(path: Path) -> list[dict]:
    # BaseLoader: `on` of GitHub is no boolean.
    return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader))


def _gitlab(files: dict[str, Path]) -> Iterator[Stage]:
    (path,) = files.values()
    (whole,) = documents(path)
    # Secrets are not in the file but in the settings of the project, by environment: its head says which.
    scopes = dict(re.findall(r"^#   (\w+): +(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    for name in whole["stages"]:
        (job,) = (job for job in whole.values() if isinstance(job, dict) and job.get("stage") == name)
        secrets = {found: found for found in re.findall(r"[A-Z_]{4,}", scopes[job["environment"]["name"]])}
        yield Stage(name, job["script"], {**whole["variables"], **job.get("variables", {})}, secrets)


def _github(files: dict[str, Path]) -> Iterator[Stage]:
    for path in files.values():
        (whole,) = documents(path)
        for name, job in whole["jobs"].items():
            steps = [step for step in job["steps"] if "run" in step]
            variables = {**whole.get("env", {}), **job.get("env", {})}
            for step in steps:
                variables |= step.get("env", {})
            secrets = {
                key: found[1]
                for key, value in variables.items()
                if (found := re.fullmatch(r"\$\{\{ secrets\.(\w+) \}\}", value))
            }
            settings = {key: value for key, value in variables.items() if key not in secrets}
            yield Stage(name, [step["run"] for step in steps], settings, secrets)


def _of_steps(whole: dict) -> Iterator[Stage]:
    for step in whole["steps"]:
        variables = step["environment"]
        secrets = {key: value["from_secret"] for key, value in variables.items() if isinstance(value, dict)}
        settings = {key: value for key, value in variables.items() if key not in secrets}
        yield Stage(step["name"], step["commands"], settings, secrets)


def _with_steps(files: dict[str, Path]) -> Iterator[Stage]:
    for path in files.values():
        for whole in documents(path):
            yield from _of_steps(whole)


def _jenkins(files: dict[str, Path]) -> Iterator[Stage]:
    for path in files.values():
        for text in re.split(r"(?=\bstage\(')", path.read_text(encoding="utf-8"))[1:]:
            secrets = {
                variable: name
                for name, variable in re.findall(r"\w+\(credentialsId: '([^']+)', variable: '(\w+)'\)", text)
            }
            yield Stage(
                re.match(r"stage\('(\w+)'\)", text)[1],
                re.findall(r"^\s+sh '(.+)'$", text, re.MULTILINE),
                dict(re.findall(r"^\s+(\w+) = '(.+)'$", text, re.MULTILINE)),
                secrets,
            )


_READERS = {
    "gitlab": _gitlab,
    "github": _github,
    "woodpecker": _with_steps,
    "drone": _with_steps,
    "jenkins": _jenkins,
}


def stages(system: str) -> dict[str, Stage]:
    """The stages of a system's pipeline, by their names."""
    return {stage.name: stage for stage in _READERS[system](FILES[system][1])}
