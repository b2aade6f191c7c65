# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS settings of connections to a registry. Private to this collection."""

from __future__ import annotations

import glob
import os
import ssl
import threading

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

# Where engines look for the CAs (*.crt) and the client certificates (*.cert with *.key) of one registry.
CERTIFICATE_DIRECTORIES = (
    "/etc/docker/certs.d",
    "/etc/containers/certs.d",
    "/etc/containerd/certs.d",
    "/etc/rancher/k3s/certs.d",
    "/etc/rancher/rke2/certs.d",
    "~/.config/docker/certs.d",
    "~/.config/containers/certs.d",
)

_VERIFY_X509_PARTIAL_CHAIN = 0x80000  # in the ssl module since Python 3.10
_VERIFY_X509_STRICT = 0x20


class TLSConfig:
    """The CAs that are trusted and the client certificate that is shown, for all connections to one registry.

    Without ca_path the CAs are those of the system, and those that engines trust for this registry.
    """

    def __init__(self, host, ca_path=None, client_cert=None, client_key=None, validate_certs=True):
        self._host = host
        self._ca_path = ca_path
        self._client_cert = client_cert
        self._client_key = client_key
        self._validate_certs = validate_certs
        self._context = None
        self._lock = threading.Lock()

    @property
    def context(self):
        """The ssl.SSLContext. Raises InputError that names the file at fault."""
        # Reading the CAs of a system takes as long as a dozen requests: once will do for all threads.
        with self._lock:
            if self._context is None:
                self._context = self._make()
            return self._context

    def _make(self):
        context = self._verifying() if self._validate_certs else ssl.create_default_context()
        if not self._validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for certificate, key in self._client_certificates():
            _read("client certificate", certificate, context.load_cert_chain, certificate, key, _no_passphrase)
        return context

    def _verifying(self):
        if self._ca_path:
            context = _read("ca_path", self._ca_path, lambda: ssl.create_default_context(cafile=self._ca_path))
        else:
            context = ssl.create_default_context()
            for path in self._of_registry("*.crt"):
                _read("CA", path, context.load_verify_locations, path)
        # The rules of Docker and Podman, whatever Python runs this: any certificate that is trusted ends the chain,
        # a name in the subject does not count, and a CA without the newest extensions is a CA.
        context.verify_flags = (context.verify_flags | _VERIFY_X509_PARTIAL_CHAIN) & ~_VERIFY_X509_STRICT
        context.hostname_checks_common_name = False
        return context

    def _client_certificates(self):
        if self._client_cert:
            return [(self._client_cert, self._client_key)]
        pairs = [(path, path[: -len("cert")] + "key") for path in self._of_registry("*.cert")]
        # Docker may keep keys that only root can read: such a pair is not for this account.
        return [pair for pair in pairs if all(os.access(path, os.R_OK) for path in pair)]

    def _of_registry(self, pattern):
        folders = [os.path.join(os.path.expanduser(folder), self._host) for folder in CERTIFICATE_DIRECTORIES]
        return [path for folder in folders for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))]


def _no_passphrase():
    """Keeps OpenSSL from asking for one on the terminal."""
    return ""


def _read(what, path, load, *arguments):
    try:
        return load(*arguments)
    except ssl.SSLError as error:
        raise InputError(
            f"{what} {path} can't be used: {error.reason or error}",
            "It must hold certificates in PEM, and its key must fit it and have no passphrase",
        ) from None
    except OSError as error:
        raise InputError(
            f"{what} {path} can't be read: {error.strerror or error}",
            "Correct the path, or the permissions of the file",
        ) from None
