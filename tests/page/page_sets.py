"""The sets of data that the tests of the page look at: a usual registry, a large one, an empty one, a hostile one."""

from __future__ import annotations

import json
import time

from page_content import DAY, MANIFEST, Registry, Tag, digest_of, stamp

KEY = "release key"
PLATFORMS = {
    "amd64": {"os": "linux", "architecture": "amd64"},
    "arm64": {"os": "linux", "architecture": "arm64", "variant": "v8"},
}
MIB = 1 << 20
# Have tags that the gate refused.
VULNERABLE = {"apps/api", "base/golang", "staging/api", "team/data/jupyter"}
REPOSITORIES = [
    ("apps/api", 24, "ci", 0.002),
    ("apps/billing", 9, "ci", 0.4),
    ("apps/frontend", 31, "ci", 0.05),
    ("apps/notifications", 6, "ci", 3),
    ("apps/search", 12, "ci", 1.2),
    ("base/debian", 5, "mirror", 6),
    ("base/golang", 8, "mirror", 6),
    ("base/nginx", 7, "mirror", 2),
    ("base/postgres", 11, "mirror", 9),
    ("charts/platform", 4, "release", 12),
    ("mirror/docker.io/library/redis", 14, "mirror", 0.2),
    ("mirror/quay.io/prometheus/node-exporter", 3, "mirror", 0.2),
    ("staging/api", 18, "ci", 0.01),
    ("staging/frontend", 22, "ci", 0.02),
    ("team/data/jupyter", 6, "nora", 21),
    ("team/data/pipeline", 10, "nora", 5),
    ("team/web", 4, "dev", 0.7),
    ("tools/backup-probe", 2, "admin", 90),
]


def scan(critical=0, high=0, medium=0, low=0):
    return {
        "digest": digest_of(b"report"),
        "created": stamp(time.time() - 0.4 * DAY),
        "scanner": "trivy 0.58.0",
        "database": stamp(time.time() - 0.6 * DAY),
        "counts": {"critical": critical, "high": high, "medium": medium, "low": low, "unknown": 0},
        # As the gate judges that blocks what is critical.
        "verdict": "refused" if critical else "passed",
        "sentence": "",
    }


def layered(registry: Registry, name: str, version: int, arch: str) -> str:
    """An image as a build makes it: a base that all share, dependencies that change now and then, and the program."""
    layers = [
        (f"base {arch} {version // 10}", 28 * MIB, "/bin/sh -c #(nop) ADD file:8b1f7a3e in / "),
        ("", 0, '/bin/sh -c #(nop)  CMD ["bash"]'),
        (
            f"packages {arch} {version // 6}",
            41 * MIB,
            "/bin/sh -c apt-get update && apt-get install -y tini libssl3 && rm -rf /var/lib/apt/lists/*",
        ),
        (
            f"dependencies {name} {arch} {version // 3}",
            63 * MIB,
            "RUN /bin/sh -c pip install --no-cache-dir -r requirements.txt # buildkit",
        ),
        (f"program {name} {arch} {version}", 3 * MIB + 1000 * version, "COPY . /srv/app # buildkit"),
        ("", 0, "USER app"),
        ("", 0, 'ENTRYPOINT ["/usr/bin/tini" "--"]'),
    ]
    config = {
        "architecture": arch,
        "config": {
            "Entrypoint": ["/usr/bin/tini", "--"],
            "Cmd": ["/srv/app/bin/serve", "--port", "8080", "--log-level", "info" if version % 2 else "warn"],
            "User": "app",
            "WorkingDir": "/srv/app",
            "ExposedPorts": {"8080/tcp": {}, **({"9090/tcp": {}} if version % 4 else {})},
            "Env": [
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "PYTHONUNBUFFERED=1",
                f"APP_BUILD={version}",
                "DATABASE_PASSWORD=hunter2",
            ],
            "Labels": {
                "org.opencontainers.image.source": "https://git.example.com/apps/api",
                "org.opencontainers.image.revision": f"8c1f3ab{version:04d}",
                "maintainer": "Platform team <platform@example.com>",
            },
        },
    }
    return registry.image(config, layers)


def facts(registry: Registry, digest: str, at: int, name: str) -> dict:
    sbom = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "serial": at}).encode()
    found = {
        "platforms": ["linux/amd64", "linux/arm64/v8"] if name.startswith("apps/") else ["linux/amd64"],
        "scan": [
            scan(),
            scan(medium=5, low=9),
            scan(high=2, medium=5, low=9),
            None,
            scan(low=3),
            scan(critical=1, high=4) if name in VULNERABLE else scan(high=1),
        ][at % 6],
    }
    if name.startswith("tools/"):
        found["scan"] = None
    elif name.startswith("mirror/") and found["scan"]:
        found["scan"]["verdict"] = "unverified"
    if at % 4 != 3:
        found["signatures"] = [
            {"form": "bundle", "digest": digest_of(f"signature {digest}".encode()), "signed_by": KEY if at % 5 else ""}
        ]
        found["attestations"] = [
            {"digest": digest_of(f"att {digest}".encode()), "predicate": "https://slsa.dev/provenance/v1"}
        ]
    if at % 2 == 0:
        found["sbom"] = [
            {
                "kind": "cyclonedx",
                "digest": digest_of(f"sbom {digest}".encode()),
                "blob": registry.blob(sbom),
                "size": len(sbom),
            }
        ]
    found["referrers"] = [
        {"digest": one["digest"], "artifact_type": "application/vnd.dev.sigstore.bundle.v0.3+json", "size": 4711}
        for one in found.get("signatures", [])
    ]
    if at < 3:
        found["running"] = {"hosts": 4 - at}
    return found


def usual() -> Registry:
    registry = Registry()
    now = int(time.time())
    for name, many, by, days in REPOSITORIES:
        fill(registry, name, many, by, now - int(days * DAY))
    # Another repository, and other tags, with the same image.
    api, team = registry.repositories["apps/api"], registry.repositories["team/web"]
    newest = next(iter(api.tags.values()))
    api.tags["stable"] = Tag(newest.digest, newest.pushed + 60, "release", now - 30)
    api.tags["1.4"] = Tag(newest.digest, newest.pushed, "release", None)
    registry.repository("staging/api").tags["rc"] = Tag(newest.digest, newest.pushed - 3600, "ci", None)
    first = next(iter(team.tags.values()))
    team.tags["stable"] = Tag(first.digest, first.pushed, "dev", None)
    api.problems.append("tag 1.2.0: the manifest is missing")
    registry.fleet = fleet(registry)
    return registry


def fill(registry: Registry, name: str, many: int, by: str, last: int) -> None:
    repository = registry.repository(name)
    for at in range(many):
        version = many - at
        amd = layered(registry, name, version, "amd64")
        digest = amd
        if name.startswith("apps/"):
            arm = layered(registry, name, version, "arm64")
            attestation = registry.manifest(
                {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": {}, "annotations": {"of": amd}}
            )
            marks = {
                "os": "unknown",
                "architecture": "unknown",
                "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
            }
            digest = registry.index([(amd, PLATFORMS["amd64"]), (arm, PLATFORMS["arm64"]), (attestation, marks)])
            for child, what in ((amd, "image"), (arm, "image")):
                repository.untagged.append(
                    {
                        "digest": child,
                        "kind": what,
                        "size": registry.sizes[child],
                        "pushed": last - at * 9000,
                        "reason": f"child of 1.{version // 6}.{version % 6}",
                    }
                )
        tag = f"1.{version // 6}.{version % 6}"
        repository.tags[tag] = Tag(
            digest, last - at * 9000, by, None if at % 3 == 2 else max(last - at * 9000 + 60, last - at * 4000 - 100)
        )
        repository.facts[digest] = facts(registry, digest, at, name)
        kept = at < 10
        if name.startswith(("apps/", "staging/")):
            repository.decisions[tag] = {
                "kept": kept,
                "reason": "rule 1: is one of the 10 newest"
                if kept
                else "no rule keeps it: not one of the 10 newest, older than 30 days",
            }
    old = registry.image({"config": {}}, [(f"old {name}", 12 * MIB, "COPY old")])
    repository.untagged.append(
        {
            "digest": old,
            "kind": "image",
            "size": registry.sizes[old],
            "pushed": last - 40 * DAY,
            "reason": "goes with the next collection",
        }
    )
    verdicts = {found["scan"]["verdict"] for found in repository.facts.values() if found["scan"]}
    repository.worst = next((one for one in ("refused", "unverified", "passed") if one in verdicts), "")


def fleet(registry: Registry) -> dict:
    now = time.time()
    api = list(registry.repositories["apps/api"].tags.items())
    hosts = []
    for at in range(12):
        broken = at == 7
        hosts.append(
            {
                "host": f"web{at + 1}.example.com",
                "engine": ["docker 26.1.5", "docker 29.0.2", "podman 5.4.2", "containerd 2.1.4"][at % 4],
                "engines": [["docker 26.1.5"], ["docker 29.0.2"], ["podman 5.4.2"], ["containerd 2.1.4", "k3s 1.33"]][
                    at % 4
                ],
                "trust": "the CA Wharf 2026 for registry.example.com:5000; signatures of release key",
                "rollout": {
                    "outcome": ["ok", "changed", "ok", "skipped"][at % 4] if not broken else "rolled_back",
                    "said": "pulled and ran the proof"
                    if not broken
                    else "the engine did not come back within 60 s; its files are as before",
                    "when": stamp(now - at * 4000),
                },
                "doctor": {
                    "hop": "tls" if broken else "",
                    "title": "The certificate is not trusted" if broken else "",
                    "cure": "Run rollout.yml for this host" if broken else "",
                    "when": stamp(now - at * 3000),
                },
                "runs": [
                    {
                        "container": ["api", "worker", "frontend"][one],
                        "image": f"apps/api:{api[one][0]}",
                        "digest": api[one][1].digest,
                        "since": stamp(now - (at + one) * DAY),
                        "moved": one == 2,
                    }
                    for one in range(1 + at % 3)
                ],
                "findings": [{"critical": 0, "high": 0, "medium": 2}, {"critical": 1, "high": 3}, None][at % 3],
            }
        )
    return {
        "version": 1,
        "made": stamp(now - 300),
        "registry": "registry.example.com:5000",
        "hosts": hosts,
        "certificates": [
            {
                "host": "reg1",
                "name": "registry.example.com",
                "subject": "/etc/wharf-registry/registry.example.com.crt",
                "not_after": stamp(now + 61 * DAY),
                "days": 61,
            },
            {
                "host": "reg1",
                "name": "client CA",
                "subject": "/etc/wharf-registry/client-ca.crt",
                "not_after": stamp(now + 12 * DAY),
                "days": 12,
            },
            {
                "host": "reg1",
                "name": "mirror.example.com",
                "subject": "/etc/wharf-registry/mirror.example.com.crt",
                "not_after": stamp(now - 2 * DAY),
                "days": -2,
            },
        ],
        "backups": [
            {
                "host": "reg1",
                "last": stamp(now - 0.4 * DAY),
                "last_proven": stamp(now - 6 * DAY),
                "outcome": "ok",
                "said": "412 images, 3 new",
                "repository": "sftp:backup@vault.example.com:/registry",
            }
        ],
        "mirrors": [
            {
                "host": "reg1",
                "name": "docker.io/library/nginx",
                "last": stamp(now - 7000),
                "lag_seconds": 7000,
                "stale_since": None,
                "problem": "",
            },
            {
                "host": "reg1",
                "name": "quay.io/prometheus/node-exporter",
                "last": stamp(now - 4 * DAY),
                "lag_seconds": 4 * DAY,
                "stale_since": stamp(now - 4 * DAY),
                "problem": "429 Too Many Requests: the budget of anonymous pulls is used up",
            },
        ],
        "collection": {
            "last": stamp(now - 0.6 * DAY),
            "freed": 18 << 30,
            "held_seconds": 0.4,
            "disk": {"size": 500 << 30, "free": 181 << 30},
        },
        "reports": {"rollout": report(now)},
    }


def report(now: float) -> dict:
    columns = [
        {"name": "host", "label": "Host", "kind": "text"},
        {"name": "outcome", "label": "Outcome", "kind": "outcome"},
        {"name": "took", "label": "Took", "kind": "seconds"},
        {"name": "sent", "label": "Sent", "kind": "bytes"},
        {"name": "when", "label": "When", "kind": "time"},
    ]
    rows = [
        {
            "host": f"web{at}.example.com",
            "outcome": "ok" if at != 8 else "rolled_back",
            "took": 3.2 + at,
            "sent": 48211 * at,
            "when": stamp(now - at * 60),
        }
        for at in range(1, 13)
    ]
    return {
        "version": 1,
        "kind": "rollout",
        "made": stamp(now - 3600),
        "registry": "registry.example.com:5000",
        "outcome": "failed",
        "summary": "11 of 12 hosts are as they should be; web8 was rolled back.",
        "sections": [{"title": "Hosts", "columns": columns, "rows": rows}],
        "lines": [],
    }


def empty() -> Registry:
    return Registry(retention=False)


SCRIPT = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
RIGHT_TO_LEFT = "safe\u202egnp.exe"
ANSI = "\x1b[31mred\x1b[0m\x07\x00"
LONG = "A" * 10_240
HOSTILE = [
    SCRIPT,
    RIGHT_TO_LEFT,
    ANSI,
    LONG,
    "javascript:alert(1)",
    "'\"><svg/onload=window.hacked=1>",
    "\u202b\u05d0\u05d1\u05d2",
    "{{7*7}}${7*7}",
]


def hostile() -> Registry:
    """Everything that others write is hostile: names that no registry takes, labels, annotations, users, reports."""
    registry = Registry()
    now = int(time.time())
    labels = {f"{bad[:60]} {at}": bad for at, bad in enumerate(HOSTILE)}
    config = {
        "author": SCRIPT,
        "config": {
            "Entrypoint": HOSTILE,
            "Cmd": [LONG],
            "User": RIGHT_TO_LEFT,
            "WorkingDir": ANSI,
            "Labels": labels,
            "ExposedPorts": {SCRIPT: {}},
            "Env": [f"{bad[:40]}={bad}" for bad in HOSTILE],
        },
    }
    layers = [(f"layer {at}", 1000 + at, bad) for at, bad in enumerate(HOSTILE)]
    digest = registry.image(config, layers, annotations=labels)
    other = registry.image({"config": {"Labels": {"a": "b"}}}, [("other", 99, "COPY x")])
    for name in ["team/hostile", *HOSTILE]:
        repository = registry.repository(name)
        for at, bad in enumerate(["latest", *HOSTILE]):
            repository.tags[bad] = Tag(digest, now - at * 60, HOSTILE[at % len(HOSTILE)], now - at)
            repository.decisions[bad] = {"kept": at % 2 == 0, "reason": HOSTILE[at % len(HOSTILE)]}
        repository.tags["previous"] = Tag(other, now - 5000, "ci")
        repository.untagged = [{"digest": bad, "kind": bad, "size": 1, "pushed": now, "reason": bad} for bad in HOSTILE]
        repository.problems = list(HOSTILE)
        repository.worst = SCRIPT
        repository.facts[digest] = {
            "platforms": HOSTILE,
            "artifact_type": SCRIPT,
            "signatures": [{"form": bad, "digest": bad, "signed_by": bad} for bad in HOSTILE],
            "attestations": [{"digest": bad, "predicate": bad} for bad in HOSTILE],
            "sbom": [{"kind": bad, "digest": bad, "blob": bad, "size": 5} for bad in HOSTILE],
            "referrers": [{"digest": bad, "artifact_type": bad, "size": 5} for bad in HOSTILE],
            "scan": {
                "digest": SCRIPT,
                "created": SCRIPT,
                "scanner": LONG,
                "database": ANSI,
                "counts": {"critical": SCRIPT, "high": 1},
            },
            "running": {"hosts": SCRIPT},
        }
    registry.fleet = hostile_fleet(digest)
    return registry


def hostile_fleet(digest: str) -> dict:
    columns = [{"name": bad, "label": bad, "kind": bad} for bad in HOSTILE]
    sections = [
        {"title": bad, "columns": columns, "rows": [dict(zip(HOSTILE, HOSTILE, strict=True))]} for bad in HOSTILE
    ]
    return {
        "version": 1,
        "made": SCRIPT,
        "registry": SCRIPT,
        "hosts": [
            {
                "host": bad,
                "engine": bad,
                "engines": [bad],
                "trust": bad,
                "rollout": {"outcome": bad, "said": bad, "when": bad},
                "doctor": {"hop": bad, "title": bad, "cure": bad, "when": bad},
                "runs": [{"container": bad, "image": bad, "digest": digest, "since": bad, "moved": True}],
                "findings": {bad: 1, "high": bad},
            }
            for bad in HOSTILE
        ],
        "certificates": [{"host": bad, "name": bad, "subject": bad, "not_after": bad, "days": bad} for bad in HOSTILE],
        "backups": [
            {"host": bad, "last": bad, "last_proven": bad, "outcome": bad, "said": bad, "repository": bad}
            for bad in HOSTILE
        ],
        "mirrors": [{"host": bad, "name": bad, "last": bad, "stale_since": bad, "problem": bad} for bad in HOSTILE],
        "collection": {"last": SCRIPT, "freed": SCRIPT, "held_seconds": SCRIPT, "disk": {bad: bad for bad in HOSTILE}},
        "reports": {bad[:50]: {"outcome": bad, "summary": bad, "made": bad, "sections": sections} for bad in HOSTILE},
    }


COLUMNS = ["name", "tags", "untagged", "own_bytes", "shared_bytes", "pushed", "pushed_by", "pulled", "worst"]


class Large:
    """10,000 repositories with 200,000 tags, one of them with 20,000; made of numbers alone, without images."""

    MANY, TAGS = 10_000, 20_000

    def __init__(self) -> None:
        self.now = int(time.time())
        self.rows = [self._row(at) for at in range(self.MANY)]

    def _row(self, at: int) -> list:
        worst = ["passed", "", "refused", "unverified"][at % 4]
        return [
            f"group{at // 100:03d}/service-{at:05d}",
            self.TAGS if at == 5 else 18,
            at % 7,
            at * 7919 % (40 << 30),
            at * 104729 % (9 << 30),
            self.now - at * 60,
            ["ci", "release", "nora"][at % 3],
            self.now - at * 30 if at % 5 else None,
            worst,
        ]

    def describe(self, name: str) -> dict:
        many = self.TAGS if name.endswith("-00005") else 18
        digests = [digest_of(f"{name} {at // 2}".encode()) for at in range(many)]
        tags = [
            {
                "name": f"build-{many - at}",
                "digest": digests[at],
                "media_type": MANIFEST,
                "kind": "image",
                "size": at * 977 % (900 * MIB),
                "created": stamp(self.now - at * 100),
                "pushed": self.now - at * 90,
                "pushed_by": "ci",
                "pulled": None,
            }
            for at in range(many)
        ]
        images = {
            digest: {
                "platforms": ["linux/amd64"],
                "signatures": [],
                "attestations": [],
                "scan": scan(high=at % 3),
                "sbom": [],
                "referrers": [],
            }
            for at, digest in enumerate(digests)
        }
        decisions = {
            tag["name"]: {
                "kept": at < 50,
                "reason": "rule 1: is one of the 50 newest" if at < 50 else "no rule keeps it",
            }
            for at, tag in enumerate(tags)
        }
        return {
            "version": 1,
            "name": name,
            "made": stamp(self.now),
            "retention": {"configured": True, "next": None},
            "tags": tags,
            "images": images,
            "decisions": decisions,
            "untagged": [],
            "layers_shared": 0,
            "problems": [],
        }
