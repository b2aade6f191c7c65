"""The pipelines of examples/ci: their systems can read them, and each stage has its own secrets alone.

tests/guides runs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from paths import ROOT
from pipelines import CI, FILES, STAGES, documents, stages

SECRETS = {
    "build": {"BUILD_PASSWORD", "COSIGN_KEY", "COSIGN_PASSWORD"},
    "promote": {"PROMOTER_PASSWORD"},
    "deploy": {"RUNTIME_PASSWORD"},
}
YAML = [(schema, path) for schema, files in FILES.values() if schema for path in files.values()]
YAML += [("vendor.gitlab-ci", CI / "private-ca/dind.gitlab-ci.yml")]
each_system = pytest.mark.parametrize("system", FILES)


def judged(schema, document, place):
    """What check-jsonschema says of a document, and its exit status."""
    file = place / "document.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode


@pytest.mark.parametrize(("schema", "path"), YAML, ids=lambda one: getattr(one, "name", None))
def test_the_schema_of_its_system_takes_it(schema, path, tmp_path):
    # A file of Drone has several documents.
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        # YAML 1.1 reads `on` as true.
        said, status = judged(schema, {"on" if key is True else key: of for key, of in document.items()}, tmp_path)
        assert status == 0, said


@pytest.mark.parametrize(
    ("system", "spoil"),
    [
        ("gitlab", lambda file: file["build"].update(script=[])),
        ("github", lambda file: file["jobs"]["build"].pop("runs-on")),
        ("woodpecker", lambda file: file["steps"][0].update(commands={})),
        ("drone", lambda file: file.update(steps={})),
    ],
)
def test_the_schema_refuses_what_is_wrong(system, spoil, tmp_path):
    schema, files = FILES[system]
    document = documents(next(iter(files.values())))[0]
    spoil(document)
    assert judged(schema, document, tmp_path)[1] == 1


@each_system
def test_a_stage_has_its_own_secrets_alone(system):
    found = stages(system)
    assert set(found) == set(STAGES)
    for name, stage in found.items():
        # The content of the key, where a system has no files.
        variables = {"COSIGN_KEY" if one == "COSIGN_PRIVATE_KEY" else one for one in stage.secrets}
        assert variables == SECRETS[name]
        assert not variables & set(stage.settings)


@each_system
def test_a_stage_runs_its_step_alone(system):
    for name, stage in stages(system).items():
        assert re.findall(r"ci/\w+\.sh", " ".join(stage.commands)) == [f"ci/{name}.sh"]


@each_system
def test_what_is_secret_comes_once(system):
    """A secret for all stages would be named above them."""
    text = "".join(path.read_text(encoding="utf-8") for path in FILES[system][1].values())
    for stage in stages(system).values():
        for name in stage.secrets.values():
            # Once in a comment that says where to keep it, and once or twice where it is used.
            code = [line for line in text.splitlines() if not re.match(r"\s*(#|//)", line)]
            used = [line for line in code if re.search(rf"\b{re.escape(name)}\b", line)]
            assert len(used) == (0 if system == "gitlab" else 1), used


def test_actions_are_pinned_and_may_only_read():
    for path in FILES["github"][1].values():
        (workflow,) = documents(path)
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert "permissions" not in job and "env" not in job and job["environment"]
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", step["uses"])
                    assert step["with"] == {"persist-credentials": "false"}


def test_releases_are_of_tags():
    """A branch can neither promote nor deploy."""
    (gitlab,) = documents(CI / "gitlab/.gitlab-ci.yml")
    for name in ("promote", "deploy"):
        assert [rule["if"].split()[0] for rule in gitlab[name]["rules"]] == ["$CI_COMMIT_TAG"]
    (release,) = documents(CI / "github/workflows/release.yml")
    assert release["on"] == {"push": {"tags": ["v*.*.*"]}}
    for name in ("promote", "deploy"):
        (workflow,) = documents(CI / f"woodpecker/.woodpecker/{name}.yaml")
        assert workflow["when"] == [{"event": "tag", "ref": "refs/tags/v*"}]
    drone = {pipeline["name"]: pipeline["trigger"] for pipeline in documents(CI / "drone/.drone.yml")}
    assert drone["build"]["event"] == ["push"]
    assert drone["promote"] == drone["deploy"] == {"event": ["tag"], "ref": ["refs/tags/v*"]}
    jenkins = (CI / "jenkins/Jenkinsfile.release").read_text(encoding="utf-8")
    assert jenkins.count("buildingTag()") == jenkins.count("stage('") == 2


def test_nothing_is_latest():
    for path in CI.rglob("*"):
        if path.is_file():
            assert "latest" not in path.read_text(encoding="utf-8").replace("never `latest`", ""), path.relative_to(
                ROOT
            )
