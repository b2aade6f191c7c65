"""A token server as the Distribution project specifies it, on loopback, whose tokens a real registry believes.

https://distribution.github.io/distribution/spec/auth/token/ (GET) and .../oauth/ (POST)
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.server
import json
import secrets
import ssl
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from certificates import Pair

SERVICE = "wharf-tests"
ISSUER = "wharf-tokens"


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client asked; secrets are kept out, so that a failing test shows none."""

    method: str
    account: str
    fields: dict[str, str]
    status: int


def b64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class TokenServer:
    """The server and the knobs that a test turns; `reset` turns them back."""

    def __init__(self, port: int, pair: Pair) -> None:
        self.port = port
        self.realm = f"https://127.0.0.1:{port}/token"
        self.key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        self.users: dict[str, str] = {}
        self.reset()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                # More than one scope comes as more than one field.
                fields = {name: " ".join(values) for name, values in query.items()}
                self.reply(*server.get(fields, self.headers.get("Authorization", "")))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self.reply(*server.post(dict(urllib.parse.parse_qsl(body))))

            def reply(self, status: int, answer: dict) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Requests are recorded by the server itself."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._http = Server(("127.0.0.1", port), Handler)
        # Each connection's own thread shakes hands, so that a client that hangs keeps no other waiting.
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def reset(self) -> None:
        # The status that every POST gets instead of an answer: old servers know GET alone.
        self.post_status: int | None = None
        # Some of those take a refresh token in the place of a password.
        self.refresh_as_password = False
        # Refresh tokens that hold, with the user of each; a test revokes one by taking it out.
        self.refresh: dict[str, str] = {}
        # Users who get tokens for reading, whatever they ask for.
        self.readers: set[str] = set()
        self.requests: list[Request] = []

    def issue_refresh(self, user: str) -> str:
        token = secrets.token_urlsafe(48)
        self.refresh[token] = user
        return token

    def access(self, user: str, scope: str) -> str:
        """An access token, for what a test does beside the module."""
        return self._token(user, scope)["access_token"]

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def get(self, fields: dict[str, str], authorization: str) -> tuple[int, dict]:
        user, password = "", ""
        if authorization.startswith("Basic "):
            user, _colon, password = base64.b64decode(authorization[6:]).decode().partition(":")
        # A request without a user is answered as well, with a token that allows nothing.
        instead = self.refresh_as_password and user and self.refresh.get(password) == user
        if authorization and self.users.get(user) != password and not instead:
            return self._record("GET", user, fields, 401, error("authentication required"))
        answer = self._token(user, fields.get("scope", ""))
        if user and fields.get("offline_token") == "true":
            answer["refresh_token"] = self.issue_refresh(user)
        # The older of the two names; clients must know both.
        return self._record("GET", user, fields, 200, answer | {"token": answer["access_token"]})

    def post(self, form: dict[str, str]) -> tuple[int, dict]:
        public = {key: value for key, value in form.items() if key not in ("password", "refresh_token")}
        if self.post_status:
            return self._record("POST", "", public, self.post_status, error("no such method"))
        if form.get("grant_type") == "refresh_token":
            user = self.refresh.get(form.get("refresh_token", ""))
        elif form.get("grant_type") == "password":
            user = form.get("username")
            user = user if user in self.users and self.users[user] == form.get("password") else None
        else:
            return self._record("POST", "", public, 400, {"error": "unsupported_grant_type"})
        if user is None:
            return self._record("POST", form.get("username", ""), public, 401, error("authentication required"))
        answer = self._token(user, form.get("scope", ""))
        if form.get("grant_type") == "refresh_token":
            answer["refresh_token"] = form["refresh_token"]
        elif form.get("access_type") == "offline":
            answer["refresh_token"] = self.issue_refresh(user)
        return self._record("POST", user, public, 200, answer)

    def _record(self, method: str, account: str, fields: dict[str, str], status: int, answer: dict) -> tuple[int, dict]:
        self.requests.append(Request(method, account, fields, status))
        return status, answer

    def _token(self, user: str, scope: str) -> dict:
        """A token for the scopes; every user may do everything, save for readers. Without a user, it allows nothing."""
        access = []
        for item in scope.split() if user else ():
            kind, _colon, rest = item.partition(":")
            name, _colon, actions = rest.rpartition(":")
            allowed = [action for action in actions.split(",") if action == "pull" or user not in self.readers]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        header = {"typ": "JWT", "alg": "ES256", "kid": self._key_id()}
        signed = f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        token = f"{signed}.{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        return {"access_token": token, "scope": scope, "expires_in": 300, "issued_at": stamp}

    def _key_id(self) -> str:
        """The key's name as the registry makes it of the certificates that it trusts (libtrust's fingerprint)."""
        der = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_arguments: object) -> None:
        """A client that refuses the certificate or goes away is what tests are about."""


def error(message: str) -> dict:
    return {"errors": [{"code": "UNAUTHORIZED", "message": message, "detail": None}]}
