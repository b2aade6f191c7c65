# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the hosts of a fleet from a registry, and the table that the playbook `doctor.yml` shows of it."""

from __future__ import annotations

import ipaddress
import textwrap

from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.explain import SAME_TIME
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.failure_catalog import cure_in_fleet, title

_HEAD = ("HOST", "FAILS AT", "WHAT")
# What a registry says whose storage does not do what it should.
_OF_STORAGE = ("registry_error", "no_space", "layer_missing", "timed_out", "")
_ON_THE_WAY = ("name", "connection", "TLS", "ansible")
# Hops that fail where a name leads to a wrong host.
_ELSEWHERE = ("connection", "TLS", "registry", "credentials")
# Mistakes that show that it is the registry that answered, or that are this host's wherever the name leads.
_NOT_OF_THE_NAME = ("clock_off", "address_refused")
# What is said of a certificate only where the CA that issued it is known.
_OF_TIME = ("clock_off", "expired", "not_yet_valid")
# Those that are behind it show that the name leads to the registry.
_PAST = ("credentials", "upload refused", "upload allowed", "image", "engine", "reach", "push", "pull", "digest")


def describe(host, found):
    """The row of one host, by its client_result alone."""
    row = {"host": host, "hop": "", "mistake": "", "said": "", "cure": ""}
    if found.get("unreachable"):
        return {
            **row,
            "hop": "ansible",
            "mistake": "unreachable",
            "said": _line(found.get("msg")),
        }
    hops = found.get("hops")
    said, cure = _line(found.get("msg")), _line(found.get("cure"))
    if not hops and not found.get("failed_hop") and not found.get("verified"):
        # Python, become or an option is at fault, and no way was walked.
        return {
            **row,
            "hop": "check",
            "mistake": "no_check",
            # A message has its cure in it.
            "said": said.replace(cure, "").rstrip(" .") or "there is no result",
            "cure": cure or "Check the output of its task above",
        }
    failed = next((hop for hop in hops if not hop["ok"]), None)
    if failed is None:
        return {**row, "said": _went(found, hops)}
    return {
        **row,
        "hop": failed["name"],
        "mistake": failed.get("mistake", ""),
        "said": _line(failed["said"]),
        "cure": _line(failed.get("cure")),
    }


def _went(found, hops):
    """How far the way of a host goes on which all is well."""
    last = [hop for hop in hops if hop["name"] != "digest"][-1]
    if last["name"] == "pull" and any(hop["name"] == "push" for hop in hops):
        return f"pushed and pulled by {found['engine']}"
    return {"pull": f"pulled by {found['engine']}", "reach": f"reached by {found['engine']}"}.get(
        last["name"], f"gets as far as {last['name']}, as it is meant to"
    )


def _line(text):
    return " ".join(str(text or "").split()).rstrip(".")


def _seen(found, name):
    return (found.get("seen") or {}).get(name) or []


def _passed(found, names):
    """Whether one of these hops works on a host."""
    return any(hop["ok"] and hop["name"] in names for hop in found.get("hops") or [])


def _is_loopback(address):
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _proven(hosts):
    """{host: addresses of the name on it} of the hosts on which it leads to the registry."""
    proven = {}
    for host, found in hosts.items():
        if _passed(found, _PAST):
            # The registry host may reach itself by an address that no other host has.
            addresses = [address for address in _seen(found, "addresses") if not _is_loopback(address)]
            if addresses:
                proven[host] = addresses
    return proven


def _compare_addresses(row, found, proven):
    """Whether it is the name that leads elsewhere, of a host that can't know it."""
    others = {host: addresses for host, addresses in proven.items() if host != row["host"]}
    right = sorted({address for addresses in others.values() for address in addresses})
    here = _seen(found, "addresses")
    if not others:
        return
    where = f"{', '.join(right)} on {len(others)} other host{'s' if len(others) > 1 else ''}"
    if row["mistake"] == "no_such_name":
        row["cure"] += f". It is {where}"
    elif row["hop"] in _ELSEWHERE and here and not set(here) & set(right) and not _is_itself(row, found):
        by = " by /etc/hosts" if set(_seen(found, "hosts_file")) & set(here) else ""
        row["said"] = f"the name is {', '.join(here)} here{by}, and {where}. {row['said']}"
        if row["hop"] == "credentials" or row["mistake"] in _NOT_OF_THE_NAME:
            # A registry answered, by another of its addresses or as another one. What it said is worth more.
            return
        # Hosts of another site may have another address that is right. Then it is what the hop says.
        cure = cure_in_fleet(row["mistake"], row["host"], found.get("registry", "")) or row["cure"]
        own = f". If both are right: {cure}"
        row["cure"] = f"Correct the name in {'/etc/hosts of this host' if by else 'the DNS that this host asks'}"
        row["cure"] += own if row["hop"] != "connection" else ""
        row["mistake"] = "name_elsewhere"


def _is_itself(row, found):
    """Whether a name that leads to this host itself leads to the registry, as on a registry host.

    Debian gives a host its own name at 127.0.1.1.
    """
    if row["hop"] == "connection" or not all(map(_is_loopback, _seen(found, "addresses"))):
        return False
    # Only registry hosts are asked for the disks of the registry.
    answered = row["hop"] == "credentials" or row["mistake"] in _OF_TIME or _passed(found, ("TLS",))
    return answered or bool(_seen(found, "disks"))


def _compare_clocks(row, hosts):
    """Whose clock it is, of a host that only knows that its own and that of the registry host differ."""
    if row["mistake"] != "clock_off":
        return
    others = [found for host, found in hosts.items() if host != row["host"]]
    alike = sum(_has_the_time_of(hosts[row["host"]], other) for other in others)
    # The registry host has the clock that is in question.
    valid = sum(_passed(other, ("TLS",)) and not _seen(other, "disks") for other in others)
    if alike and alike + 1 > valid:
        row["cure"] = (
            "Set the clock of the registry host, as by timedatectl set-ntp true, and run rotate.yml -e "
            f"rotate=certificate then: {_hosts(alike)} the time of this one. If date -u is right there, set the clocks "
            "of these hosts"
        )
    elif valid:
        row["cure"] = (
            f"Set the clock of this host, as by timedatectl set-ntp true: {_hosts(valid)} a time at which the "
            "certificate is valid. If date -u is right here, set the clock of the registry host"
        )


def _has_the_time_of(found, other):
    """Whether both are as far from the clock of the server, by which the certificate is valid."""
    aheads = [_seen(one, "clock_ahead") for one in (found, other)]
    return other.get("mistake") == "clock_off" and all(aheads) and abs(aheads[0] - aheads[1]) <= SAME_TIME


def _hosts(number):
    return "1 other host has" if number == 1 else f"{number} other hosts have"


def _compare_storage(row, full):
    """Whether it is the disk of the registry, of a push that the registry can't store."""
    if (
        full
        and row["hop"] in ("push", "upload allowed", "upload refused")
        and row["mistake"] in ("registry_error", "no_space", "")
    ):
        host, disk = full[0]
        row["said"] = f"{disk['path']} on {host} has {disk['free']} bytes left. {row['said']}"
        row["cure"] = f"Make room there, or give {host} a larger disk: remove tags, and collect what nothing refers to"
        row["mistake"] = "registry_full"


def _compare_buckets(row, found, unusable):
    """Whether it is the object storage, on a registry host that has looked at it, or for a push or a pull elsewhere."""
    problem = _storage_problem(found)
    # What fails before the registry answers is not the storage's.
    if problem and (not row["hop"] or (row["hop"] not in _ON_THE_WAY and row["mistake"] in _OF_STORAGE)):
        row.update(problem, hop="storage")
    elif not problem and unusable and row["mistake"] == "registry_error":
        host, other = unusable[0]
        row["said"] = f"{host} can't use its object storage. {row['said']}"
        row["cure"] = f"{other['cure']}. That is for {host}"
        row["mistake"] = other["mistake"]


def _storage_problem(found):
    """The part of a row that the probe of the storage makes, or None."""
    probed = found.get("storage") or {}
    failed = next((check for check in probed.get("checks") or [] if check["status"] == "failed"), None)
    if failed is not None:
        # Without the first check, nothing is known of the storage but that it can't be used from here.
        mistake = "storage_unsuitable" if probed.get("verdict") == "unsuitable" else "storage_unusable"
        said, breaks, cure = (_line(failed[name]) for name in ("seen", "breaks", "cure"))
        breaks = f". {breaks}" if breaks and mistake == "storage_unsuitable" else ""
        return {
            "mistake": mistake,
            "said": f"{failed['name']}: {said}{breaks}",
            "cure": cure or "Check registry_s3, and the storage itself",
        }
    if probed.get("msg") and not probed.get("checks"):
        return {
            "mistake": "storage_unusable",
            "said": _line(probed["msg"]),
            "cure": "Correct registry_s3, or run site.yml where that has changed",
        }
    return None


def _lines(rows, width):
    hosts = max(len(row["host"]) for row in [{"host": _HEAD[0]}, *rows])
    hops = max(len(row["hop"]) for row in [{"hop": _HEAD[1]}, *rows])
    indent = " " * (hosts + hops + 4)
    lines = [f"{_HEAD[0]:{hosts}}  {_HEAD[1]:{hops}}  {_HEAD[2]}"]
    for row in rows:
        start = f"{row['host']:{hosts}}  {row['hop'] or '-':{hops}}  "
        lines += _wrapped(row["title"] or row["said"], start, indent, width)
        if row["hop"] and row["title"] and row["said"]:
            lines += _wrapped(row["said"], indent, indent, width)
        if row["cure"]:
            lines += _wrapped(row["cure"], f"{indent}cure: ", f"{indent}      ", width)
    return lines


def _wrapped(text, start, indent, width):
    # A host with a long name leaves the rest some room all the same.
    return textwrap.wrap(
        text,
        max(width, len(indent) + 40),
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def doctor_report(hosts, width=112):
    """Of hosts, in the order of the table, as {host: client_result}."""
    rows = [describe(host, found) for host, found in hosts.items()]
    proven = _proven(hosts)
    full = [(host, disk) for host, found in hosts.items() for disk in _seen(found, "disks") if disk["full"]]
    unusable = [(host, problem) for host, problem in ((h, _storage_problem(f)) for h, f in hosts.items()) if problem]
    for row in rows:
        found = hosts[row["host"]]
        _compare_buckets(row, found, unusable)
        if row["hop"]:
            _compare_addresses(row, found, proven)
            _compare_clocks(row, hosts)
            _compare_storage(row, full)
            row["cure"] = cure_in_fleet(row["mistake"], row["host"], found.get("registry", "")) or row["cure"]
        row["title"] = title(row["mistake"])
    return {
        "rows": rows,
        "lines": _lines(rows, int(width)),
        "failed": {
            row["host"]: f"{row['host']} fails at {row['hop']}: {row['title'] or row['said']}. {row['cure']}."
            for row in rows
            if row["hop"]
        },
    }
