"""A storage with the log of what clients do to it, and what the page's program makes of both."""

from __future__ import annotations

import json
import random
import shutil
import sys
import types

import trees
from paths import ROOT

sys.path.insert(0, str(ROOT / "roles" / "reverse_proxy" / "files" / "page_index"))

# Those of the program, for tests.
import events
import keeper
import places
import shared_events

__all__ = ["World", "documents", "events", "keeper", "places", "settings", "shared_events"]

OCI = "application/vnd.oci.image.manifest.v1+json"
POLICIES = [
    {"index": "all", "pull": ["(?:.*)"], "delete": [".*"], "catalog": True},
    {"index": "some", "pull": ["(?:team/a|team/b/.*)"], "delete": [], "catalog": False},
]


def settings(top, state, **more):
    return types.SimpleNamespace(
        **{
            "storage": str(top),
            "s3": "",
            "host": "here",
            "others": [],
            "log": str(state / "requests.log"),
            "data": str(state / "data"),
            "catalog": str(state / "catalog.db"),
            "registry": "registry.test",
            "policies": POLICIES,
            "retention": [{"repositories": ["*"], "tags": ["*"], "keep_newest": 2}],
            "keep_digests": [],
            "running": str(state / "running.json"),
            "gate": {"keys": [], "policy": {}, "waivers": [], "cache": ""},
            "signs": [],
            "fleet": {},
            **more,
        }
    )


class World:
    """A storage, what is done to it by clients, and the log of that."""

    def __init__(self, path, seed):
        self.store = trees.Store(path / "storage")
        self.random = random.Random(seed)  # noqa: S311 - the same in each run
        self.log = path / "requests.log"
        self.names = ["team/a", "team/b/c", "team/b", "other", "other/x.json"]

    def entry(self, repository, reference, call="tag", **more):
        told = {"method": "PUT", "status": 201, "user": "ci", "page": "", "time": 1764500000.5, **more}
        with self.log.open("a") as file:
            file.write(json.dumps({"call": call, "repository": repository, "reference": reference, **told}) + "\n")

    def image(self, repository, tag):
        layers = [self.store.layer(repository, f"layer {self.random.randrange(6)}".encode()) for _one in range(2)]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": f"2026-10-{self.random.randrange(10, 30)}T01:02:03Z",
        }
        document = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {
                **self.store.layer(repository, json.dumps(config).encode()),
                "mediaType": "application/vnd.oci.image.config.v1+json",
            },
            "layers": layers,
        }
        digest = self.store.manifest(repository, document, tag)
        self.entry(repository, tag or digest, "tag" if tag else "write", digest=digest)
        return digest

    def index(self, repository, tag):
        children = [
            {"digest": self.image(repository, None), "mediaType": OCI, "platform": {"os": "linux", "architecture": one}}
            for one in ("amd64", "arm64")
        ]
        document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children}
        digest = self.store.manifest(repository, document, tag)
        self.entry(repository, tag, digest=digest)

    def remove(self, repository, tag):
        place = self.store.root / "repositories" / repository / "_manifests" / "tags" / tag
        if place.exists():
            shutil.rmtree(place)
            self.entry(repository, tag, "delete", method="DELETE", status=202)

    def remove_all(self, repository):
        place = self.store.root / "repositories" / repository
        for part in ("_manifests", "_layers"):
            shutil.rmtree(place / part, ignore_errors=True)
        self.entry(repository, "1", "delete", method="DELETE", status=202)

    def step(self):
        repository, tag = self.random.choice(self.names), str(self.random.randrange(5))
        action = self.random.choices((self.image, self.index, self.remove, self.remove_all), (6, 2, 3, 1))[0]
        action(*((repository,) if action == self.remove_all else (repository, tag)))


def documents(data):
    """All that browsers can get, without the times of writing; of an index, the rows as a page makes them."""
    found = {}
    for path in sorted(path for path in data.rglob("*.json") if path.is_file()):
        document = json.loads(path.read_text())
        document.pop("made", None)
        name = str(path.relative_to(data))
        if path.name == "index.json":
            base = json.loads((path.parent / document.pop("base")).read_text())
            rows = {row[0]: row for row in base["rows"]}
            for change in document.pop("changes"):
                if isinstance(change, dict):
                    rows.pop(change["gone"], None)
                else:
                    rows[change[0]] = change
            document["rows"] = {name: json.dumps([*row[1:5], *row[8:]]) for name, row in rows.items()}
            document["storage"] = None
        if not path.name.startswith("index-"):
            found[name] = without_people(document)
    return found


def without_people(document):
    """A look at everything does not know who has pushed, and when: files have the times of the test."""
    if isinstance(document, dict):
        return {
            name: without_people(value)
            for name, value in document.items()
            if name not in {"pushed", "pushed_by", "pulled"}
        }
    return sorted(map(without_people, document), key=json.dumps) if isinstance(document, list) else document
