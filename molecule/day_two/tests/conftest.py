"""Fixtures of the scenario: the registry, the host it is restored onto, and clients that push meanwhile."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from http_client import DOCKER, digest_of
from labtest import LabHost, Registry, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTNAME = "daytwo.lab.test"


@dataclasses.dataclass(frozen=True)
class Images:
    """Small images that are pushed through the proxy, over the API."""

    registry: Registry

    def push(self, repository: str, tag: str, size: int = 50_000) -> str:
        """Push a new image; return its digest, once the registry has acknowledged it."""
        with self.registry.content("ci") as content:
            # Nothing of it is there before.
            image = content.image(repository, tag, kind=DOCKER, labels={"id": uuid.uuid4().hex}, layer=os.urandom(size))
            return image["digest"]

    def delete(self, repository: str, digest: str) -> None:
        answer = self.registry.request("DELETE", f"/v2/{repository}/manifests/{digest}", "admin")
        assert answer.status == 202, answer

    def digest(self, repository: str, tag: str) -> str | None:
        """What the tag points to, by the content that the registry sends."""
        answer = self.registry.manifest(repository, tag, "runtime")
        return digest_of(answer.body) if answer.status == 200 else None


class Load:
    """Clients that push, move tags and delete, until they are told to stop. None of them may fail."""

    def __init__(self, images: Images) -> None:
        self.images = images
        # Tags that no client touches any more, with the digest that was acknowledged.
        self.settled: dict[str, str] = {}
        self.counts = {"pushes": 0, "moves": 0, "deletes": 0}
        self.failures: list[BaseException] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in (self._push, self._churn)]

    def _run(self, work: Callable[[int], None]) -> None:
        turn = 0
        while not self._stopped.is_set():
            try:
                work(turn)
            except BaseException as error:  # noqa: BLE001 - told by the thread that waits
                self.failures.append(error)
                return
            turn += 1
            # What else runs needs processors, too.
            time.sleep(0.2)

    def _push(self, turn: int) -> None:
        self.settled[f"t{turn}"] = self.images.push("load/app", f"t{turn}")
        self.counts["pushes"] += 1

    def _churn(self, turn: int) -> None:
        """A tag that moves, and what it pointed to is deleted at once; and a tag that comes and goes.

        In a repository without other writers: to delete a digest, version 2 of the registry reads the links of all tags
        there, and where one is just being written it answers 500 and leaves the tag of what it has deleted.
        """
        former = self.images.digest("load/churn", "moving")
        self.images.push("load/churn", "moving")
        if former:
            self.images.delete("load/churn", former)
        self.counts["moves"] += 1
        self.images.delete("load/churn", self.images.push("load/churn", f"short-{turn}"))
        self.counts["deletes"] += 1

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        wait_for("some pushes", lambda: self.failures or min(self.counts.values()) >= 5)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures, self.failures


@pytest.fixture(scope="session")
def keeper() -> LabHost:
    return LabHost("keeper")


@pytest.fixture(scope="session")
def spare() -> LabHost:
    return LabHost("spare")


@pytest.fixture(scope="session")
def registry(keeper: LabHost, ephemeral: pathlib.Path) -> Registry:
    return Registry(keeper, HOSTNAME, ephemeral / "ca.crt", ephemeral / "credentials.yml")


@pytest.fixture(scope="session")
def images(registry: Registry) -> Images:
    return Images(registry)


@pytest.fixture(scope="session")
def restored(spare: LabHost, ephemeral: pathlib.Path) -> Images:
    """The registry on the other host, as the same clients meet it: by the same name, CA and users."""
    return Images(Registry(spare, HOSTNAME, ephemeral / "ca.crt", ephemeral / "credentials.yml"))


@pytest.fixture(scope="session")
def load(images: Images) -> Load:
    return Load(images)
