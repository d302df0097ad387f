"""Bank accounts: the length of the country in the IBAN registry (ISO 13616), and the check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

GATE = r"[A-Z]{2}[0-9]{2}(?:[ .-]?[A-Z0-9]){11}"
_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ .\-]?[A-Za-z0-9])")
_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 "
    "RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
LENGTHS = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}


def has_check_digits(iban: str) -> bool:
    """Whether an IBAN in capitals without spaces has right check digits (ISO 7064, mod 97-10)."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def find(view: TextView, deadline: float) -> Iterator[Finding]:
    text = view.text
    last = 0
    for m in _START.finditer(text):
        seconds_left(deadline)
        length = LENGTHS.get(text[m.start() : m.start() + 2].upper())
        if length is None or m.start() < last:
            continue
        end = _end_of_iban(text, m.start(), length)
        if end and has_check_digits("".join(c for c in text[m.start() : end] if c.isalnum()).upper()):
            last = end
            yield Finding("IBAN_CODE", m.start(), end, 1.0)


def _end_of_iban(text: str, start: int, length: int) -> int:
    """The offset after `length` letters and digits, with at most one space, dot or hyphen between two of them; 0 if there are not
    that many or more follow.
    """
    count, i, is_gap = 0, start, False
    while i < len(text) and count < length:
        c = text[i]
        if c.isascii() and c.isalnum():
            count, is_gap = count + 1, False
        elif c in " -." and not is_gap:
            is_gap = True
        else:
            return 0
        i += 1
    if count < length or (i < len(text) and text[i].isalnum()):
        return 0
    return i
