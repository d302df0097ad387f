"""What stands around a number and says that it is a phone number, or that it is another: words, and the lines of an address."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from synth_ray.scrub.text_view import PHONE_WORD

_SENTENCE = re.compile(r"[.!?;]\s+(?=[A-Z])|\n\n")
_LONG_NUMBER = re.compile(r"[0-9]{4,}")
_PHONE = (
    r"tel|telephone|t[ée]l[ée]phone|telefon[oe]?|phone|ph|mobile?|m[óo]vil|mob|cell|cellphone|celular|fax|whatsapp|sms|hotline|"
    r"helpline|landline|voicemail|handy"
)
_CONTEXT = (
    rf"(?i)(?:^|[^0-9a-z])(?:{_PHONE}|phones|t[ée]l)(?:$|[^0-9a-z])|{PHONE_WORD}|"
    r"\b(?:wa|viber|signal|text|texts|texted|calls?|called|calling|ring|dial|dialed|reach|contact|desk|numbers?|line|nr|no)\b"
)
_NOT_PHONE = (
    r"(?i)\b(?:orders?|invoice|tickets?|case|ref|reference|tracking|serial|part|sku|isbn|issn|doi|build|version|commit|model|ids?|"
    r"uid|pin|zip|epoch|timestamp|pages?|chapter|section|item|lot|batch|po|row|lines?|port|error|code|account|acct|confirmation|"
    r"booking|flight|policy|claim|member|student|employee|patient|customer|rfc|issue|pr|equals|total|sum|product|result|prime|"
    r"random|integer|value|ssn|passport|license|licence|card|iban|routing|nhs|itin|figure|fig|table|equation|eq|theorem|exercise|"
    r"question|problem|step|level)\b[\s\w]{0,14}[\s:#.=(\-]{0,4}$"
)
_BETWEEN = r"(?:$|[\s:.=#*\"'\[(,>|\\\x01]{1,4}(?:(?:is|was|are|at|on|now|to|via|under|still|also|:|-|–)[\s:\"']{1,3}){0,3}$)"
_CALL = r"call|text|ring|dial|phone|reach|sms|whatsapp|fax|message|contact"
_ADJACENT = (
    rf"(?i)(?:(?:^|[^0-9a-z])(?:{_PHONE})(?:[\s_-]?(?:number|no|nr|num|line|#))?|"
    r"(?-i:[a-z](?:Tel|Telephone|Phone|Mobile|Cell|Fax)(?:Number|No|Num)?)|(?-i:(?:^|[\n,;|(])\s?[TMPFC]:)|"
    r"\b(?:(?:contact|daytime|evening|work|home|office|emergency|direct|callback|registered|my|our|his|her|their|your|whose|which|new|"
    rf"old)[\s_](?:number|line)|(?:{_CALL})(?:\s(?:me|us|him|her|them|back|now|mom|dad|\w{{1,20}}))?(?:\s(?:directly|back|anytime|"
    r"any\stime|today|tonight))?\s(?:on|at|via|under|to)|"
    r"(?:messages?|texts?|calls?|sms|phoned)\s(?:to|from|on|at)(?:\s(?:my|our|this|the))?|answer(?:s|ed|ing)?\s(?:at|on)|"
    rf"registered|(?:line|number)\s(?:has\s)?(?:changed|moved)\sto)|{PHONE_WORD}){_BETWEEN}|"
    r"\b(?:call|dial|ring|phone|text)(?:ed|ing|s)?(?:\s(?:me|us|him|her|them))?:?\s$"
)
KIND = r"mobile|cell|work|home|fax|office|phone|direct|tel|desk"
_WHOSE = r"(?:my|his|her|our|their|your|the)"
_IS = r"(?:(?:that|which|this)?['’\s]{0,1}(?:is|was|s))?\s?(?:now\s|still\s|also\s)?"
_AFTER = re.compile(
    rf"(?i)^[\s,;)\"'–—-]{{0,4}}(?:\(?{_IS}{_WHOSE}\s(?:\w{{1,12}}\s){{0,2}}(?:phone|cell|mobile|number|line|fax)\b|"
    r"(?:is|was)\s(?:the\s(?:best|right|easiest|only|quickest)?\s?(?:way|number|line)|(?:where|how)\s(?:you|to)\s)|"
    r"a\s(?:\w{1,12}\s)?number\b)|"
    rf"^[\s,]{{0,2}}[(\[-]?(?:{KIND})\b(?!\s(?:phones|calls|numbers|lines|users))"
)
_NUMBERS_ONLY = re.compile(r"[^A-Za-z]*")
_FIELD_BEFORE = re.compile(r"[^\W\d_]{2}[,;|]\s?$")
_FIELD_AFTER = re.compile(r"\.?\s*$|[,;|]\s?[^\W\d_]")
_LIKE_AMOUNT = re.compile(r"[0-9]{1,2}(?: [0-9]{3})+")
_ADDRESS_LINE = re.compile(r"(?=.*[^\W\d_]{2})[\w .,'#/&>\-]*[0-9][\w .,'#/&\-]*")
_REACH = 160
"""Characters on either side in which the lines of an address are looked for."""


@cache
def re2_of(expression: str) -> Any:
    import re2

    return re2.compile(expression.encode())


def _search(expression: str, text: bytes) -> Any:
    """The first match. RE2 finds it in a tenth of the time of `re`, since these expressions can begin anywhere."""
    return re2_of(expression).search(text)


def _before(text: str, start: int, reach: int) -> bytes:
    return text[max(0, start - reach) : start].encode("utf-8", "surrogatepass")


def is_introduced(text: str, start: int) -> bool:
    """Whether the words directly before introduce a phone number, and no word before those says otherwise."""
    before = _before(text, start, 80)
    m = _search(_ADJACENT, before)
    return bool(m) and not _search(_NOT_PHONE, before[max(0, m.start() - 20) : m.start()])


def is_explained(text: str, end: int) -> bool:
    """Whether the words directly behind say that it is a phone number: `is my phone`, `(cell)`."""
    return bool(_AFTER.match(text[end : end + 40]))


def is_another(text: str, start: int) -> bool:
    """Whether the words before say that it is a number of another kind, such as an order's."""
    return bool(_search(_NOT_PHONE, _before(text, start, 40)))


def has_phone_word(text: str, start: int) -> bool:
    """Whether a word for telephones or calling stands before it in the sentence, with no other long number between."""
    before = _LONG_NUMBER.split(_SENTENCE.split(text[max(0, start - 45) : start])[-1])[-1]
    return bool(_search(_CONTEXT, _before(before, len(before), 45)))


def is_line(text: str, start: int, end: int) -> bool:
    """Whether a number is a line of its own between lines of words, or a field between commas, as in a signature."""
    above, _, left = text[max(0, start - _REACH) : start].rpartition("\n")
    right, _, below = text[end : end + _REACH].partition("\n")
    is_amount = bool(_LIKE_AMOUNT.fullmatch(text[start:end]))
    if left.strip(" >|*"):
        return not is_amount and bool(_FIELD_BEFORE.search(left) and _FIELD_AFTER.match(right))
    above, below = above.rstrip().rpartition("\n")[2], below.lstrip().partition("\n")[0]
    if right.strip() or not above or (is_amount and not _ADDRESS_LINE.fullmatch(above)):
        return False
    return not _NUMBERS_ONLY.fullmatch(above) and not (below and _NUMBERS_ONLY.fullmatch(below))


def ends_address(text: str, start: int, end: int) -> bool:
    """Whether it is a line of its own below one with a word and a number, as a street or a town with its postal code."""
    above, _, left = text[max(0, start - _REACH) : start].rpartition("\n")
    above = above.rstrip().rpartition("\n")[2]
    return not left.strip("> ") and bool(_ADDRESS_LINE.fullmatch(above)) and is_line(text, start, end)
