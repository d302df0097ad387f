r"""Reads numbers as people and models write them: `1,200`, `$3.50`, `50%`, `1/2`, `2 1/2`, `\frac{1}{2}`, `½`, `12 000`."""

# ruff: noqa: RUF001 - the characters are meant

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

DECIMAL = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?![\d/])|\d+)(?:\.\d+)?|\.\d+"
CURRENCY = r"[$€£¥₹]"
_NUMBER = re.compile(
    rf"(?P<sign>-)?\s?(?:{CURRENCY}\s?)?(?P<minus>-)?(?:(?P<whole>\d+)[ +](?=\d+\s?/))?(?P<first>{DECIMAL})"
    rf"(?:\s?/\s?(?P<second>{DECIMAL}))?"
    rf"\s?(?P<percent>%|percent\b|per cent\b|pct\b)?(?:\s?{CURRENCY})?"
)
_LONGEST = 100
_MINUSES = str.maketrans(dict.fromkeys("−–‒﹣－", "-"))
_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5", "⅛": "1/8"}
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]{1,40})\}\s*\{([^{}]{1,40})\}"), r" (\1)/(\2)"),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r" \1/\2"),
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]{0,80})\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot|ast)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"\\(?:left|right|quad|,|;|!|:|\s)"), " "),
    (re.compile(r"\\([$%#&])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[()\[\]]"), " "),
)


@dataclass(frozen=True, slots=True)
class Written:
    """A number as it is written: its value, where a percent sign means a hundredth; its decimals, None for a fraction."""

    value: Fraction
    is_percent: bool = False
    decimals: int | None = 0

    def equals(self, other: Written) -> bool:
        """Whether both are one number. A percent sign may also be a unit: 50% is 1/2 and, beside a bare number, 50."""
        if self._near(other.value, other):
            return True
        if self.is_percent == other.is_percent:
            return False
        percent, plain = (self, other) if self.is_percent else (other, self)
        return plain.value == percent.value * 100

    def _near(self, value: Fraction, other: Written) -> bool:
        """Equal; or, beside a fraction, rounded to two decimals or more."""
        decimals = [w.decimals for w in (self, other) if w.decimals is not None]
        rounds = len(decimals) == 1 and decimals[0] >= 2
        return abs(self.value - value) <= (Fraction(1, 2 * 10 ** decimals[0]) if rounds else 0)


def plain_text(text: str) -> str:
    """LaTeX, vulgar fractions and typographic minus signs in plain characters."""
    text = text.translate(_MINUSES)
    for vulgar, plain in _VULGAR.items():
        if vulgar in text:
            text = re.sub(rf"(?<=\d){vulgar}", f" {plain}", text).replace(vulgar, plain)
    if "\\" in text or "{,}" in text:
        for pattern, plain in _LATEX:
            text = pattern.sub(plain, text)
    return text


def read_number(text: str) -> Written | None:
    """The one number that the text is, or None. No words may stand beside it."""
    text = re.sub(r"\((-?[\d.,]+)\)", r"\1", plain_text(text)).strip().rstrip(".").strip()
    match = _NUMBER.fullmatch(text)
    return _written(match) if match else None


def first_number(text: str) -> Written | None:
    """The number at the beginning of the text, its unit behind it."""
    text = re.sub(r"\((-?[\d.,]+)\)", r"\1", plain_text(text)).strip()
    match = _NUMBER.match(text)
    if match is None or re.match(r"\s?[:^*]|[-/,]\d|e[+-]?\d", text[match.end() :]):
        return None
    return _written(match)


def _written(match: re.Match[str]) -> Written | None:
    if len(match[0]) > _LONGEST:
        return None
    first, second = (Fraction(re.sub(r"[^\d.]", "", part)) if part else None for part in match.group("first", "second"))
    if first is None or second == 0:
        return None
    value = first if second is None else first / second
    value += int(match["whole"] or 0)
    if match["sign"] or match["minus"]:
        value = -value
    decimals = None if second is not None else len(match["first"].partition(".")[2])
    return (
        Written(value / 100, True, decimals + 2 if decimals is not None else None)
        if match["percent"]
        else Written(value, False, decimals)
    )
