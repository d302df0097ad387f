"""Context words: whole words in the same sentence as a match that say what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

BOOST = 0.35
MIN_BOOSTED = 0.4
"""As in Presidio's context enhancer: a context word adds BOOST to a score and raises it to at least MIN_BOOSTED."""

CONTEXT = {
    "US_SSN": r"ssns?|ss#|social[\s_]+security|social\s+sec|soc\s+sec|social",
    "US_ITIN": r"itin|tax(?:payer)?[\s_]+id(?:entification)?|taxpayer|tin|tax\s+number",
    "US_PASSPORT": r"passports?",
    "US_BANK_NUMBER": r"(?:bank|checking|savings|deposit|chequing)[\s_]+(?:account|acct)|acct|routing|direct\s+deposit|"
    r"account\s+is|(?:account|acct|a/c)[\s_]*(?:number|num|no|nr|#)|account:",
    "US_DRIVER_LICENSE": r"driv(?:er|er['’]s|ers|ing)[\s_]+(?:licen[sc]e|permit|id)|licen[sc]e[\s_]*(?:number|num|no|nr|#)|"
    r"dl[\s_]*(?:number|no|#)?|d\.l\.|(?:my|his|her|their)\s+licen[sc]e\s+is",
    "UK_NHS": r"nhs|national\s+health(?:\s+service)?|health\s+service\s+number",
    "MEDICAL_LICENSE": r"dea|medical\s+licen[sc]e|prescriber|physician\s+licen[sc]e",
}
"""Context words of entities whose numbers have no distinctive form. Presidio's words that are too common ("bank", "us") are left
out.
"""

CONTEXT_REQUIRED = frozenset({"US_PASSPORT", "US_BANK_NUMBER", "US_DRIVER_LICENSE", "UK_NHS", "MEDICAL_LICENSE"})
"""Entities whose form alone proves nothing: without a context word a finding is dropped, even if its check digit is right."""

_SENTENCE = re.compile(r"[.!?;]\s+(?=[A-Z])|\n\s*\n")
_BEFORE, _AFTER = 60, 30
_REFUSED_BEFORE = frozenset("#$€£.-")
"""Directly before a number, these mark an order number, a price, or a part of a longer number."""
_CONTINUES = re.compile(r"-[0-9A-Za-z]")
_NUMBER = re.compile(r"[0-9]{5}")
_SENTENCE_OR_LINE = re.compile(r"[.!?;]\s+(?=[A-Z])|\n")


class ContextWords:
    """The context words of one entity. `gate` is their RE2 expression for the prefilter."""

    def __init__(self, words: str) -> None:
        self.gate = rf"(?:^|[^a-z0-9])(?:{words.replace('’', '.{1,3}')})"
        self._words = re.compile(rf"(?i)(?<![a-z0-9])(?:{words})(?![a-z0-9])")

    def is_near(self, text: str, start: int, end: int) -> bool:
        """Whether a context word is in the 60 characters before or the 30 after, in the same sentence and with no other number
        between.
        """
        if (start and text[start - 1] in _REFUSED_BEFORE) or _CONTINUES.match(text, end):
            return False
        before = _SENTENCE.split(text[max(0, start - _BEFORE) : start])[-1]
        if self._words.search(_NUMBER.split(before)[-1]):
            return True
        after = _SENTENCE_OR_LINE.split(text[end : end + _AFTER])[0]
        m = self._words.search(after)
        return bool(m) and not _NUMBER.search(after, 0, m.start())  # type: ignore[union-attr]


def context_words_for(entity: str, stock: Sequence[str]) -> ContextWords | None:
    """The context words of the entity in CONTEXT, else `stock`, Presidio's words for it. None if there are neither."""
    words = CONTEXT.get(entity) or "|".join(re.escape(w).replace(r"\ ", r"\s+") for w in stock)
    return ContextWords(words) if words else None


def boosted_score(score: float) -> float:
    return min(1.0, max(score + BOOST, MIN_BOOSTED))
