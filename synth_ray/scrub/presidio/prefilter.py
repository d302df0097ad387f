"""Gates: expressions that must match before a regular expression can. One pass over the bytes evaluates all of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from synth_ray.scan import compiled_union, texts_matching

FOLDS_TO_ASCII = re.compile("[\u017f\u212a\u0130\u0131]|(?![0-9])\\d")
"""Letters that case-fold to ASCII ones, and non-ASCII digits: gates do not see them, so with any of these every gate is open."""

_IPV4 = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
_IPV4_INSIDE = r":[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
_NINE = r"\b[0-9]{9}\b"
_ITIN = r"\b9\d{2}[- ]?[5-9]\d[- ]?\d{4}\b"
REGEX_AS_GATE = ""

GATES: dict[str, tuple[str, str]] = {
    "f619fa242c932c37": (  # All Credit Cards (weak)
        r"\b(?:4\d{3}|5[0-5]\d{2}|6\d{3}|1\d{3}|3\d{3})[- ]?\d{3,4}[- ]?\d{3,4}[- ]?\d{3,5}\b",
        "",
    ),
    "77ff5492baf67207": (r"\b[0-9]{8,17}\b", "digit"),  # Bank Account (weak)
    "ab1eb0b240f24580": (REGEX_AS_GATE, "digit"),  # Driver License - Alphanumeric (weak)
    "03317c267dbb76a2": (r"\b(?:[0-9]{6,14}|[0-9]{16})\b", "digit"),  # Driver License - Digits (very weak)
    "724a6775f6d92716": (_ITIN, ""),  # Itin (very weak)
    "1dfa186e9a6100e4": (_ITIN, ""),  # Itin (weak)
    "aca6bdbc8bcbfacf": (_ITIN, ""),  # Itin (medium)
    "31cb23903d565134": (_NINE, "digit"),  # Passport (very weak)
    "a4aad820a6663d66": (r"\b[A-Z][0-9]{8}\b", "digit"),  # Passport Next Generation (very weak)
    "17f1d935dc2f3eff": (r"\b[0-9]{5}-[0-9]{4}\b", ""),  # SSN1 (very weak)
    "75527eba59550d4d": (r"\b[0-9]{3}-[0-9]{6}\b", ""),  # SSN2 (very weak)
    "213ac080713cf308": (r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", ""),  # SSN3 (very weak)
    "4e6bd6618bc9dd32": (_NINE, ""),  # SSN4 (very weak)
    "f2721d631f6158ff": (r"\b[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}\b", ""),  # SSN5 (medium)
    "d813b701023b5188": (r"\b[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{4}\b", ""),  # NHS (medium)
    "9d9a993fd6aee894": (r"(?:bc1|[13])[a-z0-9]{25}", "wallet"),  # Crypto (Medium)
    "8231e96300900a19": (REGEX_AS_GATE, "digit"),  # Datetime (yyyy-mm-ddThh:mm[:ss[.f]] with timezone)
    "de849c1681c98a79": (REGEX_AS_GATE, "digit"),  # mm/dd/yyyy or mm/dd/yy
    "19ffdc2987b151d9": (REGEX_AS_GATE, "digit"),  # dd/mm/yyyy or dd/mm/yy
    "4ccb5d61a4e1942d": (REGEX_AS_GATE, "digit"),  # yyyy/mm/dd
    "9d1fcea6de93cf88": (REGEX_AS_GATE, "digit"),  # mm-dd-yyyy
    "cd1cf05f027c5501": (REGEX_AS_GATE, "digit"),  # dd-mm-yyyy
    "79e15fb16d77fdfa": (REGEX_AS_GATE, "digit"),  # yyyy-mm-dd
    "ed7ea12896824ef7": (REGEX_AS_GATE, "digit"),  # dd.mm.yyyy or dd.mm.yy
    "9cca403b33cf14e4": (REGEX_AS_GATE, "digit"),  # dd-MMM-yyyy or dd-MMM-yy
    "47b9242593e806a6": (REGEX_AS_GATE, "digit"),  # MMM-yyyy or MMM-yy
    "94027aaf76935ea5": (REGEX_AS_GATE, "digit"),  # dd-MMM or dd-MMM
    "52dd574bb25c7150": (REGEX_AS_GATE, "digit"),  # mm/yyyy or m/yyyy
    "cfd91e15ada32eda": (REGEX_AS_GATE, "digit"),  # mm/yy or m/yy
    "004723abbb67ff6c": (r"@", "at"),  # Email (Medium)
    "1f98697e78e08d67": (  # IBAN Generic
        r"(?:^|[^A-Z0-9])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?:$|[^A-Z0-9])",
        "",
    ),
    "5def597d3b4dac73": (_IPV4_INSIDE, ""),  # IPv4_mapped
    "66197b1f8e63cd27": (_IPV4_INSIDE, ""),  # IPv4_embedded
    "ae1e66dfc54606cf": (_IPV4, "ipv4"),  # IPv4
    "c4f79b73053cd5f0": (r"::|(?:[0-9a-f]{1,4}:){7}[0-9a-f]", ""),  # IPv6
    "c696285024ae5b47": (r"::", ""),  # IPv6_unspecified
    "8b00da21c7ca480a": (r"[abcdefghjklmprstux](?:[a-z]|9)\d{7}", "digit"),  # USA DEA Certificate Number (weak)
    "a101077778af2f88": (r"\b[0-9A-F]{2}[:-](?:[0-9A-F]{2}[:-]){4}[0-9A-F]{2}\b", ""),  # MAC_COLON_OR_HYPHEN
    "1dbdb084e42f48d2": (r"\b[0-9A-F]{4}\.[0-9A-F]{4}\.[0-9A-F]{4}\b", ""),  # MAC_CISCO_DOT
    "829f95c95367c972": (  # UUID (hyphenated)
        r"\b[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}\b",
        "",
    ),
}
"""By digest of a Presidio regex: the gate without which it cannot match, and a trigger that every match contains.

A regex that is not listed has no gate and runs on every text. The trigger names an expression of `text_view` (empty: none); a
match with a trigger contains no space or newline.
"""

PHONE_GATE = r"[0-9](?:[-x/ ().\[\]~\x80-\xff]{0,12}[0-9]){3}"
"""Four digits with at most four punctuation characters between two of them: no shorter number is valid anywhere."""


def key_of(regex: str) -> str:
    return hashlib.sha256(regex.encode()).hexdigest()[:16]


class Prefilter:
    r"""Searches for many RE2 expressions at once, ignoring case. Each must be ASCII or escape its other bytes.

    Law: every expression that matches the bytes is reported. `\b` and classes treat bytes above 127 as non-letters, which can
    only open a gate too often.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._sets: list[tuple[Any, list[int]]] = []
        self._union: Any = None

    def add(self, expression: str) -> int:
        """The number under which `matching` reports the expression; equal expressions share a number. Raises ValueError after the
        first `matching`.
        """
        if self._sets:
            raise ValueError("wanted gates added before they are asked, got one after")
        return self._ids.setdefault(expression, len(self._ids))

    def matching(self, text: str) -> frozenset[int]:
        """Numbers of the expressions found in the text."""
        if not self._sets:
            self._sets = self._compiled()
        data = text.encode("utf-8", "surrogatepass")
        return frozenset(numbers[i] for matcher, numbers in self._sets for i in matcher.Match(data) or ())

    def texts_that_may_match(self, texts: Sequence[str]) -> list[int]:
        """The places of the texts in which any expression may be found. Law: of no other text does `matching` report one."""
        if self._union is None:
            self._union = compiled_union((name.encode("latin-1") for name in self._ids), ignores_case=True)
        return texts_matching(self._union, [text.encode("utf-8", "surrogatepass") for text in texts])

    def _compiled(self) -> list[tuple[Any, list[int]]]:
        import re2

        options = re2.Options()
        options.case_sensitive = False
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 512 << 20
        sets = []
        for first in range(min(_SETS, len(self._ids))):
            searcher, numbers = re2.Set.SearchSet(options), []
            for expression, number in self._ids.items():
                if number % _SETS == first:
                    searcher.Add(expression.encode("latin-1"))
                    numbers.append(number)
            searcher.Compile()
            sets.append((searcher, numbers))
        return sets


_SETS = 5
"""The automaton has a state for every combination of expressions found so far: one set of all 38 costs 290 µs per new text of 200
words, five sets cost 40 µs.
"""
