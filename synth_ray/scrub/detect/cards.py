"""Payment cards: an issuer's prefix and length, the usual grouping of digits, and the Luhn check digit (ISO/IEC 7812)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

GATE = r"[0-9](?:[ .-]?[0-9]){11}"
_RUN = re.compile(r"(?<![0-9A-Za-z._\-])[0-9]+(?:([ .\-])[0-9]+(?:\1[0-9]+){0,12})?(?![0-9A-Za-z_]|[.\-][0-9A-Za-z])")
_MIN_DIGITS = 12
_GROUPS = re.compile("[0-9]+")
_GROUPINGS = frozenset({(4, 6, 5), (4, 6, 4), (6, 13), (4, 5, 6), (4, 4, 5), (4, 4, 4)})
_NOT_CARD = re.compile(
    r"(?i)\b(?:orders?|tracking|invoice|tickets?|ids?|timestamp|epoch|result|value|integer|isbn|reference|ref|serial|imei|ean|upc|"
    r"layout|printed|returned)\b[^\w.]{0,3}(?:\w{1,12}\W{1,3})?$"
)
"""Words before an ungrouped number that is not 16 digits long: it is not a card then, since one number in ten passes the Luhn
check by chance.
"""


def luhn(digits: str) -> bool:
    total = 0
    for i, c in enumerate(reversed(digits)):
        d = int(c)
        total += d if i % 2 == 0 else d * 2 - 9 * (d > 4)
    return total % 10 == 0


def has_issuer_range(digits: str) -> bool:
    """Whether the prefix and length are those of an issuer: Visa, Mastercard with the 2-series, American Express, Discover, JCB,
    Diners, UnionPay, Maestro, Mir or RuPay.
    """
    n = len(digits)
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return n in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204:
        return n == 16
    if two in (34, 37):
        return n == 15
    if 300 <= three <= 305 or three == 309 or two in (36, 38, 39):
        return 14 <= n <= 19
    if four in (2131, 1800):
        return n == 15
    if 3528 <= four <= 3589 or four == 6011 or two == 65 or 644 <= three <= 649 or two in (62, 81, 60):
        return 16 <= n <= 19
    return two in (50, 56, 57, 58, 63, 67) and 12 <= n <= 19


def find(view: TextView, deadline: float) -> Iterator[Finding]:
    text = view.text
    for m in _RUN.finditer(text):
        if m.end() - m.start() < _MIN_DIGITS:
            continue
        seconds_left(deadline)
        groups = [g.span() for g in _GROUPS.finditer(m[0])]
        if m[1] == "." and not _is_card_grouping(tuple(end - start for start, end in groups)):
            continue  # a decimal number
        for start, end in _cards(m[0], groups):
            if end - start != 16 and len(groups) == 1 and _NOT_CARD.search(text[max(0, m.start() - 40) : m.start()]):
                continue
            yield Finding("CREDIT_CARD", m.start() + start, m.start() + end, 1.0)


def _cards(run: str, groups: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans of the longest cards that neighbouring groups of digits form."""
    first = 0
    while first < len(groups):
        for last in range(min(len(groups), first + 5), first, -1):
            sizes = tuple(end - start for start, end in groups[first:last])
            if _MIN_DIGITS <= sum(sizes) <= 19 and _is_card_grouping(sizes):
                start, end = groups[first][0], groups[last - 1][1]
                digits = "".join(c for c in run[start:end] if c.isdigit())
                if has_issuer_range(digits) and luhn(digits) and len(set(digits)) > 1:
                    yield start, end
                    first = last - 1
                    break
        first += 1


def _is_card_grouping(sizes: tuple[int, ...]) -> bool:
    return len(sizes) == 1 or sizes in _GROUPINGS or (set(sizes[:-1]) == {4} and len(sizes) >= 4 and sizes[-1] <= 4)
