# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cosign, which signs and verifies files, offline and by keys. Private to this collection.

It gets files alone: what is signed of an image is its manifest, or a document that names its digest. So it needs no
login, no CA and no network, but for a key in a KMS, and what it makes is put into the registry by this collection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean

# By which both versions know that an attestation of cosign 3 is the signature of an image.
SIGNATURE_TYPE = "https://sigstore.dev/cosign/sign/v1"
# Short names of cosign, and what they mean, as its bundles name them.
PREDICATES = {
    "cyclonedx": "https://cyclonedx.org/bom",
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "spdxjson": "https://spdx.dev/Document",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
}
_KMS = re.compile(r"(?:awskms|azurekms|gcpkms|hashivault|k8s)://\S+")
_PUBLIC = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
# An empty one: nothing but the keys that are given is trusted, and no network is asked for another.
_NO_ROOT = b'{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
# For plugins of a KMS, which take their credentials from the environment.
_DROPPED = ("COSIGN_", "SIGSTORE_", "TUF_")
_TIMEOUT = 120


class CosignError(RegistryError):
    """What cosign could not do."""


def is_kms(key):
    """Whether a key lies in a KMS, by its URI."""
    return bool(_KMS.fullmatch(key))


def predicate_type(name):
    """The URI of a type, which may be one of the short names of cosign. Raises InputError."""
    found = PREDICATES.get(name, name)
    if not re.fullmatch(r"https?://\S+", found):
        raise InputError(
            f"{name!r} is no type of an attestation", f"Give a URI, or one of {', '.join(sorted(PREDICATES))}"
        )
    return found


class PublicKey:
    """A public key: PEM, the path of a file with it, or the URI of a KMS. number and option are for messages."""

    def __init__(self, text, number, option="keys"):
        where = f"{option}[{number}]"
        self.reference = text.strip()
        self.pem = ""
        if is_kms(self.reference):
            self.name = self.reference
            return
        self.pem = self.reference if "-----BEGIN" in self.reference else _read_key(self.reference, where)
        found = _PUBLIC.fullmatch(self.pem.strip() + "\n")
        try:
            content = base64.b64decode("".join(found.group(1).split()), validate=True) if found else b""
        except binascii.Error:
            content = b""
        if not content:
            raise InputError(
                f"{where} is no public key in PEM", "Give the content of a file such as cosign.pub, or its path"
            )
        self.name = "SHA256:" + base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _read_key(path, where):
    try:
        with open(os.path.expanduser(path), encoding="ascii", errors="replace") as file:
            return file.read(1 << 16)
    except OSError as error:
        raise InputError(
            f"{where} is {path!r}, which can't be read: {error.strerror}",
            "Give PEM, or the path of a file on this host",
        ) from None


class Cosign:
    """The program. Its files lie in a directory that is removed at the end: use it by `with`."""

    def __init__(self, program="cosign"):
        self._program = find(program)
        if self._program is None:
            raise CosignError(f"There is no program {program} here", "Install the package cosign on this host")
        self._options = {}
        self._place = None

    def __enter__(self):
        try:
            self._place = tempfile.TemporaryDirectory(prefix="wharf-cosign-")
        except OSError as error:
            raise _no_place(error) from None
        return self

    def __exit__(self, *_exception):
        self._place.cleanup()

    def _file(self, name, content):
        path = os.path.join(self._place.name, name)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
        except OSError as error:
            raise _no_place(error) from None
        return path

    def _has(self, command, option):
        """Whether this version knows an option of a command. Debian's builds tell no version."""
        if command not in self._options:
            self._options[command] = " ".join(run([self._program, command, "--help"], _TIMEOUT)[1:])
        return f"{option}=" in self._options[command] or f"{option} " in self._options[command]

    def _run(self, command, options, password=None):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        # An empty one keeps it from asking on the terminal.
        environment.update(COSIGN_PASSWORD=password or "", HOME=self._place.name)
        return run([self._program, command, *options], _TIMEOUT, env=environment, cwd=self._place.name)

    # --- signing ------------------------------------------------------------------------------------------------------

    def public_key(self, key, password):
        """The PublicKey of a private one. Raises CosignError."""
        status, told, errors = self._run("public-key", ["--key", key], password)
        if status != 0:
            raise self._no_key(key, errors)
        return PublicKey(told, 1, "key")

    def sign(self, payload, key, password):
        """The signature of bytes, in base64. Raises CosignError."""
        path, target = self._file("payload", payload), os.path.join(self._place.name, "signature")
        options = [*self._offline("sign-blob", bundle=False), "--key", key, "--output-signature", target, path]
        status, _told, errors = self._run("sign-blob", options, password)
        if status != 0:
            raise self._no_key(key, errors)
        with open(target, encoding="ascii", errors="replace") as file:
            return file.read().strip()

    def attest(self, manifest, kind, predicate, key, password):
        """The bundle that says this of the content of a manifest. Raises CosignError."""
        subject, said = self._file("manifest.json", manifest), self._file("predicate", predicate)
        target = os.path.join(self._place.name, "bundle")
        options = [*self._offline("attest-blob", bundle=True), "--key", key, "--type", kind]
        status, _told, errors = self._run(
            "attest-blob", [*options, "--predicate", said, "--bundle", target, subject], password
        )
        if status != 0:
            raise self._no_key(key, errors)
        with open(target, "rb") as file:
            return file.read()

    def _offline(self, command, bundle):
        options = ["--yes", "--tlog-upload=false", f"--new-bundle-format={'true' if bundle else 'false'}"]
        return [*options, "--use-signing-config=false"] if self._has(command, "--use-signing-config") else options

    def _no_key(self, key, errors):
        said = _last(errors)
        if "decrypt" in said or "password" in said:
            return CosignError(f"{key} can't be opened: {said}", "Correct key_password")
        return CosignError(f"cosign can't use {key}: {said}", "Give a private key of cosign, or the URI of a KMS")

    # --- verifying ----------------------------------------------------------------------------------------------------

    def _key(self, key):
        return self._file("key.pub", key.pem.encode()) if key.pem else key.reference

    def is_signed(self, payload, signature, key):
        """Whether the signature, in base64, is of these bytes, and by this PublicKey."""
        options = ["--key", self._key(key), "--signature", self._file("signature.in", signature.encode())]
        options += ["--insecure-ignore-tlog=true", "--new-bundle-format=false", self._file("payload.in", payload)]
        return self._run("verify-blob", options)[0] == 0

    def is_attested(self, manifest, attestation, kind, key, *, bundle):
        """Whether a bundle, or an envelope as cosign 2 kept it, says something of this type of a manifest's content."""
        options = ["--key", self._key(key), "--type", kind, "--insecure-ignore-tlog=true"]
        options += [f"--new-bundle-format={'true' if bundle else 'false'}"]
        options += ["--bundle" if bundle else "--signature", self._file("attestation.in", attestation)]
        if bundle:
            options += ["--trusted-root", self._file("root.json", _NO_ROOT)]
        return self._run("verify-blob-attestation", [*options, self._file("manifest.in", manifest)])[0] == 0


def _no_place(error):
    what = f"The temporary directory can't be used: {error.strerror or error}"
    return CosignError(what, "Check its free space and rights")


def _last(errors):
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    wanted = [line for line in lines if line.startswith("Error: ")] or lines
    return clean(wanted[0].replace("Error: ", "", 1)) if wanted else "it says nothing"
