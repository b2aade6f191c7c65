"""What modules talk to: a real nginx before real registries, and a token server, all on loopback."""

from __future__ import annotations

import dataclasses
import http.client
import io
import json
import os
import secrets
import ssl
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from certificates import DAY, Authority, Pair
from certificates import NAMES as OWN_NAMES
from engine import bridge_address, command, free_ports, last_words, listening, run_container, wait_for
from managed import encoded
from paths import ROOT
from tokens import ISSUER, SERVICE, TokenServer

sys.path.insert(0, str(ROOT / "plugins" / "filter"))
sys.path.insert(0, str(ROOT / ".venv" / "collections"))
from htpasswd import htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator

COST = 4  # the cheapest that bcrypt has; nginx computes it for each request
MANY = 50
# Peers that answer every request in one way, by name.
ANSWERS = {
    "not_found": "return 404;",
    "forbidden": "return 403;",
    "too_many": "add_header Retry-After 1 always; return 429;",
    "too_many_for_long": "add_header Retry-After 3600 always; return 429;",
    "unavailable": "return 503;",
    "web_page": "default_type text/html; return 200 '<html>Sign in to the hotel network</html>';",
    "elsewhere": "return 302 https://127.0.0.1:1/elsewhere;",
    "sent_on": "return 307 https://127.0.0.1:{basic_again}$request_uri;",
    "no_challenge": "return 401;",
    "clear_realm": """add_header WWW-Authenticate 'Bearer realm="http://127.0.0.1:1/t"' always; return 401;""",
}
# Those that speak TLS with something about them.
TLS = ("basic", "basic_again", "bearer", "expired", "other_name", "mutual", "limited", "read_only")
NAMES = (*TLS, *ANSWERS, "plain", "refused", "registry", "token_registry", "tokens")


@dataclasses.dataclass
class Peers:
    """The addresses of the peers and the material to reach them."""

    directory: Path
    ports: dict[str, int]
    many: list[str]
    ca: Path
    other_ca: Path
    client: Pair
    tokens: TokenServer
    users: dict[str, str]
    # The Basic peer at an address of this machine that is not loopback, where Docker does not overlook a certificate.
    outside: str
    # The containers of the peers that have one of their own.
    containers: dict[str, str] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        """The address of a peer, as a user writes it."""
        return f"127.0.0.1:{self.ports[name]}"

    def set_password(self, user: str, password: str | None) -> None:
        """Change the password of a user of the Basic peers, from the next request on; None removes the user."""
        users = {**self.users, user: password}
        self.users = {name: text for name, text in users.items() if text is not None}
        write(
            self.directory / "htpasswd",
            htpasswd([{"name": name, "password": text} for name, text in self.users.items()], cost=COST),
        )

    def requests(self, name: str) -> list[tuple[str, str, int, str]]:
        """Method, path, status and user of each request that nginx answered for a peer."""
        log = self.directory / "logs" / "access.log"
        # A line is written after the answer. The one worker writes that of this request after those of all before it.
        last = f"/{secrets.token_hex(8)}"
        self.get("web_page", last)
        wait_for("the log is written", lambda: last in log.read_text())
        found = []
        for port, method, path, status, user in (line.split(" ") for line in log.read_text().splitlines()):
            if int(port) == self.ports[name]:
                found.append((method, path, int(status), user))
        return found

    def get(self, name: str, path: str = "/v2/", **headers: str) -> http.client.HTTPResponse:
        """Ask a peer by Python's own client, which trusts the CA; the answer is read and in its `content`."""
        context = ssl.create_default_context(cafile=self.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self.ports[name], context=context, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.content = answer.read()
        finally:
            connection.close()
        return answer


def write(path: Path, text: str) -> None:
    """Replace a file as a whole: nginx may read it at any time."""
    new = path.with_name(path.name + ".new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def start(directory: Path, images: dict[str, str]) -> Iterator[Peers]:
    """Start all peers; a generator, which stops what is not a container when it is resumed."""
    numbers = free_ports(len(NAMES) + MANY)
    ports = dict(zip(NAMES, numbers, strict=False))
    many = numbers[len(NAMES) :]
    authority = Authority(directory / "tls", "ca")
    bridge = bridge_address()
    other = Authority(directory / "other", "other-ca")
    pairs = {
        "server": authority.issue("server", (*OWN_NAMES, bridge)),
        "expired": authority.issue("expired", begin=-3 * DAY, end=-DAY),
        "other_name": authority.issue("other_name", ("another.test",)),
    }
    tokens = TokenServer(ports["tokens"], pairs["server"])
    peers = Peers(
        directory=directory,
        ports=ports,
        many=[f"127.0.0.1:{port}" for port in many],
        ca=authority.certificate,
        other_ca=other.certificate,
        client=authority.issue("client", ("client.test",)),
        tokens=tokens,
        users={},
        outside=f"{bridge}:{ports['basic']}",
    )
    (directory / "logs").mkdir()
    peers.set_password("ci", secrets.token_urlsafe(24))
    tokens.users["ci"] = secrets.token_urlsafe(24)
    containers = {
        "registry": run_registry(peers, "registry", images["registry"], {}, delete=True),
        "token_registry": run_registry(
            peers,
            "token_registry",
            images["registry"],
            {
                "auth": {
                    "token": {
                        "realm": tokens.realm,
                        "service": SERVICE,
                        "issuer": ISSUER,
                        # The token server signs with the key of its own certificate.
                        "rootcertbundle": "/etc/peers/tls/server.crt",
                    }
                }
            },
        ),
    }
    write(directory / "nginx.conf", nginx_configuration(ports, many, bridge))
    nginx = ("nginx", "-c", "/etc/peers/nginx.conf")
    containers["basic"] = run_container(images["nginx"], *nginx, options=shut_in(directory))
    peers.containers = containers
    for name, container in containers.items():
        try:
            wait_for(f"{name} listens", lambda name=name: listening(ports[name]))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last_words(container)}") from None
    yield peers
    tokens.close()


def shut_in(directory: Path) -> tuple[str, ...]:
    """Options of a container that reads its configuration as the account that wrote it, and needs no capability."""
    return (
        f"--user={os.getuid()}:{os.getgid()}",
        "--read-only",
        "--cap-drop=ALL",
        "--tmpfs=/tmp:mode=1777",
        "--tmpfs=/data:mode=1777",
        f"--volume={directory}:/etc/peers",
    )


def run_registry(peers: Peers, name: str, image: str, more: dict, *, delete: bool = False) -> str:
    """A registry that keeps what it is given in memory, and listens on loopback alone."""
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            # In memory, as /data is; the driver of that name has an empty catalogue.
            "filesystem": {"rootdirectory": "/data"},
            "delete": {"enabled": delete},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{peers.ports[name]}", "relativeurls": True, "secret": secrets.token_hex(8)},
    }
    (peers.directory / f"{name}.yml").write_text(yaml.safe_dump(settings | more), encoding="utf-8")
    return run_container(image, "registry", "serve", f"/etc/peers/{name}.yml", options=shut_in(peers.directory))


def nginx_configuration(ports: dict[str, int], many: list[int], bridge: str) -> str:
    def server(port: int, body: str, pair: str | None = "server", address: str = "127.0.0.1") -> str:
        """`pair` names the certificate that it shows; None is plain HTTP."""
        if pair is None:
            return f"server {{ listen {address}:{port}; {body} }}"
        tls = f"ssl_certificate /etc/peers/tls/{pair}.crt; ssl_certificate_key /etc/peers/tls/{pair}.key;"
        return f"server {{ listen {address}:{port} ssl; {tls} {body} }}"

    behind = f"proxy_pass http://127.0.0.1:{ports['registry']};"
    users = f"location / {{ auth_basic registry; auth_basic_user_file /etc/peers/htpasswd; {behind} }}"
    readers = users.replace("location / {", "location / { limit_except GET { deny all; }")
    servers = [
        server(ports["read_only"], readers),
        *(server(port, users) for port in (ports["basic"], ports["basic_again"], *many)),
        server(ports["basic"], users, address=bridge),
        server(ports["plain"], users, None),
        server(ports["expired"], users, "expired"),
        server(ports["other_name"], users, "other_name"),
        server(ports["mutual"], f"ssl_client_certificate /etc/peers/tls/ca.crt; ssl_verify_client on; {users}"),
        server(
            ports["limited"],
            f"limit_req zone=slow; limit_req_status 429; add_header Retry-After 1 always; {users}",
        ),
        server(ports["bearer"], f"location / {{ proxy_pass http://127.0.0.1:{ports['token_registry']}; }}"),
        *(
            server(ports[name], "location / { " + answer.replace("{basic_again}", str(ports["basic_again"])) + " }")
            for name, answer in ANSWERS.items()
        ),
    ]
    return "\n".join(
        [
            # The workers stay the account that the container runs as; nginx would run root's as the user nobody.
            *(["user root;"] if os.getuid() == 0 else []),
            "daemon off; worker_processes 1; pid /tmp/nginx.pid; error_log stderr;",
            "events { worker_connections 512; }",
            "http {",
            "log_format peers '$server_port $request_method $request_uri $status $remote_user';",
            "access_log /etc/peers/logs/access.log peers;",
            "limit_req_zone $server_port zone=slow:1m rate=1r/s;",
            "client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;",
            "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;",
            *(f"{kind}_temp_path /tmp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")),
            *servers,
            "}\n",
        ]
    )


def push_image(address: str, repository: str, config: Path, scratch: Path) -> str:
    """Make a new image, push it with a Docker configuration, and forget it here.

    Returns its reference.
    """
    reference = f"{address}/{repository}:{secrets.token_hex(6)}"
    archive = scratch / "layer.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("payload")
        member.size = len(reference)
        tar.addfile(member, io.BytesIO(reference.encode()))
    command("docker", "import", str(archive), reference)
    try:
        command("docker", "--config", str(config), "push", reference)
    finally:
        command("docker", "rmi", "--force", reference)
    return reference


def docker_config(path: Path, address: str, user: str, password: str) -> None:
    """A credential file as `docker login` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {address: {"auth": encoded(f"{user}:{password}")}}}, indent="\t"))
