"""registry_login with every Python of managed hosts that is here."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING

from runs import run_login
from steps import alone, auths, content, entry, four_runs, says

if TYPE_CHECKING:
    from pathlib import Path

    from managed import Host
    from peers import Peers


def test_every_python(any_host: Host, peers: Peers, config: Path) -> None:
    login = functools.partial(run_login, any_host, peers, config)
    four_runs(login, lambda: content(config))
    login(peer="bearer")
    says(login(password=secrets.token_urlsafe(), failed=True), peers["basic"], "401")
    for peer, word in (("expired", "expired"), ("other_name", "another name"), ("plain", "plain_http")):
        says(login(peer=peer, failed=True), peers[peer], word)
    says(login(ca_path=str(peers.other_ca), failed=True), peers["basic"], "unknown CA")
    assert login(peer="limited")["verified"]
    assert login(peer="mutual", client_cert=str(peers.client.certificate), client_key=str(peers.client.key))["verified"]
    assert auths(config)[peers["bearer"]] == entry("ci", peers.tokens.users["ci"])
    alone(config)
