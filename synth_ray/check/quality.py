"""Detects echoes and wrong scripts from the text alone, in linear time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from synth_ray.check.glance_kernel import begin_alike

_WORD = re.compile(r"\w+", re.UNICODE)


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


def echo_shares(prompts: Sequence[str], completions: Sequence[str]) -> Iterator[float]:
    """`echo_share` of each row. Few answers begin with the first word of their prompt."""
    alike = begin_alike([text.casefold() for text in prompts], [text.casefold() for text in completions]).tolist()
    rows = zip(prompts, completions, alike, strict=True)
    return (echo_share(prompt, completion) if may else 0.0 for prompt, completion, may in rows)


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
