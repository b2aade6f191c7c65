"""Serves the page's files with the very headers of the proxy, its data, and a small registry API.

For development and fast tests. `python tests/page/page_server.py` serves the usual set until it is stopped.
Users are admin, dev and reader, each with the password secret.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from page_content import Registry, digest_of, stamp
from page_sets import COLUMNS, Large, usual

FILES = Path(__file__).resolve().parents[2] / "roles" / "reverse_proxy" / "files" / "page"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
REGISTRY = "registry.example.com:5000"
PASSWORD = "secret"


@dataclass(frozen=True)
class User:
    name: str
    sees: str
    delete: list[str] = field(default_factory=list)
    fleet: bool = False


USERS = {
    "admin": User("admin", r".*", [".*"], fleet=True),
    "dev": User("dev", r"(?:team|apps)/.*", ["(?:team/.*)"]),
    "reader": User("reader", r"apps/.*"),
}


def login(user: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Site:
    """A registry with its page. What a test changes: the content, `fail` (status by beginning of a path), `version`."""

    def __init__(self, content: Registry | Large, version: int = 2, csp: str = CSP) -> None:
        self.content, self.version, self.csp = content, version, csp
        self.fail: dict[tuple[str, str], int] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.gone: set[str] = set()
        self.base: dict[str, bytes] = {}
        self.lock = threading.Lock()
        site = self
        handler = type("Handler", (Handler,), {"site": site})
        self.server = Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # ---- the index ---------------------------------------------------------------------------------------------------

    def names(self, user: User) -> list[str]:
        names = [row[0] for row in self.content.rows] if isinstance(self.content, Large) else self.content.repositories
        return sorted(name for name in names if re.fullmatch(user.sees, name, re.DOTALL))

    def rows(self, user: User) -> list[list]:
        if isinstance(self.content, Large):
            return self.content.rows
        return [self.content.row(name) for name in self.names(user)]

    def index(self, user: User) -> dict:
        """The base is what there was at first; what came after it is told as changes, as the index program does."""
        rows = self.rows(user)
        if user.name not in self.base:
            self.base[user.name] = json.dumps({"columns": COLUMNS, "rows": rows}).encode()
        first = {row[0]: row for row in json.loads(self.base[user.name])["rows"]}
        now = {row[0] for row in rows}
        changes: list = [row for row in rows if first.get(row[0]) != row]
        changes += [{"gone": name} for name in first if name not in now]
        hash_ = hashlib.sha256(self.base[user.name]).hexdigest()[:12]
        retention = self.content.retention if isinstance(self.content, Registry) else {"configured": True, "next": None}
        return {
            "version": 1,
            "made": stamp(time.time() // 3600 * 3600),
            "registry": REGISTRY,
            "base": f"index-{hash_}.json",
            "changes": changes,
            "delete": user.delete,
            "fleet": user.fleet and bool(getattr(self.content, "fleet", None)),
            "retention": retention,
            "complete": getattr(self.content, "complete", True),
            "storage": {"size": 500 << 30, "free": 181 << 30} if user.fleet else None,
        }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # A browser opens several connections at once, and one that finds no place here waits for seconds.
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A browser that closes a connection is no error."""


class Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # noqa: A002
        """What was asked is in Site.requests."""

    def _any(self) -> None:
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = self.headers.get("Authorization", "")
        self.user = next((user for user in USERS.values() if given == login(user.name)), None)
        with self.site.lock:
            self.site.requests.append((self.command, self.path, self.user.name if self.user else ""))
        if path == "/page/logout" and given == login("logout", ""):
            self.reply(200)
        elif self.user is None or path == "/page/logout":
            self.reply(
                401,
                b"<!DOCTYPE html><title>Log in</title><p>Log in with your account of this registry.",
                "text/html",
                {"WWW-Authenticate": 'Basic realm="registry"'},
            )
        else:
            for (method, start), status in self.site.fail.items():
                if method == self.command and path.startswith(start):
                    self.error(status, "REFUSED", f"a test wants {status}")
                    return
            self.route(path)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815

    def route(self, path: str) -> None:
        if path.startswith("/v2/"):
            self.registry(path)
        elif self.command not in ("GET", "HEAD"):
            self.reply(405)
        elif path.startswith("/page/data/"):
            self.data(path[len("/page/data/") :])
        elif path == "/":
            self.file("index.html")
        elif re.fullmatch(r"/page/[a-z0-9][a-z0-9_-]*\.(js|css|svg|html|woff2)", path):
            self.file(path[len("/page/") :])
        else:
            self.reply(404)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def reply(
        self, status: int, body: bytes = b"", kind: str = "application/json", headers: dict | None = None
    ) -> None:
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if status == 200 and self.headers.get("If-None-Match") == tag:
            status, body = 304, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("ETag", tag)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, message: str) -> None:
        self.reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def file(self, name: str) -> None:
        path = FILES / name
        if not path.is_file():
            self.reply(404)
            return
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": self.site.csp}
        self.reply(200, path.read_bytes(), TYPES[path.suffix], headers)

    def json(self, document: object, cache: str = "no-store", headers: dict | None = None) -> None:
        self.reply(200, json.dumps(document).encode(), headers={"Cache-Control": cache, **(headers or {})})

    def data(self, name: str) -> None:
        site, user, content = self.site, self.user, self.site.content
        if name == "index.json":
            self.json(site.index(user), headers={"X-Wharf-User": user.name})
        elif name.startswith("index-") and user.name in site.base:
            self.reply(200, site.base[user.name], headers={"Cache-Control": "private, max-age=31536000, immutable"})
        elif name == "fleet.json" and user.fleet and getattr(content, "fleet", None):
            self.json(content.fleet)
        elif name.startswith("repositories/") and name[len("repositories/") : -len(".json")] in site.names(user):
            self.json(content.describe(name[len("repositories/") : -len(".json")]))
        elif name.startswith("digests/") and isinstance(content, Registry):
            digest = name[len("digests/") : -len(".json")].replace("-", ":")
            tags = content.elsewhere(digest, site.names(user))
            if len({tag.partition(":")[0] for tag in tags}) > 1:
                self.json({"digest": digest, "tags": tags})
            else:
                self.reply(404)
        else:
            self.reply(404)

    # ---- the registry's API ------------------------------------------------------------------------------------------

    def registry(self, path: str) -> None:
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(uploads/.*|[^/]+)", path)
        if not found or not re.fullmatch(self.user.sees, found[1]):
            self.error(404, "NAME_UNKNOWN", "repository name not known to registry")
            return
        name, kind, reference = found.groups()
        deletes = any(re.fullmatch(pattern, name) for pattern in self.user.delete)
        if self.command in ("PUT", "POST", "DELETE") and not deletes:
            self.error(403, "DENIED", "requested access to the resource is denied")
        elif kind == "manifests":
            with self.site.lock:
                self.manifest(name, reference)
        else:
            self.blob(name, reference)

    def blob(self, name: str, reference: str) -> None:
        content = self.site.content
        if reference.startswith("uploads/"):
            if self.command == "POST":
                self.reply(202, headers={"Location": f"/v2/{name}/blobs/uploads/1234?_state=abc"})
            else:
                query = urllib.parse.parse_qs(self.path.partition("?")[2])
                right = query["digest"] == [digest_of(self.body)] and query["_state"] == ["abc"]
                content.blob(self.body)
                self.reply(201 if right else 400)
        elif reference in content.blobs:
            self.reply(200, content.blobs[reference], "application/octet-stream", {"Docker-Content-Digest": reference})
        else:
            self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")

    def manifest(self, name: str, reference: str) -> None:
        content, site = self.site.content, self.site
        tags = content.repositories[name].tags
        digest = reference if ":" in reference else (tags[reference].digest if reference in tags else "")
        if self.command == "PUT":
            from page_content import Tag

            put = digest_of(self.body)
            content.manifests[put] = self.body, self.headers["Content-Type"]
            if ":" not in reference:
                tags[reference] = Tag(put, int(time.time()), self.user.name)
            self.reply(201, headers={"Docker-Content-Digest": put})
        elif self.command == "DELETE":
            self.delete(reference, tags)
        elif digest in content.manifests and digest not in site.gone:
            body, media_type = content.manifests[digest]
            self.reply(200, body, media_type, {"Docker-Content-Digest": digest})
        else:
            self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def delete(self, reference: str, tags: dict) -> None:
        content = self.site.content
        if ":" not in reference:
            if self.site.version == 2:
                self.error(405, "UNSUPPORTED", "The operation is unsupported.")
            elif tags.pop(reference, None):
                self.reply(202)
            else:
                self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        elif content.manifests.pop(reference, None) is None:
            self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        else:
            # A digest goes with every tag that points to it.
            for tag in [tag for tag, found in tags.items() if found.digest == reference]:
                del tags[tag]
            self.reply(202)


if __name__ == "__main__":
    site = Site(usual())
    sys.stdout.write(f"{site.url.replace('//', '//admin:' + PASSWORD + '@')}\n")
    sys.stdout.flush()
    threading.Event().wait()
