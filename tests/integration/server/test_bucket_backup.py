"""A registry in a real bucket, backed up by real restic and a second bucket while clients push, and restored."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import bucket_front
import memory_s3
import programs
import pytest
import unpacked
from collecting import COLLECTOR, MIB, USERS, Collector, Pusher, content_of, delete, pull
from engine import wait_for
from http_client import digest_of
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Authority
    from content import Content
    from front import Front
    from seaweedfs import SeaweedFS

PROGRAM = ROOT / "roles" / "backup" / "files"
COPIES = "copies"
BLOBS = "docker/registry/v2/blobs/"
ROUNDS = int(os.environ.get("WHARF_KILLS", "8"))
# Runs the command, and says what memory it took at most, in KiB.
COMMAND = """
import re, sys
sys.path.insert(0, sys.argv[1])
from wharf_backup.main import main
try:
    sys.exit(main(sys.argv[2:], ""))
finally:
    print(re.search("VmHWM:.*?([0-9]+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


class Keeper:
    """The program on a host of its own: its settings, what it is to save of them, and its repository."""

    def __init__(self, directory: Path, front: Front, access: dict[str, dict]) -> None:
        self.directory, self.front, self.access = directory, front, access
        self.etc = directory / "etc"
        self.etc.mkdir()
        (self.etc / "ca.key").write_text("the key")
        self.settings = directory / "settings"
        self.settings.mkdir(mode=0o700)
        for name, text in (("repository", f"{directory}/restic"), ("password", secrets.token_hex(8))):
            (self.settings / name).write_text(text)
        self.configure()
        self.memory = 0
        (self.settings / "repository.id").write_text(self.told("init")["id"])

    def configure(self, **changes: object) -> None:
        given = {
            "hostname": "localhost",
            "repository": f"{self.directory}/restic",
            "state": f"{self.directory}/state",
            "data": f"{self.directory}/data",
            "settings": [str(self.etc)],
            "port": self.front.port,
            "addresses": [],
            "ca": str(self.front.ca),
            "sockets": str(self.front.directory / "sockets"),
            "keep": {"last": 2},
            "check_days": 7,
            "check_percent": 100,
            "lock_seconds": 60,
            "compression": "auto",
            "s3_region": "",
            "in_bucket": True,
            "instance": {
                "lock": f"{self.directory}/backup.lock",
                "maintenance_lock": str(self.front.directory / "lock"),
            },
            **changes,
        }
        (self.settings / "config.json").write_text(json.dumps(given))
        (self.settings / "images.json").write_text(json.dumps(self.access))

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [
                *(sys.executable, "-c", COMMAND, str(self.directory.parent / "program")),
                *("--config", str(self.settings / "config.json"), "--json", *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": f"{Path(unpacked.program('restic', 'restic')).parent}:{os.environ['PATH']}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )

    def finish(self, process: subprocess.Popen) -> tuple[int, dict]:
        output, errors = process.communicate(timeout=300)
        assert "Traceback" not in errors, errors
        for one in self.access.values():
            assert one["secret_key"] not in output + errors
        if process.returncode >= 0:
            self.memory = int(errors.split()[-1])
        return process.returncode, json.loads(output or "{}")

    def told(self, *arguments: str) -> dict:
        """What a command tells that does its work."""
        status, told = self.finish(self.start(*arguments))
        assert status == 0, told
        return told

    def refused(self, *arguments: str) -> str:
        status, told = self.finish(self.start(*arguments))
        assert status == 1, told
        return told["message"]

    def lose(self, storage: SeaweedFS) -> None:
        """The bucket is empty, and the host is bare but for the settings of the role."""
        empty(storage, memory_s3.BUCKET)
        for path in (self.etc, self.directory / "state"):
            shutil.rmtree(path)

    def restore(self) -> dict:
        told = self.told("restore-fetch")
        self.told("restore-remember")
        self.told("restore-swap")
        self.told("restore-prove")
        self.told("restore-finish")
        return told


def objects(storage: SeaweedFS, bucket: str) -> dict[str, tuple[str, int]]:
    """ETag and size of each object, of which there may be thousands."""
    found: dict[str, tuple[str, int]] = {}
    token = ""
    while True:
        status, body = storage.ask("GET", f"/{bucket}", f"list-type=2{token}")
        assert status == 200, body
        text = body.decode()
        for one in re.findall("<Contents>(.*?)</Contents>", text, re.S):
            key, etag, size = (re.search(f"<{name}>(.*?)</{name}>", one, re.S)[1] for name in ("Key", "ETag", "Size"))
            found[urllib.parse.unquote(key)] = (etag, int(size))
        more = re.search("<NextContinuationToken>(.*?)<", text)
        if "<IsTruncated>true" not in text or not more:
            return found
        token = f"&continuation-token={urllib.parse.quote(more[1], safe='')}"


def empty(storage: SeaweedFS, bucket: str) -> None:
    for key in objects(storage, bucket):
        assert storage.ask("DELETE", f"/{bucket}/{key}")[0] == 204


def blobs(storage: SeaweedFS, bucket: str) -> set[str]:
    return {key for key in objects(storage, bucket) if key.startswith(BLOBS)}


@pytest.fixture(scope="module")
def proxy(images: dict[str, str], storage: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with bucket_front.running(tmp_path_factory.mktemp("front"), images, USERS, storage) as proxy:
        assert storage.ask("PUT", f"/{COPIES}")[0] == 200
        yield proxy


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs lie, as the roles place them."""
    place = tmp_path_factory.mktemp("keepers")
    beside = {name: COLLECTOR / name for name in ("wharf_storage", "wharf_bucket")}
    programs.install(PROGRAM, place / "program", **beside)
    return place


@pytest.fixture
def keeper(proxy: Front, storage: SeaweedFS, ca: Authority, program: Path) -> Keeper:
    for bucket in (memory_s3.BUCKET, COPIES):
        empty(storage, bucket)
    access = {
        "endpoint": f"https://localhost:{storage.https}",
        "region": memory_s3.REGION,
        "access_key": memory_s3.ACCESS_KEY,
        "secret_key": memory_s3.SECRET_KEY,
        "ca_path": str(ca.certificate),
    }
    directory = program / secrets.token_hex(4)
    directory.mkdir()
    return Keeper(
        directory, proxy, {"source": {**access, "bucket": memory_s3.BUCKET}, "copy": {**access, "bucket": COPIES}}
    )


@pytest.fixture
def content(proxy: Front) -> Content:
    return content_of(proxy)


def ended(pushers: list[Pusher]) -> None:
    for pusher in pushers:
        pusher.stopping.set()
        pusher.join()
        assert pusher.failure is None, pusher.failure


def test_what_was_acknowledged_comes_back_into_an_empty_bucket(
    content: Content, keeper: Keeper, proxy: Front, storage: SeaweedFS
) -> None:
    layer = secrets.token_bytes(2 * MIB)
    kept = {
        "team/app": content.image("team/app", "1.0", layer=layer)["digest"],
        "team/app/deep": content.index("team/app/deep", "1.0")[0]["digest"],
    }
    pushers = [Pusher(proxy, number) for number in range(2)]
    for pusher in pushers:
        pusher.start()
    wait_for("something was pushed", lambda: all(len(pusher.acknowledged) > 3 for pusher in pushers))
    told = keeper.told("run")
    ended(pushers)
    assert (told["outcome"], told["problems"]) == ("ok", [])
    # A layer that was overwritten, and one that is gone, are noticed and copied again.
    before = objects(storage, COPIES)
    # Of an image that has a tag: what an unfinished push has left is in the next snapshot no more.
    hurt = [key for key in blobs(storage, COPIES) if key.split("/")[-2] in (digest_of(layer)[7:], kept["team/app"][7:])]
    assert len(hurt) == 2
    assert storage.ask("PUT", f"/{COPIES}/{hurt[0]}", body=b"x" * before[hurt[0]][1])[0] == 200
    assert storage.ask("DELETE", f"/{COPIES}/{hurt[1]}")[0] == 204
    assert "2 blobs in s3://copies at" in keeper.refused("run")
    assert keeper.told("status")["outcome"] == "damaged"
    told = keeper.told("run")
    after = objects(storage, COPIES)
    assert (told["outcome"], told["copied_blobs"]) == ("ok", 0)
    assert {key: after[key] for key in hurt} == {key: before[key] for key in hurt}
    tags = {(pusher.repository, tag): digest for pusher in pushers for tag, digest in pusher.acknowledged.items()}
    said = keeper.refused("restore-check", "--replace")
    assert "holds images, and no restore has brought them" in said

    keeper.lose(storage)
    assert content.ask("GET", "/v2/team/app/manifests/1.0")[0] == 404
    told = keeper.restore()
    assert (told["problems"], told["tags"]) == ([], len(tags) + len(kept))
    assert (keeper.etc / "ca.key").read_text() == "the key"
    for (repository, tag), digest in [*tags.items(), *(((name, "1.0"), digest) for name, digest in kept.items())]:
        assert pull(content, repository, tag)[0] == digest
    assert "wharf-restore" not in objects(storage, memory_s3.BUCKET)
    # It is backed up where the lost one was, and nothing is copied again.
    assert keeper.told("run")["copied_blobs"] == 0
    assert content.image("team/app", "2.0", layer=layer)["digest"]


@pytest.mark.long
def test_a_killed_backup_leaves_the_last_one_whole(content: Content, keeper: Keeper, storage: SeaweedFS) -> None:
    first = content.image("team/app", "1.0")["digest"]
    assert keeper.told("run")["outcome"] == "ok"
    copied = len(blobs(storage, COPIES))
    content.image("team/app", "2.0", layer=secrets.token_bytes(4 * MIB))
    process = keeper.start("run")
    wait_for("a blob was copied", lambda: len(blobs(storage, COPIES)) > copied, longest=0.02)
    process.kill()
    assert keeper.finish(process)[0] == -signal.SIGKILL
    assert keeper.told("status")["outcome"] == "killed"
    keeper.lose(storage)
    # Its locks are free two minutes after it was killed; an admin need not wait for that, nor does a test.
    for bucket in (memory_s3.BUCKET, COPIES):
        for key in objects(storage, bucket):
            if "-lock/" in key:
                storage.ask("DELETE", f"/{bucket}/{key}")
    keeper.restore()
    assert pull(content, "team/app", "1.0")[0] == first
    # SeaweedFS lists the directory of a tag that was deleted for a while.
    assert content.ask("GET", "/v2/team/app/manifests/2.0")[0] == 404


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret_key": "wrong"}, "answers 403"),
        ({"endpoint": "https://localhost:9"}, "when asked to read wharf-backup"),
        pytest.param({"bucket": "nothing"}, "NoSuchBucket", marks=pytest.mark.long),
        pytest.param(
            {"bucket": memory_s3.BUCKET, "root_directory": "backup"},
            "is the bucket of the registry itself",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_copy_that_can_not_be_made_is_told(content: Content, keeper: Keeper, changes: dict, said: str) -> None:
    content.image("team/app", "1.0")
    good = keeper.told("run")["succeeded"]
    keeper.access["copy"] |= changes
    keeper.configure()
    assert said in keeper.refused("run")
    status = keeper.told("status")
    assert (status["outcome"], status["succeeded"]) == ("failed", good) and status["cure"]


def test_what_no_snapshot_needs_goes(content: Content, keeper: Keeper, proxy: Front, storage: SeaweedFS) -> None:
    """A deleted image stays in the copy for as long as a snapshot has its tag, whatever a collection does."""
    gone = content.image("team/app", "old", layer=secrets.token_bytes(1000))["digest"]
    content.image("team/app", "new")
    keeper.told("run")
    count = len(blobs(storage, COPIES))
    delete(content, "team/app", gone)
    collector = Collector(proxy, storage="", s3=str(keeper.directory / "s3.json"), lock_seconds=30)
    (keeper.directory / "s3.json").write_text(json.dumps(keeper.access["source"]))
    collector.program = programs.install(COLLECTOR, keeper.directory / "collector")
    wait_for("it is collected", lambda: collector.run()["removed"]["manifests"] or not blobs_of_old(storage, gone), 60)
    keeper.told("run")
    assert len(blobs(storage, COPIES)) == count
    assert keeper.told("run")["swept_blobs"] > 0
    assert blobs(storage, COPIES) == blobs(storage, memory_s3.BUCKET)


def blobs_of_old(storage: SeaweedFS, digest: str) -> bool:
    return any(digest[7:] in key for key in blobs(storage, memory_s3.BUCKET))


@pytest.mark.long
def test_backups_are_killed_while_clients_push_and_delete(
    content: Content, keeper: Keeper, proxy: Front, storage: SeaweedFS
) -> None:
    pushers = [Pusher(proxy, number) for number in range(3)]
    for pusher in pushers:
        pusher.start()
    chosen = random.Random()  # noqa: S311
    statuses = {0: 0, -signal.SIGKILL: 0}
    keeper.configure(lock_seconds=200)
    for turn in range(ROUNDS):
        process = keeper.start("run")
        if turn % 3:
            time.sleep(chosen.uniform(0, 4))
            process.kill()
        status, told = keeper.finish(process)
        assert status in statuses, told
        statuses[status] += 1
    ended(pushers)
    assert keeper.told("run")["problems"] == []
    tags = {(pusher.repository, tag): digest for pusher in pushers for tag, digest in pusher.acknowledged.items()}
    keeper.lose(storage)
    assert keeper.restore()["problems"] == []
    for (repository, tag), digest in tags.items():
        assert pull(content, repository, tag)[0] == digest
    print(f"{ROUNDS} runs: {statuses}, {len(tags)} tags")


@pytest.mark.long
def test_a_large_layer_takes_no_more_memory(content: Content, keeper: Keeper, storage: SeaweedFS) -> None:
    content.image("team/app", "small")
    keeper.told("run")
    before = keeper.memory
    layer = secrets.token_bytes(200 * MIB)
    digest = content.image("team/app", "large", layer=layer)["digest"]
    assert keeper.told("run")["copied_bytes"] > 200 * MIB
    print(f"{before} KiB, and {keeper.memory} KiB with a layer of 200 MiB")
    assert keeper.memory < before + 64 * 1024
    keeper.lose(storage)
    keeper.restore()
    assert keeper.memory < before + 64 * 1024
    assert pull(content, "team/app", "large")[0] == digest


@pytest.mark.long
def test_restic_and_rclone_alone_bring_it_back(content: Content, keeper: Keeper, storage: SeaweedFS) -> None:
    """As the guide says, without this collection."""
    digest = content.image("team/app", "1.0", layer=secrets.token_bytes(MIB))["digest"]
    keeper.told("run")
    restic = unpacked.program("restic", "restic")
    target = keeper.directory / "by-hand"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(keeper.directory),
        "RESTIC_PASSWORD_FILE": str(keeper.settings / "password"),
        "RESTIC_REPOSITORY": str(keeper.directory / "restic"),
    }
    subprocess.run([restic, "restore", "latest", "--target", str(target)], env=environment, check=True)
    keeper.lose(storage)
    source = keeper.access["source"]
    (keeper.directory / "rclone.conf").write_text(
        f"[s3]\ntype = s3\nprovider = Other\naccess_key_id = {source['access_key']}\n"
        f"secret_access_key = {source['secret_key']}\nendpoint = {source['endpoint']}\nregion = {source['region']}\n"
    )
    rclone = [
        *(unpacked.program("rclone", "rclone"), "--config", str(keeper.directory / "rclone.conf")),
        *("--ca-cert", source["ca_path"], "copy"),
    ]
    (links,) = target.rglob("staging")
    for copied in (
        (f"s3:{COPIES}/{BLOBS}", f"s3:{memory_s3.BUCKET}/{BLOBS}"),
        (f"{links}/docker", f"s3:{memory_s3.BUCKET}/docker"),
    ):
        subprocess.run([*rclone, *copied], env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, check=True)
    assert pull(content, "team/app", "1.0")[0] == digest
