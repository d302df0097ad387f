"""Which IP and MAC addresses identify someone: addresses routed on the internet, not version numbers, section numbers or
fingerprints.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from synth_ray.scrub.findings import Finding

_VERSION_BEFORE = re.compile(
    r"(?i)(?:\b(?:version|ver|release|build|section|chapter|firmware|driver|update|package|revision|rev|oid|clause|article)"
    r"\b[\s:=\"'(]{0,3}(?:is\s|to\s|number\s|no\.?\s)?|[=<>~^]=\s?|\bv\.?\s?|[A-Za-z]/)$"
)
_ADDRESS_BEFORE = re.compile(
    r"(?i)(?<![a-z0-9])(?:ip|ips|ipv4|host|client|src|dst|addr)(?![a-z0-9])|"
    r"\b(?:hosts|server|address|login|logins|from|gateway|router|dns|ping|ssh|connect|"
    r"connected|traffic|request|requests|blocked|banned|subnet|proxy|vpn|node|endpoint|inet|peer|https?)\b"
)
_ROUTED = ipaddress.ip_network("2000::/3")
_VERSION_LIMIT = 31
"""If all four numbers are below this, it is a version number, unless a word before it says that it is an address."""
_MAX_SHORT_LINK_LOCAL = 10
"""Characters. A link-local address longer than fe80::1:1 contains the interface identifier, which is derived from the MAC
address.
"""


def is_public_ip(text: str, finding: Finding) -> bool:
    """Whether a stock IP finding is a public address: a whole one, and not a version number."""
    routed = _routed_kind(text[finding.start : finding.end])
    if routed == "IPv4":
        return _stands_alone(text, finding) and not _is_version(text, finding)
    return routed == "IPv6"


@lru_cache(maxsize=4096)
def _routed_kind(value: str) -> str:
    """IPv4 or IPv6 if the address is routed, or is IPv6 link-local with an interface identifier; else an empty string."""
    try:
        ip = ipaddress.ip_interface(value.partition("%")[0]).ip
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        return "IPv6" if (ip in _ROUTED and ip.is_global) or (ip.is_link_local and len(value) > _MAX_SHORT_LINK_LOCAL) else ""
    return "IPv4" if ip.is_global and not ip.is_multicast else ""


_JOINED_BEFORE = re.compile(r"[0-9]\.$|-$|[#$\\]$")
_JOINED_AFTER = re.compile(r"\.[0-9]|-[0-9A-Za-z]|[A-Za-z_]")


def _stands_alone(text: str, finding: Finding) -> bool:
    before = text[max(0, finding.start - 2) : finding.start]
    return not (before and not before[-1].isspace() and _JOINED_BEFORE.search(before)) and not _JOINED_AFTER.match(
        text, finding.end
    )


def _is_version(text: str, finding: Finding) -> bool:
    before = text[max(0, finding.start - 40) : finding.start]
    if before.endswith("//"):
        return False
    numbers = text[finding.start : finding.end].partition("/")[0].split(".")
    if max(map(int, numbers)) < _VERSION_LIMIT and not _ADDRESS_BEFORE.search(before):
        return True
    return bool(_VERSION_BEFORE.search(before))


_HEX_NEIGHBOUR = re.compile(r"[:-][0-9A-Fa-f]{2}|\.[0-9A-Fa-f]{4}")


def is_device_mac(text: str, finding: Finding) -> bool:
    """Whether a stock MAC finding is a device's: not one hex digit repeated, and not part of a longer fingerprint or number."""
    value = text[finding.start : finding.end]
    before, after = text[max(0, finding.start - 5) : finding.start], text[finding.end : finding.end + 5]
    if len(set(re.sub("[^0-9A-Fa-f]", "", value).lower())) < 2:
        return False
    return not re.search(r"[0-9A-Fa-f]{2}[:-]$|[0-9A-Fa-f]{4}\.$", before) and not _HEX_NEIGHBOUR.match(after)
