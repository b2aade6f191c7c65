"""Runs of modules at a peer, as a user whose password is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import managed
    from peers import Peers


def run_login(
    host: managed.Host, peers: Peers, config: Path | str | None, peer: str = "basic", **options: object
) -> dict:
    """Run registry_login. `env`, `check`, `failed`, `secrets` are of the run, all else are the module's own options.

    An option that is None is left out.
    """
    of_run = {key: options.pop(key) for key in ("env", "check", "diff", "failed", "secrets") if key in options}
    args = {
        "registry": peers[peer] if peer in peers.ports else peer,
        "username": "ci",
        "password": (peers.tokens.users if peer == "bearer" else peers.users)["ci"],
        "ca_path": "/ca.crt" if host.prefix else str(peers.ca),
        "config_path": None if config is None else str(config),
        **options,
    }
    return host.run_module("registry_login", {key: value for key, value in args.items() if value is not None}, **of_run)


def run_at_registry(host: managed.Host, peers: Peers, module: str, **options: object) -> dict:
    """Run a module. `env`, `check`, `failed`, `secrets` are of the run, all else are the module's own options."""
    of_run = {key: options.pop(key) for key in ("env", "check", "diff", "failed", "secrets") if key in options}
    args = {
        "registry": peers["basic"],
        "username": "ci",
        "password": peers.users["ci"],
        "ca_path": str(peers.ca),
        **options,
    }
    return host.run_module(module, {key: value for key, value in args.items() if value is not None}, **of_run)
