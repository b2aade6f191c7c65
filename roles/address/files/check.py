"""Ends with 0 where a registry answers through the proxy of this host, over TLS with the right certificate.

Usage: check.py ADDRESS PORT HOSTNAME CA STATUSES. CA is a file, or "-" for the CAs that the host trusts.

What fails at once, such as a refused connection, is tried once more: a proxy that is replaced refuses for a moment.
What is only late is waited for: the load of a busy host would be another one's next.

keepalived starts it once a second, so it imports little.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time

# By then, a proxy that has said nothing hangs. Less than what keepalived gives to this program.
SECONDS = 8
PAUSE = 1
LINE = 64


def main(address, port, hostname, ca, statuses):
    end = time.monotonic() + SECONDS
    context = ssl.create_default_context(cafile=None if ca == "-" else ca)
    for pause in (PAUSE, 0):
        try:
            if status(context, (address, int(port)), hostname, end) in statuses.split(","):
                return True
        except OSError:
            pass
        if time.monotonic() + pause >= end:
            return False
        time.sleep(pause)
    return False


def status(context, address, hostname, end):
    """What the proxy says of the registry, by then."""
    request = f"GET /healthz HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(address, left(end)) as plain:
        plain.settimeout(left(end))
        with context.wrap_socket(plain, server_hostname=hostname) as secured:
            secured.sendall(request.encode())
            secured.settimeout(left(end))
            answer = b""
            while b"\r\n" not in answer and len(answer) < LINE:
                part = secured.recv(LINE)
                if not part:
                    break
                answer += part
    words = answer.split()
    return words[1].decode("latin-1") if len(words) > 1 and words[0].startswith(b"HTTP/1.") else ""


def left(end):
    """Seconds, and never 0, which would mean not to wait at all."""
    return max(0.01, end - time.monotonic())


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
