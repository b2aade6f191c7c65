"""The guides on mirrors, the air gap and the gate do what they say.

Nothing is repeated here of what a page says: its examples are the inventories, and its consoles are run line by line.
Only the keys of the example give way to those that its first command makes.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
import vulnerable
from http_client import OCI
from reader import GATE, GATE_ONCE, Guide, as_reader, module, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from content import Content
    from reader import Site


def changes(said: str) -> int:
    """How many tasks changed something on the registry hosts."""
    return sum(int(count) for count in re.findall(r"^(?:near|far) .*changed=(\d+)", said, re.MULTILINE))


def for_platforms(hub: Content, repository: str, tag: str) -> None:
    """Put an image for two platforms, of which engines can unpack the one that this machine is."""
    amd64 = {**hub.real_image(repository, None), "platform": {"os": "linux", "architecture": "amd64"}}
    arm64 = {
        **hub.image(repository, None, architecture="arm64"),
        "platform": {"os": "linux", "architecture": "arm64"},
    }
    kind = "application/vnd.oci.image.index.v1+json"
    hub.manifest(repository, tag, {"schemaVersion": 2, "mediaType": kind, "manifests": [amd64, arm64]}, kind)


@pytest.fixture(scope="module")
def keys(sites: dict[str, Site]) -> dict[str, str]:
    """The public key of each side, made by the page's own commands on its registry host."""
    found = {}
    for name, site in sites.items():
        said = [
            site.host.output(line.removeprefix("# ")) for line in TestCrossAnAirGap.guide.commands("Once: two keys")
        ]
        found[name] = " ".join(said[-1].split()[:2])
        site.host.run("mkdir -p /media/usb")
    return found


class TestMirrorDockerHub:
    TITLE = "Mirror Docker Hub in ten minutes"
    guide = Guide("mirrors.rst")

    def test_it_copies_what_the_example_names(self, sites: dict[str, Site], hub: Content, checkout: Path) -> None:
        for tag in ("1.25.9", "1.26.2", "1.27.3", "2.0.0"):
            for_platforms(hub, "library/nginx", tag)
        for tag in ("3.20.3", "3.21.0"):
            for_platforms(hub, "library/alpine", tag)
        near = sites["near"]
        near.says(self.guide.yaml(self.TITLE))
        looks, copies, pulls = [line for line in self.guide.commands(self.TITLE) if line.startswith("$")]
        assert "3 of 3 images would be copied" in as_reader(looks, checkout)
        with near.registry.content("runtime") as registry:
            assert not registry.tags("mirror/nginx")
            assert "3 of 3 images are here" in as_reader(copies, checkout)
            assert registry.tags("mirror/nginx") == ["1.26.2", "1.27.3"]
            assert registry.tags("mirror/library/alpine") == ["3.20.3"]
            # One platform of two was asked for.
            assert registry.digest("mirror/nginx", "1.27.3") != hub.digest("library/nginx", "1.27.3")
            assert registry.digest("mirror/library/alpine", "3.20.3") == hub.digest("library/alpine", "3.20.3")
        near.host.run(pulls.removeprefix("$ "))
        assert changes(as_reader(copies, checkout)) == 0

    @pytest.mark.usefixtures("hub")
    def test_engines_keep_the_names(self, sites: dict[str, Site], checkout: Path) -> None:
        """The section "Keep the names of the images", by the rule that its comment shows."""
        (example,) = self.guide.blocks("Keep the names of the images", "yaml")
        rule = re.search(r"\{repository: library/nginx, to: (\S+)\}", example)[1]
        mirror = re.search(r"docker\.io: https://registry\.example\.com/(\S+)", example)[1]
        assert rule == f"{mirror}/"
        near = sites["near"]
        near.says(self.guide.yaml(self.TITLE).replace("to: mirror/nginx", f"to: {rule}") + "\n" + example)
        as_reader("$ ansible-playbook -i inventories/production playbooks/mirror.yml", checkout)
        with near.registry.content("runtime") as registry:
            assert registry.tags(f"{mirror}/library/nginx") == ["1.26.2", "1.27.3"]

    def test_a_user_of_its_own(self, sites: dict[str, Site], checkout: Path) -> None:
        """The section "Which user copies". The users of the lab stay beside those of the page."""
        own = self.guide.yaml("Which user copies").replace("{{ vault_mirror_password }}", "of-the-lab-and-of-no-worth")
        near = sites["near"]
        near.says(self.guide.yaml(self.TITLE) + "\n" + own.replace("reverse_proxy_users:", "guide_users:"))
        as_reader("$ ansible-playbook -i inventories/production playbooks/site.yml", checkout)
        said = as_reader("$ ansible-playbook -i inventories/production playbooks/mirror.yml", checkout)
        assert "3 of 3 images are here" in said
        settings = near.host.output("cat /etc/wharf-registry/mirror.json")
        assert json.loads(settings)["mirrors"][0]["options"]["destination"]["username"] == "mirror"


class TestCrossAnAirGap:
    guide = Guide("bundles.rst")

    def write(self, sites: dict[str, Site], keys: dict[str, str], number: int) -> None:
        """Write the inventories of the page for a bundle, the first of which has no receipt to go by."""
        for name, section in (("near", "At the near site"), ("far", "At the far site")):
            text = self.guide.yaml(section).replace("bundle-42", f"bundle-{number}")
            for other, key in keys.items():
                text = re.sub(rf"ssh-ed25519 \S+ {other}$", f"{key} {other}", text, flags=re.MULTILINE)
            if name == "near" and number == 1:
                text, left_out = re.subn(r"^bundle_receipt: .*\n", "", text, flags=re.MULTILINE)
                assert left_out == 1
            sites[name].says(text)

    def carry(self, sites: dict[str, Site], origin: str, target: str) -> None:
        """The medium goes to the other side."""
        host, other = sites[origin].host.container, sites[target].host.container
        medium = subprocess.run(
            ["docker", "exec", host, "tar", "-C", "/media", "-c", "usb"], capture_output=True, check=True
        )
        subprocess.run(["docker", "exec", "-i", other, "tar", "-C", "/media", "-x"], input=medium.stdout, check=True)

    def test_images_cross_and_a_receipt_comes_back(
        self, sites: dict[str, Site], keys: dict[str, str], checkout: Path
    ) -> None:
        near, far = sites["near"], sites["far"]
        with near.registry.content("ci") as registry:
            for tag in ("1.4.2", "2.0.0"):
                registry.real_image("apps/web", tag)
        self.write(sites, keys, 1)
        check, out = self.guide.commands("At the near site")
        assert changes(as_reader(check, checkout)) == 1
        near.host.run("test ! -e /media/usb/bundle-1")
        as_reader(out, checkout)
        self.carry(sites, "near", "far")
        check, come_in = self.guide.commands("At the far site")
        with far.registry.content("runtime") as there, near.registry.content("runtime") as here:
            as_reader(check, checkout)
            assert not there.tags("apps/web")
            as_reader(come_in, checkout)
            assert there.tags("apps/web") == ["1.4.2"]
            for repository, tag in (("apps/web", "1.4.2"), ("mirror/nginx", "1.26.2"), ("mirror/nginx", "1.27.3")):
                assert there.digest(repository, tag) == here.digest(repository, tag)
        assert changes(as_reader(come_in, checkout)) == 0
        self.carry(sites, "far", "near")

    def test_the_next_bundle_holds_what_is_missing(
        self, sites: dict[str, Site], keys: dict[str, str], checkout: Path
    ) -> None:
        near, far = sites["near"], sites["far"]
        with near.registry.content("ci") as registry:
            registry.real_image("apps/web", "1.5.0")
        self.write(sites, keys, 43)
        as_reader(self.guide.commands("At the near site")[-1], checkout)
        first, next_one = (int(near.host.output(f"du -sb /media/usb/bundle-{n}").split()[0]) for n in (1, 43))
        assert next_one < first
        self.carry(sites, "near", "far")
        as_reader(self.guide.commands("At the far site")[-1], checkout)
        with far.registry.content("runtime") as there:
            assert there.tags("apps/web") == ["1.4.2", "1.5.0"]
            there.pull("apps/web", "1.5.0")


class TestReleaseThatCannotBeBypassed:
    TITLE = "A release that cannot be bypassed"
    ONCE = GATE_ONCE
    guide = GATE

    def sign(self, near: Site, checkout: Path, image: str) -> None:
        """The build signs what it has pushed."""
        options = {"registry": near.registry.hostname, "image": image, "key": "/etc/wharf-registry/gate/build.key"}
        options |= {"username": "ci", "password": near.registry.password("ci")}
        module(near, checkout, "wharf.registry.registry_sign", options)

    def promote(self, checkout: Path, version: str, *more: str) -> tuple[str, int]:
        """What the page's command says, with another version, and its exit status."""
        _check, command = self.guide.commands("Promote")
        prompt, program, *arguments = shlex.split(command.replace("1.4.2", version))
        assert (prompt, program) == ("$", "ansible-playbook")
        done = run(*arguments, *more, cwd=checkout)
        return " ".join(done.stdout.split()), done.returncode

    def test_what_is_not_signed_is_refused(self, near: Site, checkout: Path) -> None:
        with near.registry.content("ci") as registry:
            vulnerable.put_image(registry, "staging/web", "1.6.2")
            vulnerable.put_image(registry, "staging/web", "1.6.3", vulnerable.MENDED)
        said, status = self.promote(checkout, "1.6.3")
        assert status != 0 and "has no signature. Sign it" in said

    def test_what_has_a_vulnerability_is_refused(self, near: Site, checkout: Path) -> None:
        self.sign(near, checkout, "staging/web:1.6.2")
        for more in (["--check"], []):
            said, status = self.promote(checkout, "1.6.2", *more)
            assert status != 0 and "is refused: CVE-2026-0001 (critical) in libssl3 3.0.11-1, fixed in 3.0.15-1" in said
        with near.registry.content("runtime") as registry:
            assert "1.6.2" not in registry.tags("apps/web")

    def test_the_rest_is_promoted_and_signed(self, near: Site, checkout: Path) -> None:
        self.sign(near, checkout, "staging/web:1.6.3")
        for more, changed in ((["--check"], 1), ([], 3), (["--check"], 0), ([], 0)):
            said, status = self.promote(checkout, "1.6.3", *more)
            assert status == 0, said
            assert changes_of(said) == changed, said
        assert "apps/web:1.6.3 is staging/web:1.6.3 (sha256:" in said
        with near.registry.content("runtime") as registry, near.registry.content("ci") as staging:
            assert registry.digest("apps/web", "1.6.3") == staging.digest("staging/web", "1.6.3")
        release = f"{near.registry.hostname}/apps/web:1.6.3"
        keys = "--key /etc/wharf-registry/gate/cosign.pub --insecure-ignore-tlog=true"
        near.host.run(f"SSL_CERT_FILE=/etc/wharf-registry/certificate/ca.crt cosign verify {keys} {release}")

    @pytest.mark.parametrize(
        ("user", "told"), [("ci", "may not"), ("runtime", "may not"), ("promoter", "is immutable")]
    )
    def test_the_gate_is_the_only_way(self, near: Site, user: str, told: str) -> None:
        """The build and the hosts may not write a release, and the promoter itself may not move one."""
        with near.registry.content("ci") as registry:
            bad = registry.ask("GET", "/v2/staging/web/manifests/1.6.2", Accept=OCI)
        password = near.registry.users.get(user, {}).get("password", f"of-the-lab-and-of-no-worth-{user}")
        headers = {"Content-Type": OCI}
        options = {"password": password, "headers": headers, "body": bad.body}
        answer = near.registry.request("PUT", "/v2/apps/web/manifests/1.6.3", user, **options)
        assert answer.status == 403 and told in answer.body.decode()


class TestWhatRunsWhere:
    TITLE = "What runs where, and what is wrong with it"
    NAME = "staging/shop"
    guide = Guide("exposure.rst")

    def told(self, checkout: Path, *more: str) -> str:
        """What the page's first command says, in one line."""
        (command,) = self.guide.commands(self.TITLE)
        return " ".join(as_reader(shlex.join([*shlex.split(command), *more]), checkout).split())

    @pytest.fixture(scope="class")
    def running(self, near: Site) -> dict[str, str]:
        """Digests: of an image that runs, and of one that does not, both of which a tag has left since."""
        gate = "".join(TestReleaseThatCannotBeBypassed.guide.blocks(TestReleaseThatCannotBeBypassed.ONCE, "yaml"))
        near.says(gate + self.guide.yaml("Every night"))
        name = f"{near.registry.hostname}/{self.NAME}:1.0"
        near.host.run("apt-get -qq install --no-install-recommends busybox-static >/dev/null")
        found = {}
        with near.registry.content("ci") as registry:
            found["idle"] = vulnerable.put_image(registry, self.NAME, "1.0", files={"idle": b"it"})["digest"]
            found["runs"] = vulnerable.put_image(registry, self.NAME, "1.0")["digest"]
        # The login of the host is that of a user who may not pull it.
        near.host.run(
            "export DOCKER_CONFIG=$(mktemp -d); "
            f"docker login --username ci --password-stdin {near.registry.hostname} && "
            f"docker run --detach --name shop --volume /bin/busybox:/busybox:ro {name} /busybox sleep 100000; "
            'rm -r "$DOCKER_CONFIG"',
            stdin=near.registry.password("ci"),
        )
        return found

    @pytest.mark.usefixtures("running")
    def test_four_runs(self, near: Site, checkout: Path) -> None:
        assert "Nothing is installed yet" in self.told(checkout, "--check")
        said = self.told(checkout)
        found = (
            f"near shop {near.registry.hostname}/{self.NAME}:1.0 CVE-2026-0001 (critical) in libssl3 3.0.11-1 3.0.15-1"
        )
        assert found in said and "1 new finding (this is the first run)" in said
        # The containers of the registry itself come from an archive.
        assert "near wharf-proxy " in said and "it was built or loaded on the host" in said
        for more in (["--check"], []):
            said = self.told(checkout, *more)
            assert changes_of(said) == 0 and "0 new findings; 1 finding known from before" in said
        assert near.host.output("systemctl is-enabled wharf-registry-exposure.timer").strip() == "enabled"

    def test_what_runs_is_kept(self, near: Site, checkout: Path, running: dict[str, str]) -> None:
        """The tag moves on: a collection removes what it has left, but for what runs."""
        with near.registry.content("ci") as registry:
            now = vulnerable.put_image(registry, self.NAME, "1.0", vulnerable.MENDED)["digest"]
        assert f"{self.NAME}:1.0 is {now} now" in self.told(checkout)
        as_reader("$ ansible-playbook -i inventories/production playbooks/maintain.yml", checkout)
        with near.registry.content("ci") as registry:
            assert registry.digest(self.NAME, running["idle"]) is None
            assert registry.pull(self.NAME, running["runs"])
            assert registry.digest(self.NAME, "1.0") == now

    def test_without_a_scanner(self, near: Site, checkout: Path, running: dict[str, str]) -> None:
        """The run fails at its end, and collections keep what runs all the same."""
        near.host.run("mv /usr/bin/trivy /usr/bin/trivy-away; rm /etc/wharf-registry/running.json")
        try:
            (command,) = self.guide.commands(self.TITLE)
            done = run(*shlex.split(command)[2:], cwd=checkout)
        finally:
            near.host.run("mv /usr/bin/trivy-away /usr/bin/trivy")
        said = " ".join(done.stdout.split())
        assert done.returncode != 0
        assert (
            "What runs was not scanned on near. Its last words: wharf-registry: exposure: no image was judged: " in said
        )
        assert "There is no program trivy here. Install Trivy on this host" in said
        assert "0 of 1 image of the registry scanned." in said
        kept = json.loads(near.host.output("cat /etc/wharf-registry/running.json"))["digests"]
        assert running["runs"] in kept

    @pytest.fixture
    def bad_night(self, near: Site) -> Iterator[None]:
        """One more vulnerability is known, until the end of the test."""
        known = {**vulnerable.KNOWN, "CVE-2026-0009": ("zlib", "1:1.4-1", 3)}
        with near.registry.content("admin") as registry:
            vulnerable.put_database(registry, "mirror/aquasecurity/trivy-db", "2", known=known)
        yield
        with near.registry.content("admin") as registry:
            vulnerable.put_database(registry, "mirror/aquasecurity/trivy-db", "2")

    @pytest.mark.usefixtures("bad_night")
    def test_every_night(self, near: Site, checkout: Path, running: dict[str, str]) -> None:
        """A vulnerability that becomes known over night is told without Ansible."""
        start, journal = (line.removeprefix("# ") for line in self.guide.commands("Every night"))
        near.host.run(start)
        said = near.host.output(journal)
        assert "CVE-2026-0009 (high) in zlib1g 1:1.2-1" in said and "1 new finding; 1 finding known from before" in said
        (command,) = self.guide.commands("For other programs")
        as_reader(command, checkout)
        report = json.loads((checkout / "reports" / "exposure.json").read_text(encoding="utf-8"))
        (shop,) = [one for one in report["containers"] if one["container"] == "shop"]
        assert (shop["digest"], shop["state"], shop["findings"]) == (running["runs"], "moved", 2)
        # The report stands beside it, and its page.
        assert (report["version"], report["kind"], report["outcome"]) == (1, "exposure", "ok")
        assert "CVE-2026-0009" in (checkout / "reports" / "exposure.html").read_text(encoding="utf-8")
        kept = json.loads(near.host.output("cat /var/lib/wharf-registry/reports/exposure.json"))["data"]["hosts"]
        (run,) = [one for host in kept.values() for one in host["runs"] if one["container"] == "shop"]
        assert (run["digest"], run["moved"]) == (running["runs"], True)
        began = near.host.output("docker inspect --format '{{ .Created }}' shop")
        assert run["since"] == f"{began[:19]}Z"
        assert [host["findings"] for host in kept.values() if host["runs"]] == [{"critical": 1, "high": 1}]


def changes_of(said: str) -> int:
    return sum(int(count) for count in re.findall(r"changed=(\d+)", said.rpartition("PLAY RECAP")[2]))
