"""What k3s makes of registries.yaml for its containerd, after its source (pkg/agent/containerd/config.go)."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = {"trixie-containerd": (2, "io.containerd.grpc.v1.cri"), "sid-containerd": (3, "io.containerd.cri.v1.images")}


def _endpoint(url: str) -> tuple[str, str, bool]:
    """(registry, URL, whether its path is the whole one)."""
    parts = urllib.parse.urlsplit(url)
    whole = parts.path not in ("", "/", "/v2")
    return parts.netloc, f"{parts.scheme}://{parts.netloc}{parts.path if whole else '/v2'}", whole


def _tls(config: dict) -> Iterator[str]:
    tls = config.get("tls") or {}
    if "ca_file" in tls:
        yield f'ca = ["{tls["ca_file"]}"]'
    if "cert_file" in tls:
        yield f'client = [["{tls["cert_file"]}", "{tls["key_file"]}"]]'
    if tls.get("insecure_skip_verify"):
        yield "skip_verify = true"


def hosts_toml(registries: dict) -> dict[str, str]:
    """{registry: the text of its hosts.toml}."""
    configs, mirrors = registries.get("configs") or {}, registries.get("mirrors") or {}
    files = {}
    for name in {*configs, *mirrors}:
        lines = [f'server = "https://{name}/v2"', 'capabilities = ["pull", "resolve", "push"]']
        lines += [*_tls(configs.get(name, {})), "[host]"]
        for url in (mirrors.get(name) or {}).get("endpoint", []):
            registry, address, whole = _endpoint(url)
            lines += [f'[host."{address}"]', 'capabilities = ["pull", "resolve", "push"]']
            lines += ["override_path = true"] if whole else []
            lines += _tls(configs.get(registry, {}))
        files[name] = "\n".join(lines) + "\n"
    return files


def config_toml(registries: dict, node: str, folder: str) -> str:
    """The config.toml of its containerd, which has the logins."""
    version, plugin = PLUGINS[node]
    text = f"version = {version}\n[plugins.'{plugin}'.registry]\nconfig_path = '{folder}'\n"
    for name, config in (registries.get("configs") or {}).items():
        if auth := config.get("auth"):
            text += f"[plugins.'{plugin}'.registry.configs.'{name}'.auth]\n"
            text += f"username = '{auth['username']}'\npassword = '{auth['password']}'\n"
    return text
