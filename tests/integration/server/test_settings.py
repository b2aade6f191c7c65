"""nginx is asked about the values of tests/verdicts/settings.txt, each where the templates of the role put it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine import command
from oracle import rows

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "error_log stderr; pid /tmp/nginx.pid; events {}\n"
TEMPLATES = {
    # addresses.j2
    "network": "http {{ geo $near {{ default 0; {0} 1; }} set_real_ip_from {0}; server {{ listen 8080; }} }}",
    # server.j2
    "resolver": "http {{ resolver {0}; server {{ listen 8080; }} }}",
    # nginx.conf.j2
    "size": "http {{ client_max_body_size {0}; server {{ listen 8080; }} }}",
}
TABLE = rows("settings.txt")
# What nginx takes, and we refuse: it means something else than it says, or it is none of what the variable is for.
OURS_ALONE = {
    ("network", r"192.0.2.0/24\n"),
    ("resolver", r"192.0.2.53\n"),
    ("size", r"20g\n"),
    ("resolver", "192.0.2.53 valid=1s"),
    ("network", "192.0.2.07"),
}


def configuration(kind: str, value: str) -> str:
    value = value.encode().decode("unicode_escape")
    if kind == "resolver":
        value = re.sub(r"^([^[]*:[^[]*:.*)$", r"[\1]", value)
    return HEAD + TEMPLATES[kind].format(value)


def test_nginx_says_what_the_table_says(session: None, images: dict[str, str], tmp_path: Path) -> None:
    for number, (kind, value, *_verdicts) in enumerate(TABLE):
        (tmp_path / f"{number}.conf").write_text(configuration(kind, value))
    script = f"""
        for number in $(seq 0 {len(TABLE) - 1}); do
            said=$(nginx -t -q -c /settings/$number.conf 2>&1) && result=taken || result=refused
            [ -z "$said" ] || [ $result = refused ] || result=warned
            echo $result
        done
    """
    mount = f"--volume={tmp_path}:/settings:ro"
    options = ("--rm", "--network=none", "--user=0:0", "--pull=never", "--entrypoint=/bin/sh", mount)
    said = command("docker", "run", *options, images["nginx"], "-c", script).stdout.split()
    assert [(*row[:2], verdict) for row, verdict in zip(TABLE, said, strict=True)] == [
        (*row[:2], row[3]) for row in TABLE
    ]


def test_what_nginx_does_not_take_is_refused() -> None:
    for kind, value, ours, theirs in TABLE:
        if theirs == "refused":
            assert ours == "refused", (kind, value)
        elif theirs == "warned":
            # Of all addresses nginx says that there is a default, too.
            assert (ours == "refused") is not value.endswith("/0"), (kind, value)
        else:
            assert (ours == "refused") is ((kind, value) in OURS_ALONE), (kind, value)
