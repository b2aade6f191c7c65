"""What engines tell of their images, where no engine of the tests tells it."""

from __future__ import annotations

import json

from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_containerd import (
    listed_images,
    running_tasks,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_images import (
    RunningContainer,
)

DIGEST = f"sha256:{'1' * 64}"


def test_digests_are_named_in_full_and_once():
    told = RunningContainer("docker", "web", "nginx", [f"nginx@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}"]).told()
    assert told["digests"] == [f"docker.io/library/nginx@{DIGEST}"]


def test_what_is_no_digest_is_none():
    names = ["", "nginx:1", DIGEST, f"<none>@{DIGEST}", "web@sha256:short"]
    assert RunningContainer("docker", "web", "nginx", names).digests == []


def test_the_list_of_ctr():
    text = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        f"r.example.com/a:1 application/vnd.oci.image.index.v1+json {DIGEST} 1.2 MiB linux/amd64 -\n"
        "odd\n"
    )
    assert listed_images(text) == {"r.example.com/a:1": DIGEST}


def test_files_without_layers_are_of_no_image_whose_layers_are_not_here():
    def ctr(*arguments):
        words = [word for word in arguments if word not in ("--namespace", "default")]
        if words[:2] == ["content", "get"]:
            raise EngineError("not found")
        return {
            "namespaces": "default\n",
            "tasks": "TASK PID STATUS\nscratch 7 RUNNING\n",
            "images": f"REF TYPE DIGEST\nr.example.com/a:1 index {DIGEST}\n",
            "containers": json.dumps({"Image": "gone:1", "Snapshotter": "overlayfs", "SnapshotKey": "scratch"}),
            "snapshots": json.dumps({"Parent": ""}),
        }[words[0]]

    assert [(task.image, task.names) for task in running_tasks(ctr)] == [("gone:1", ["gone:1"])]
