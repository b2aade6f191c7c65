"""Ends with 0 where a registry answers through the proxy of this host, over TLS with the right certificate.

Usage: check.py ADDRESS PORT HOSTNAME CA STATUSES. CA is a file, or "-" for the CAs that the host trusts.

keepalived starts it once a second, so it imports little.
"""

from __future__ import annotations

import socket
import ssl
import sys

# For each step. keepalived ends it after 8 seconds, with the same effect.
SECONDS = 6
LINE = 64


def main(address, port, hostname, ca, statuses):
    context = ssl.create_default_context(cafile=None if ca == "-" else ca)
    request = f"GET /healthz HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address, int(port)), SECONDS) as plain, context.wrap_socket(
        plain, server_hostname=hostname
    ) as secured:
        secured.sendall(request.encode())
        answer = b""
        while b"\r\n" not in answer and len(answer) < LINE:
            part = secured.recv(LINE)
            if not part:
                break
            answer += part
    words = answer.split()
    return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].decode("latin-1") in statuses.split(",")


if __name__ == "__main__":
    try:
        sys.exit(0 if main(*sys.argv[1:]) else 1)
    except OSError:
        sys.exit(1)
