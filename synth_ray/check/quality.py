"""Detects loops, refusals, echoes and wrong scripts from the text alone, in linear time."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_OPENING = 160
_REFUSALS = (
    r"i(?:'m| am) (?:so |very |really )?(?:sorry|afraid),? (?:but )?(?:i|that|as)\b.{0,40}"
    r"\b(?:can(?:'t|not)|unable|won't|not able)",
    r"(?:sorry,? )?(?:but )?i (?:can(?:'t|not)|am unable to|am not able to|won't) (?:help|assist|comply|do that|provide|fulfil)",
    r"as an? (?:ai|artificial intelligence|(?:large )?language model)\b",
    r"i (?:must|have to) (?:decline|refuse)",
    r"(?:unfortunately,? )?i(?:'m| am) (?:unable|not able|not allowed) to\b",
)
_WORD = re.compile(r"\w+", re.UNICODE)
_NGRAM = 4
_MAX_CHARACTERS = 1 << 20


def refusal_pattern(more: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in [*_REFUSALS, *more]), re.IGNORECASE)


def is_refusal(text: str, pattern: re.Pattern[str]) -> bool:
    """Whether the text opens with a refusal. The rest is not searched, since a good answer may mention refusals."""
    opening = text[:_OPENING].replace("\u2019", "'").lstrip(" \n\t\"'*")
    return pattern.match(opening) is not None


def repetition(text: str) -> float:
    """Share of the text that its most repeated passage fills: by words, or by characters if there are few words."""
    text = text[:_MAX_CHARACTERS]
    words = _WORD.findall(text.casefold())
    if len(words) >= 4 * _NGRAM:
        return max(_by_words(words), _by_lines(text))
    return _by_period(text)


def _by_words(words: list[str]) -> float:
    grams = list(zip(*(words[i:] for i in range(_NGRAM)), strict=False))
    if len(set(grams)) > len(grams) - 2:  # no n-gram can occur three times
        return 0.0
    return sum(n - 1 for n in Counter(grams).values() if n > 2) / len(grams)


def _by_lines(text: str) -> float:
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 8]
    if len(lines) < 4:
        return 0.0
    line, count = Counter(lines).most_common(1)[0]
    return count * len(line) / len(text) if count > 2 else 0.0


def _by_period(text: str) -> float:
    """The longest tail with a period of at most 16 characters, as in 'hahahaha', as a share of the text."""
    text, best = text.strip(), 0
    for period in range(1, min(16, len(text) // 4) + 1):
        run = 0
        for i in range(len(text) - 1, period - 1, -1):
            if text[i] != text[i - period]:
                break
            run += 1
        if run >= 3 * period:
            best = max(best, run + period)
    return best / len(text) if best > 24 else 0.0


def echo_share(prompt: str, completion: str) -> float:
    """Share of the prompt's words that the completion repeats, from its first word on."""
    prompt_text = prompt.casefold()
    same = 0
    for prompt_word, other in zip(_WORD.finditer(prompt_text), _WORD.finditer(completion.casefold()), strict=False):
        if prompt_word[0] != other[0]:
            break
        same += 1
    if not same or (words := len(_WORD.findall(prompt_text))) < 6:
        return 0.0
    return same / words


_SCRIPTS = {
    "latin": ("LATIN",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "han": ("CJK",),
    "japanese": ("CJK", "HIRAGANA", "KATAKANA"),
    "hangul": ("HANGUL",),
    "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
}
_SAMPLE_CHARACTERS = 2000


def script_share(text: str, script: str) -> float:
    """Share of letters that belong to the script, in a sample from the start of the text; 1 if there are no letters."""
    letters = [c for c in text[:_SAMPLE_CHARACTERS] if c.isalpha()]
    if not letters:
        return 1.0
    if script == "latin":
        plain = sum(c.isascii() for c in letters)
        letters = [c for c in letters if not c.isascii()]
    else:
        plain = 0
    named = sum(unicodedata.name(c, "").startswith(_SCRIPTS[script]) for c in letters)
    return (plain + named) / (len(letters) + plain) if letters or plain else 1.0
