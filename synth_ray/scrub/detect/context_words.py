"""Words beside a match that say what it is: whole words of the same sentence, not pieces of other words."""

from __future__ import annotations

import re
from collections.abc import Sequence

BOOST = 0.35
MIN_BOOSTED = 0.4
"""As Presidio's context enhancer: a cue adds so much, and lifts a score at least to this."""

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
"""What makes a number of no form of its own somebody's. Stock words that mean too much ("bank", "us") are left out."""

CONTEXT_REQUIRED = frozenset({"US_PASSPORT", "US_BANK_NUMBER", "US_DRIVER_LICENSE", "UK_NHS", "MEDICAL_LICENSE"})
"""Entities whose form alone says nothing: without a cue a finding is dropped, whatever its check digit."""

_SENTENCE = re.compile(r"[.!?;]\s+(?=[A-Z])|\n\s*\n")
_BEFORE, _AFTER = 60, 30
_PIECE_AFTER = frozenset("#$€£.-")
"""Before a number these make it an order's, a price, or the rest of a longer one."""
_GOES_ON = re.compile(r"-[0-9A-Za-z]")
_NUMBER = re.compile(r"[0-9]{5}")
_LINE = re.compile(r"[.!?;]\s+(?=[A-Z])|\n")


class ContextWords:
    """The cue words of one entity."""

    def __init__(self, words: str) -> None:
        self.gate = rf"(?:^|[^a-z0-9])(?:{words.replace('’', '.{1,3}')})"
        self._words = re.compile(rf"(?i)(?<![a-z0-9])(?:{words})(?![a-z0-9])")

    def is_near(self, text: str, start: int, end: int) -> bool:
        """Whether a cue stands in the 60 characters before or the 30 after, in the sentence and with no other number between."""
        if (start and text[start - 1] in _PIECE_AFTER) or _GOES_ON.match(text, end):
            return False
        before = _SENTENCE.split(text[max(0, start - _BEFORE) : start])[-1]
        if self._words.search(_NUMBER.split(before)[-1]):
            return True
        after = _LINE.split(text[end : end + _AFTER])[0]
        m = self._words.search(after)
        return bool(m) and not _NUMBER.search(after, 0, m.start())  # type: ignore[union-attr]


def context_words_for(entity: str, stock: Sequence[str]) -> ContextWords | None:
    """The entity's own cue, else one of Presidio's context words for it."""
    words = CONTEXT.get(entity) or "|".join(re.escape(w).replace(r"\ ", r"\s+") for w in stock)
    return ContextWords(words) if words else None


def boosted_score(score: float) -> float:
    return min(1.0, max(score + BOOST, MIN_BOOSTED))
