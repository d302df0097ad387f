"""Surrogates: each value becomes one from a range that is reserved and never assigned, the same for the same key.

Law: a surrogate is a function of key, entity and value, and is recognised by its form, so that no later scrub changes it. Without
the key nobody can tell which value it replaces, and it is nobody's address, number or account.

Ranges: RFC 2606 (example.com), RFC 5737 and 3849 (addresses), 555-0100 to 0199 (NANPA), area 000 (SSA), group 00 to 09 after 900
(IRS), locally administered MAC addresses (IEEE 802), an industry digit 0 (ISO 7812), country XX with check digits 00 (ISO 13616).
Other entities have no such range and become <ENTITY_twelveletters>.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable

from synth_ray.scrub.replace.placeholders import LABELS, normal_form

_FIRST = ("alex", "avery", "casey", "drew", "jamie", "jordan", "morgan", "quinn", "riley", "robin", "rowan", "sam", "taylor")
_LAST = ("brown", "dubois", "garcia", "khan", "lee", "meyer", "novak", "okafor", "rossi", "silva", "smith", "tanaka")
_LETTERS = "abcdefghijklmnop"

SURROGATE = re.compile(
    r"(?<![\w.+-])[a-z]{2,8}\.[a-z]{2,8}\.[a-p]{8}@example\.com(?![\w-])"
    r"|(?<![\w+-])\+1-[2-9][0-8][0-9]-555-01[0-9]{2}(?![\w-])"
    r"|(?<![\w-])0000 [0-9]{4} [0-9]{4} [0-9]{4}(?![\w-])"
    r"|(?<![\w-])XX00 [0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}(?![\w-])"
    r"|(?<![\w-])(?:000-[0-9]{2}|900-0[0-9])-[0-9]{4}(?![\w-])"
    r"|(?<![\w.-])(?:192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]{1,3}(?!\.?\w)"
    r"|(?<![\w:])2001:db8(?::[0-9a-f]{4}){6}(?![\w:])"
    r"|(?<![\w:-])02:00:00(?::[0-9a-f]{2}){3}(?![\w:-])"
    r"|https://example\.com/[a-p]{12}(?![\w/-])"
)
"""Surrogates with a form of their own; the others match `placeholders.PLACEHOLDER`."""


class Surrogates:
    """A `Replacer` that does not depend on the record: a value has the same surrogate in every record.

    A value that is tied to other text, as in `see:jane@mail.com/x`, gets an opaque surrogate, which is recognised in any
    surroundings.
    """

    def __init__(self, key: bytes, texts: Iterable[str] = ()) -> None:
        self._key = key

    def __call__(self, entity: str, value: str, *, alone: bool = True) -> str:
        stream = _DigestStream(
            hmac.digest(self._key, f"{entity}\0{normal_form(entity, value)}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        )
        maker = _MAKERS.get(entity) if alone else None
        return maker(stream, value) if maker else f"<{LABELS.get(entity, entity)}_{stream.letters(12)}>"


class _DigestStream:
    """Pseudo-random draws from one digest."""

    def __init__(self, digest: bytes) -> None:
        self._left = int.from_bytes(digest, "big")

    def below(self, n: int) -> int:
        self._left, number = divmod(self._left, n)
        return number

    def digits(self, n: int) -> str:
        return f"{self.below(10**n):0{n}d}"

    def letters(self, n: int) -> str:
        return "".join(_LETTERS[self.below(16)] for _ in range(n))

    def hex(self, n: int) -> str:
        return f"{self.below(16**n):0{n}x}"


def _email(d: _DigestStream, _: str) -> str:
    return f"{_FIRST[d.below(len(_FIRST))]}.{_LAST[d.below(len(_LAST))]}.{d.letters(8)}@example.com"


def _phone(d: _DigestStream, _: str) -> str:
    return f"+1-{2 + d.below(8)}{d.below(9)}{d.below(10)}-555-01{d.digits(2)}"


def _card(d: _DigestStream, _: str) -> str:
    return f"0000 {d.digits(4)} {d.digits(4)} {d.digits(4)}"


def _iban(d: _DigestStream, _: str) -> str:
    return f"XX00 {d.digits(4)} {d.digits(4)} {d.digits(4)} {d.digits(4)}"


def _address(d: _DigestStream, value: str) -> str:
    if ":" in value:
        return "2001:db8:" + ":".join(d.hex(4) for _ in range(6))
    return f"{('192.0.2', '198.51.100', '203.0.113')[d.below(3)]}.{1 + d.below(254)}"


_MAKERS: dict[str, Callable[[_DigestStream, str], str]] = {
    "EMAIL_ADDRESS": _email,
    "PHONE_NUMBER": _phone,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _address,
    "US_SSN": lambda d, _: f"000-{d.digits(2)}-{d.digits(4)}",
    "US_ITIN": lambda d, _: f"900-0{d.digits(1)}-{d.digits(4)}",
    "MAC_ADDRESS": lambda d, _: f"02:00:00:{d.hex(2)}:{d.hex(2)}:{d.hex(2)}",
    "URL": lambda d, _: f"https://example.com/{d.letters(12)}",
}
