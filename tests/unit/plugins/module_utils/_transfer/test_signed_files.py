"""A directory of files on a medium: signed, verified by this code and by the tools of a bare host, and refused."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.signed_files import sign_files, verify_files


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two key pairs, by the paths of their private keys."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("near", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    return folder / "near", folder / "other"


@pytest.fixture
def site(tmp_path, keys):
    site = tmp_path / "site"
    for name in ("README", "packages/a.deb", "packages/with space.deb", "images/registry.tar"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(name.encode() * 1000)
    assert sign_files(str(site), str(keys[0])) == (4, True)
    return site


def public(key):
    return [(key.parent / f"{key.name}.pub").read_text()]


def test_the_same_is_signed_once(site, keys):
    near, other = map(str, keys)
    assert verify_files(str(site), public(keys[0])) == 4
    assert sign_files(str(site), near) == (4, False)
    assert sign_files(str(site), other, dry_run=True) == (4, True)
    assert verify_files(str(site), public(keys[0])) == 4
    (site / "new").write_text("new")
    assert sign_files(str(site), near) == (5, True)
    assert verify_files(str(site), public(keys[0])) == 5


def test_a_bare_host_verifies_it_by_its_own_tools(site, keys, tmp_path):
    (tmp_path / "signers").write_text(f"bundle {public(keys[0])[0]}")
    arguments = ["-f", tmp_path / "signers", "-I", "bundle", "-n", "wharf.registry", "-s", "SHA256SUMS.sig"]
    with (site / "SHA256SUMS").open("rb") as listed:
        subprocess.run(["ssh-keygen", "-Y", "verify", *arguments], check=True, cwd=site, stdin=listed)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], check=True, cwd=site)


def flip(site):
    path = site / "images" / "registry.tar"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "images/registry.tar does not match its checksum"),
        (lambda site: (site / "README").unlink(), "README is missing"),
        (lambda site: (site / "packages" / "evil.deb").write_text("x"), "packages/evil.deb is not signed"),
        (lambda site: (site / "SHA256SUMS").write_text("x"), "is not signed by a key of trusted_keys, or was changed"),
        (lambda site: (site / "SHA256SUMS.sig").unlink(), "has no signature"),
        (lambda site: (site / "SHA256SUMS").unlink(), "SHA256SUMS does not exist"),
    ],
)
def test_what_was_changed_is_refused_and_named(site, keys, damage, said):
    damage(site)
    with pytest.raises(RegistryError, match=said):
        verify_files(str(site), public(keys[0]))


def test_a_foreign_signature_is_refused(site, keys):
    with pytest.raises(RegistryError, match="is not signed by a key of trusted_keys"):
        verify_files(str(site), public(keys[1]))
    sign_files(str(site), str(keys[1]))
    with pytest.raises(RegistryError, match="is not signed by a key of trusted_keys"):
        verify_files(str(site), public(keys[0]))


def test_no_directory(tmp_path, keys):
    with pytest.raises(InputError, match="is no directory"):
        sign_files(str(tmp_path / "none"), str(keys[0]))
