"""Which numbers are phones: with a country code, valid and grouped, or any plausible number after a word such as "call"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

GATE = r"[0-9](?:[-x/ ().\[\]~\x80-\xff]{0,12}[0-9]){5}"
_NUMBER = (
    r"(?:\+|\(\+?)?[0-9](?:[0-9]|[ .\-/]{1,2}\(?[0-9]|\([0-9]|\)[ .\-/]{0,2}[0-9]){5,20}"
    r"(?:\s?(?:x|ext\.?|extension)\s?[0-9]{1,6})?"
)
_MIN_DIGITS = 6
_SENTENCE = re.compile(r"[.!?;]\s+(?=[A-Z])|\n\n")
_LONG_NUMBER = re.compile(r"[0-9]{4,}")
_CONTEXT = re.compile(
    r"(?i)\b(?:phones?|telephone|tel|telefon[oe]?|t[ée]l(?:[ée]phone)?|mobile?|mob|m[óo]vil|cell|cellphone|celular|handy|fax|"
    r"whatsapp|wa|viber|signal|sms|text|texts|texted|call|calls|called|calling|ring|dial|dialed|reach|contact|hotline|helpline|"
    r"landline|desk|numbers?|line|voicemail|ph|nr|no)\b"
)
_NOT_PHONE = re.compile(
    r"(?i)\b(?:orders?|invoice|tickets?|case|ref|reference|tracking|serial|part|sku|isbn|issn|doi|build|version|commit|model|ids?|"
    r"uid|pin|zip|epoch|timestamp|pages?|chapter|section|item|lot|batch|po|row|lines?|port|error|code|account|acct|confirmation|"
    r"booking|flight|policy|claim|member|student|employee|patient|customer|rfc|issue|pr|equals|total|sum|product|result|prime|"
    r"random|integer|value|ssn|passport|license|licence|card|iban|routing|nhs|itin|figure|fig|table|equation|eq|theorem|exercise|"
    r"question|problem|step|level)\b[\s\w]{0,14}[\s:#.=(\-]{0,4}$"
)
_ADJACENT = re.compile(
    r"(?i)\b(?:(?:tel|telephone|t[ée]l[ée]phone|telefon[oe]?|phone|ph|mobile?|m[óo]vil|mob|cell|cellphone|celular|fax|whatsapp|sms|"
    r"hotline|helpline|landline|voicemail|handy)(?:[\s_-]?(?:number|no|nr|num|line|#))?|(?:contact|daytime|evening|work|home|office|"
    r"emergency|direct|callback|my|our|his|her|their|your)[\s_](?:number|line)|(?:call|text|ring|dial|phone|reach|sms|whatsapp|fax|"
    r"message)(?:\s(?:me|us|him|her|them|back|now|mom|dad|\w{1,20}))?(?:\s(?:directly|back|anytime|any\stime|today|tonight))?\s"
    r"(?:on|at|via|under|to))\b[\s:.=#*\"'\[,>|\\]{0,4}(?:(?:is|was|are|at|on|now|via|under|still|also|:|-|–)[\s:\"']{1,3}){0,3}$"
)
_AFTER = re.compile(
    r"(?i)^[\s,;)\"']{0,3}(?:is|was)\s(?:the\s(?:best|right|easiest|only|quickest)?\s?(?:way|number|line)|(?:my|his|her|our|their)"
    r"\s(?:\w{1,12}\s)?(?:phone|cell|mobile|number|line|fax)|(?:where|how)\s(?:you|to)\s)|^[\s,]{0,2}\(?(?:mobile|cell|work|home|"
    r"fax|office|phone|direct|tel)\b"
)
_ENDS = re.compile(r"[0-9A-Za-z_%]|[.\-/:][0-9A-Za-z]")
_LIKE_DATE = re.compile(
    r"(?:[0-9]{1,2}[. ]{1,2})?(?:19|20)[0-9]{2}[-/. ](?:0?[1-9]|1[0-2])[-/. ](?:0?[1-9]|[12][0-9]|3[01])\b|"
    r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}\b"
)
_LIKE_OTHERS = re.compile(
    r"(?:1[5-9]|20)[0-9]{2} ?[-/ ] ?(?:1[5-9]|20)[0-9]{2}|"  # years
    r"[0-9]{1,4}\.[0-9]{3,}|"  # a decimal number
    r"[0-9]{1,4}(?:\.[0-9]{1,4}){3}(?<!\.[0-9]{4})|"  # an IP address or a version
    r"[0-9]{5}-[0-9]{4}|"  # a ZIP code
    r"1[4-9][0-9]{8}(?:[0-9]{3})?"  # a Unix timestamp
)
_GROUPS = re.compile("[0-9]+")
_EXTENSION = re.compile("(?i)x|ext")
_REFUSED_BEFORE = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_REFUSED_NEAR = frozenset(".$€£#/\\^*=-")


def is_candidate(text: str, start: int, end: int) -> bool:
    """Whether libphonenumber must check it: it is grouped, has a country code, or has a phone word beside it."""
    candidate = text[start:end]
    if not candidate.isdigit():
        if sum(map(str.isdigit, candidate)) < _MIN_DIGITS:
            return False
        return not (_LIKE_OTHERS.fullmatch(candidate) or _LIKE_DATE.fullmatch(candidate))
    return _has_context_before(text, start) or bool(_AFTER.match(text[end : end + 40]))


def accept(text: str, finding: Finding) -> bool:
    """Whether a number that libphonenumber finds valid is a phone number in this text."""
    start, end = finding.start, finding.end
    value = text[start:end]
    before = text[max(0, start - 2) : start]
    if value[0] == "[":
        value, before = value[1:], "["
    if value[0] == "+":
        return not before or not (before[-1].isalnum() or before[-1] in "_.")
    if _is_inside_another(before, text[end : end + 2]) or _LIKE_DATE.match(value):
        return False
    if _is_introduced(text, start) or _AFTER.match(text[end : end + 40]):
        return True
    if _LIKE_OTHERS.fullmatch(value) or (value[0] != "(" and _NOT_PHONE.search(text[max(0, start - 40) : start])):
        return False
    return _is_grouped(value) or _has_context_before(text, start)


def finder() -> Callable[[TextView, float], Iterator[Finding]]:
    """Numbers that context makes phones, whether or not libphonenumber finds them valid in any region."""
    import re2

    number = re2.compile(_NUMBER.encode())

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
            at = begin + len(_GROUPS.match(text, start)[0]) if text[start].isdigit() else begin + 1  # type: ignore[index]
        elif not _ENDS.match(text, end) and _has_digit_count(text[start:end]):
            yield start, end


def _score(text: str, start: int, end: int) -> float:
    value = text[start:end]
    if _LIKE_DATE.match(value):
        return 0.0
    if _is_introduced(text, start):
        return 0.75
    if text[start - 1 : start] in _REFUSED_NEAR and start:
        return 0.0
    after = bool(_AFTER.match(text[end : end + 40]))
    if not (_is_grouped(value) or after) or _LIKE_OTHERS.fullmatch(value):
        return 0.0
    has_context = _has_context_before(text, start) and not _NOT_PHONE.search(text[max(0, start - 40) : start])
    return 0.6 if has_context or after or _has_trunk_prefix(value) else 0.0


def _is_introduced(text: str, start: int) -> bool:
    """Whether the words directly before introduce a phone number, and no word before those says otherwise."""
    before = text[max(0, start - 80) : start]
    m = _ADJACENT.search(before)
    return bool(m) and not _NOT_PHONE.search(before[max(0, m.start() - 20) : m.start()])  # type: ignore[union-attr]


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


def _has_context_before(text: str, start: int) -> bool:
    before = _SENTENCE.split(text[max(0, start - 45) : start])[-1]
    return bool(_CONTEXT.search(_LONG_NUMBER.split(before)[-1]))


_INSIDE_BEFORE = re.compile(r"[\w$€£#\\^*_][-./,]?$|[0-9][,.]$|[=+*/^]\s?$|\.$")
_NOT_INSIDE = re.compile(r"[A-Za-z]\.$|:$|[A-Za-z]=$")
_INSIDE_AFTER = re.compile(r"[\w%°]|[.,:][0-9]|[-/][0-9A-Za-z]|\s?[=*^]|[eE][-+0-9]")


def _is_inside_another(before: str, after: str) -> bool:
    """Whether it is part of a longer number, code, path or sum, judging by the two characters on either side."""
    if _INSIDE_BEFORE.search(before):
        return not _NOT_INSIDE.search(before)
    return bool(_INSIDE_AFTER.match(after))
