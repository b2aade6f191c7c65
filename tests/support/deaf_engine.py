"""An engine that is told to reload, says nothing, and believes what it believed before: no real one does that.

Usage: deaf_engine.py --host=unix://SOCKET [--config-file=FILE] [--write-on-reload]; prints a dot for each SIGHUP.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

BELIEF = {
    "ServerVersion": "0.0-deaf",
    "RegistryConfig": {
        "IndexConfigs": {"docker.io": {"Secure": True}, "old:1": {"Secure": False}},
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "Mirrors": [],
    },
}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(BELIEF).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return ""

    def log_message(self, *_arguments):
        pass


def value(flag):
    return next((word.partition("=")[2] for word in sys.argv if word.startswith(flag + "=")), "")


def reload(_number, _frame):
    os.write(1, b".")
    if "--write-on-reload" in sys.argv:
        pathlib.Path(value("--config-file")).write_text('{"somebody": "else"}')


if __name__ == "__main__":
    # Modules look at the name of a process before they send it a signal.
    pathlib.Path("/proc/self/comm").write_text("dockerd")
    signal.signal(signal.SIGHUP, reload)
    with socketserver.ThreadingUnixStreamServer(value("--host").removeprefix("unix://"), Answer) as server:
        os.write(1, b"!")
        server.serve_forever()
