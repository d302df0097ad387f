"""Which numbers are phones: with a country code, valid and grouped, or any plausible number after a word such as "call"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from synth_ray.scrub.detect.phone_context import (
    KIND,
    ends_address,
    has_phone_word,
    is_another,
    is_explained,
    is_introduced,
    is_line,
    re2_of,
)
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

GATE = r"[0-9](?:[-x/ ().\[\]~\x80-\xff]{0,12}[0-9]){5}"
_NUMBER = (
    r"(?:\+|\(\+?)?[0-9](?:[0-9]|[ .\-/]{1,2}\(?[0-9]|\([0-9]|\)[ .\-/]{0,2}[0-9]){5,20}"
    r"(?:\s?(?:x|ext\.?|extension)\s?[0-9]{1,6})?"
)
_MIN_DIGITS = 6
_ENDS = re.compile(rf"(?!-(?i:{KIND})\b)(?:[0-9A-Za-z_%]|[.\-/:][0-9A-Za-z])")
_LIKE_DATE = re.compile(
    r"(?:[0-9]{1,2}[. ]{1,2})?(?:19|20)[0-9]{2}[-/. ](?:0?[1-9]|1[0-2])[-/. ](?:0?[1-9]|[12][0-9]|3[01])\b|"
    r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}\b"
)
_LIKE_OTHERS = re.compile(
    r"(?:1[5-9]|20)[0-9]{2} ?[-/ ] ?(?:1[5-9]|20)[0-9]{2}|"  # years
    r"[0-9]{1,4}\.[0-9]{3,}|[0-9]{1,3}\.[0-9]{3}(?: [0-9]{3})*(?: [0-9]{1,4})?|"  # a decimal number
    r"[0-9]{1,4}(?:\.[0-9]{1,4}){3}(?<!\.[0-9]{4})|"  # an IP address or a version
    r"[0-9]{5}-[0-9]{4}|"  # a ZIP code
    r"\((?:19|20)[0-9]{2}\) ?[0-9]+-[0-9]+|"  # a year and pages
    r"1[4-9][0-9]{8}(?:[0-9]{3})?"  # a Unix timestamp
)
_GROUPS = re.compile("[0-9]+")
_EXTENSION = re.compile("(?i)x|ext")
_REFUSED_BEFORE = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_REFUSED_NEAR = frozenset(".$€£#/\\^*=-")
_AMERICAN = re.compile(
    r"(?:(?:\+?|00)1[-. ]?)?(?:\([0-9]{3}\) ?[0-9]{3}[-. ][0-9]{4}|[0-9]{3}([-.])[0-9]{3}\1[0-9]{4})(?:\s?(?:x|ext).*)?|"
    r"[0-9]{3}[-.][0-9]{3}[-.][0-9]{4}\s?(?:x|ext).*",
    re.IGNORECASE,
)
"""The form of an American number, whether or not its area code is assigned."""
_AREA_CODE = re.compile(r"\([0-9]{2,4}\) ?[0-9]{3,5}-[0-9]{3,4}|\(0[0-9]{1,4}\) ?(?:[0-9]{5,8}|[0-9]{3,4} [0-9]{3,4})")
"""A number with its area code in brackets."""
_SUM = re.compile(r"\s?=")
_ROUND = re.compile(r".*000$")
_LIKE_COUNT = re.compile(r"[0-9]+000|[0-9]\.[0-9]{3,}")
_MIN_INTERNATIONAL = 9
"""Digits of a number with a country code, without an extension."""


def is_candidate(text: str, start: int, end: int) -> bool:
    """Whether libphonenumber must check it: it is grouped, has a country code, or has a phone word beside it."""
    candidate = text[start:end]
    if not candidate.isdigit():
        if sum(map(str.isdigit, candidate)) < _MIN_DIGITS:
            return False
        return not (_LIKE_OTHERS.fullmatch(candidate) or _LIKE_DATE.fullmatch(candidate))
    return has_phone_word(text, start) or is_explained(text, end)


def accept(text: str, finding: Finding) -> bool:
    """Whether a number that libphonenumber finds valid is a phone number in this text."""
    start, end = finding.start, finding.end
    value = text[start:end]
    before = text[max(0, start - 2) : start]
    if value[0] == "[":
        value, before = value[1:], "["
    if value[0] == "+":
        return not before or not (before[-1].isalnum() or before[-1] in "_.")
    if _is_inside_another(before, text[end : end + 8]) or _LIKE_DATE.match(value):
        return False
    if is_introduced(text, start) or is_explained(text, end):
        return True
    if _LIKE_OTHERS.fullmatch(value) or (value[0] != "(" and is_another(text, start)):
        return False
    return _is_grouped(value) or has_phone_word(text, start)


def finder() -> Callable[[TextView, float], Iterator[Finding]]:
    """Numbers that context makes phones, whether or not libphonenumber finds them valid in any region."""
    number = re2_of(_NUMBER)

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        for i, (start, end) in enumerate(_numbers(number, view)):
            if i % 256 == 255:
                seconds_left(deadline)
            score = _score(view.text, start, end)
            if score:
                yield Finding("PHONE_NUMBER", start, end, score)

    return find


def _numbers(number: Any, view: TextView) -> Iterator[tuple[int, int]]:
    """Stretches in the form of a phone number that do not start or end inside a word or a longer number."""
    text, data, at = view.text, view.data, 0
    while m := number.search(data, at):
        begin, at = m.span()
        start, end = view.char_offset(begin), view.char_offset(at)
        if text[start - 1 : start] in _REFUSED_BEFORE and start:
            if text[start - 3 : start].upper() == _PLUS_IN_QUERY and _has_digit_count(text[start:end]):
                yield start - 3, end
                continue
            at = begin + len(_GROUPS.match(text, start)[0]) if text[start].isdigit() else begin + 1  # type: ignore[index]
        elif not _ENDS.match(text, end) and _has_digit_count(text[start:end]):
            yield start, end


def _score(text: str, start: int, end: int) -> float:
    value = text[start:end]
    if value.upper().startswith(_PLUS_IN_QUERY):
        value = "+" + value[len(_PLUS_IN_QUERY) :]
    if _LIKE_DATE.match(value) or _SUM.match(text, end):
        return 0.0
    if is_introduced(text, start) and not _LIKE_COUNT.fullmatch(value):
        return 0.75
    if value[0] == "+" and text[max(0, start - 1) : start] not in _NEVER_BEFORE_PLUS:
        return 0.6 if _is_international(value) and not _LIKE_OTHERS.fullmatch(value[1:]) else 0.0
    if text[start - 1 : start] in _REFUSED_NEAR and start:
        return 0.0
    after = is_explained(text, end)
    if after and not _LIKE_OTHERS.fullmatch(value) and (end - start > _MIN_DIGITS or not value.isdigit()):
        return 0.6
    if _LIKE_OTHERS.fullmatch(value) or not (_is_grouped(value) or _is_bare_line(text, start, end)):
        return 0.0
    is_other = is_another(text, start)
    has_form = bool(_AMERICAN.fullmatch(value) or _AREA_CODE.fullmatch(value)) or is_line(text, start, end)
    return 0.6 if (not is_other and (has_form or has_phone_word(text, start))) or _has_trunk_prefix(value) else 0.0


def _is_bare_line(text: str, start: int, end: int) -> bool:
    """Whether an ungrouped number is the last line of an address, or begins with a trunk prefix and is a line of its own."""
    return ends_address(text, start, end) or bool(_BARE_TRUNK.fullmatch(text[start:end]) and is_line(text, start, end))


_BARE_TRUNK = re.compile("0[1-9][0-9]{8,9}")
_PLUS_IN_QUERY = "%2B"
_NEVER_BEFORE_PLUS = frozenset("0123456789)]")


def _is_international(value: str) -> bool:
    """Whether it begins with a country code that exists, and has the digits of a whole number."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    digits = "".join(_GROUPS.findall(_EXTENSION.split(value)[0]))
    has_code = any(int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE for n in (1, 2, 3))
    return has_code and _MIN_INTERNATIONAL <= len(digits) <= 15 and not _ROUND.match(digits)


def _has_digit_count(value: str) -> bool:
    digits = [c for c in _EXTENSION.split(value)[0] if c.isdigit()]
    return _MIN_DIGITS <= len(digits) <= 15 and len(set(digits)) > 1


def _is_grouped(value: str) -> bool:
    """Two to six groups of two to eight digits, the first of any length, seven digits or more: as people write numbers."""
    groups = _GROUPS.findall(_EXTENSION.split(value)[0])
    return 2 <= len(groups) <= 6 and sum(map(len, groups)) >= 7 and all(2 <= len(g) <= 8 for g in groups[1:])


def _has_trunk_prefix(value: str) -> bool:
    """A national number with its leading zero (trunk prefix): (0)20 7946 0958, 0412 345 678."""
    groups = _GROUPS.findall(value)
    usual = 9 <= sum(map(len, groups)) <= 11 and len(groups[0]) <= 5 and (len(groups) > 2 or len(groups[0]) > 2)
    return usual and value.lstrip("(").startswith("0")


_INSIDE_BEFORE = re.compile(r"[\w$€£#\\^*_][-./,]?$|[0-9][,.]$|[=+*/^]\s?$|\.$")
_NOT_INSIDE = re.compile(r"[A-Za-z]\.$|:$|[A-Za-z]=$")
_INSIDE_AFTER = re.compile(rf"(?!-(?i:{KIND})\b)(?:[\w%°]|[.,:][0-9]|[-/][0-9A-Za-z]|\s?[=*^]|[eE][-+0-9])")


def _is_inside_another(before: str, after: str) -> bool:
    """Whether it is part of a longer number, code, path or sum, judging by the two characters on either side."""
    if _INSIDE_BEFORE.search(before):
        return not _NOT_INSIDE.search(before)
    return bool(_INSIDE_AFTER.match(after))
