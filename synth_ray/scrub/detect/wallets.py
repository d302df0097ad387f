"""Crypto wallets in addition to Presidio's Bitcoin: Ethereum and Monero by their form, the others by their checksum (base58check,
BIP 173, BIP 350).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

GATE = r"\b0x[0-9a-f]{40}\b|\b[lmdtrx14][1-9a-z]{24}|\b(?:ltc|addr|cosmos|bnb|tb|bc)1[02-9a-z]{20}"
_ETHEREUM = re.compile(r"\b0x[0-9a-fA-F]{40}\b")
_BASE58 = re.compile(r"\b[LMDTrX][1-9A-HJ-NP-Za-km-z]{24,34}\b")
_MONERO = re.compile(r"\b[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b")
_BECH32 = re.compile(r"\b(?:ltc|addr|cosmos|bnb|tb|bc)1[02-9ac-hj-np-z]{38,110}\b")
_BITCOIN58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE58 = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def find(view: TextView, deadline: float) -> Iterator[Finding]:
    text = view.text
    seconds_left(deadline)
    for m in _ETHEREUM.finditer(text):
        if len(set(m[0][2:].lower())) > 2:
            yield Finding("CRYPTO", *m.span(), 0.9)
    for m in _BASE58.finditer(text):
        if base58check(m[0], _RIPPLE58 if m[0][0] == "r" else _BITCOIN58):
            yield Finding("CRYPTO", *m.span(), 1.0)
    for m in _MONERO.finditer(text):
        yield Finding("CRYPTO", *m.span(), 0.9)
    for m in _BECH32.finditer(text):
        if bech32(m[0]):
            yield Finding("CRYPTO", *m.span(), 1.0)


def base58check(address: str, alphabet: str) -> bool:
    number = 0
    for c in address:
        digit = alphabet.find(c)
        if digit < 0:
            return False
        number = number * 58 + digit
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big").rjust(25, b"\0")
    return len(raw) == 25 and hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def bech32(address: str) -> bool:
    prefix, _, data = address.rpartition("1")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_CHARSET.index(c) for c in data]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> i & 1 else 0
    return check in (1, 0x2BC830A3)
