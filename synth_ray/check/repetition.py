"""Measures how much of a text is a loop: one passage again and again, as a model writes that has lost its way.

Tables, lists, matrices and code repeat their form and not their content, so they are no loops. Law: linear time.
"""

# ruff: noqa: RUF001 - the characters are meant

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from synth_ray.check.glance_kernel import (
    DISTINCT_SHARE,
    GRAM,
    LONGEST_PERIOD,
    LONGEST_WORD,
    PLACES,
    SAMPLE,
    SHORTEST_RUN,
    may_loop,
)

_MAX_CHARACTERS = 1 << 20
_LIST_MARK = re.compile(r"(?:^|(?<=\s))(?:\d{1,4}[.)]|[-*•])(?=\s)")
_CLOSING_TAG = re.compile(r"</[\w:-]+\s*>")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+|[^\w\s]|_+")
_SENTENCE = re.compile(r"[.!?。！？\n]+")
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")
_CODE = frozenset('(){}[];=<>|"`$\\/#&%+^~@_')
_NO_PROSE = _CODE | frozenset("0123456789")
_RULE = frozenset("-=_*~#.+|:/\\<>^·•─━═│┃┌┐└┘├┤┬┴┼█░▒▓■□▪ \t\n")


def repetitions(texts: Sequence[str]) -> Iterator[float]:
    """`repetition` of each text. Most are told at a glance from a loop."""
    glances = may_loop([text[:_MAX_CHARACTERS].strip() for text in texts]).tolist()
    return (repetition(text) if may else 0.0 for text, may in zip(texts, glances, strict=True))


def repetition(text: str) -> float:
    """Share of the text that repeats a passage. A loop that runs to the end counts twice: the text had no end of its own."""
    text = text[:_MAX_CHARACTERS].strip()
    by_characters = _by_characters(text) if len(text) > SHORTEST_RUN else 0.0
    if not _may_repeat(text):
        return by_characters
    plain = _LIST_MARK.sub(" ", _CLOSING_TAG.sub(" ", text)).casefold()
    tokens = [match[0] for match in _TOKEN.finditer(plain)]
    return max(by_characters, _by_runs(tokens), _by_sentences(plain))


def _may_repeat(text: str) -> bool:
    """Whether many n-grams recur: a quick look that most texts do not pass. Text without spaces is always looked at."""
    words = _DIGITS.sub("0", text).split()
    if len(words) * LONGEST_WORD < len(text):
        return True
    grams = list(zip(*(words[n:] for n in range(GRAM)), strict=False))
    return len(set(grams)) < DISTINCT_SHARE * len(grams)


@dataclass(frozen=True, slots=True)
class _Run:
    """Tokens [start, end) that repeat with a period."""

    start: int
    end: int
    period: int

    @property
    def copies(self) -> float:
        return (self.end - self.start) / self.period


def _by_runs(tokens: list[str]) -> float:
    """Runs in which the same tokens follow one another again and again; a number may count on by one."""
    total = sum(map(len, tokens))
    sizes = (sum(map(len, tokens[run.start : run.end])) * (2 if run.end == len(tokens) else 1) for run in _loops(tokens))
    return min(1.0, max(sizes, default=0) / total) if total else 0.0


def _loops(tokens: list[str]) -> Iterator[_Run]:
    return (run for run in _runs(tokens) if _is_loop(tokens[run.end - run.period : run.end], run))


def _runs(tokens: list[str]) -> Iterator[_Run]:
    """Maximal runs of one period, found by the last place of each n-gram, in which every number is masked."""
    masked = ["0" if token.isdigit() else token for token in tokens]
    last: dict[tuple[str, ...], int] = {}
    start = period = 0
    for place, gram in enumerate(zip(*(masked[n:] for n in range(GRAM)), strict=False)):
        found = place - last[gram] if gram in last else 0
        last[gram] = place
        goes_on = found == period and found > 0 and _counts_on(tokens, place + GRAM - 1, period)
        if goes_on:
            continue
        if period:
            yield _Run(start, place + GRAM - 1, period)
        start, period = (place - found, found) if found else (place, 0)
    if period:
        yield _Run(start, len(tokens), period)


def _counts_on(tokens: list[str], place: int, period: int) -> bool:
    """Whether a token is that of one period before, or the next number."""
    before, token = tokens[place - period], tokens[place]
    return before == token or (token.isdigit() and before.isdigit() and len(token) < 10 and int(token) - int(before) == 1)


def _is_loop(unit: list[str], run: _Run) -> bool:
    """Prose is a loop from few copies on. What looks like data or code needs many, and what has no letters is left to
    `_by_characters`.
    """
    words = [token for token in unit if token[0].isalpha()]
    is_code = any(token in _CODE for token in unit)
    is_numbered = any(token.isdigit() for token in unit)
    if len(words) == 1 and (is_code or "," in unit):
        return run.copies >= (80 if is_code or is_numbered else 40)
    if is_code or (len(words) < 3 and is_numbered):
        return bool(words) and run.copies >= 30
    return run.copies >= (4 if len(words) >= 4 else 6 if len(words) > 1 else 10) and bool(words)


def _by_sentences(text: str) -> float:
    """Share of sentences that occur three times and more, wherever they are."""
    sentences = [sentence.strip() for sentence in _SENTENCE.split(text)]
    prose = [s for s in sentences if len(_WORD.findall(s)) >= 3 and not _NO_PROSE.intersection(s)]
    if len(prose) < 4:
        return 0.0
    repeated = sum(n * len(sentence) for sentence, n in Counter(prose).items() if n > 2)
    return repeated / sum(map(len, sentences))


def _by_characters(text: str) -> float:
    """Runs of a short period of characters, as in 'hahahaha', as a share of the text.

    Runs are looked for at a few places, one of which lies in each run that fills much of the text.
    """
    size = len(text)
    periods = {period for place in range(0, size - SHORTEST_RUN, size // PLACES + 1) for period in _periods_at(text, place)}
    return max((_looped(text, period) for period in periods), default=0) / size


def _periods_at(text: str, place: int) -> Iterator[int]:
    """Short distances after which the characters at this place come again."""
    sample, found = text[place : place + SAMPLE], place
    while (found := text.find(sample, found + 1, place + LONGEST_PERIOD + SAMPLE)) >= 0:
        yield found - place


def _looped(text: str, period: int) -> int:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    breaks = np.flatnonzero(np.concatenate(([True], codes[period:] != codes[:-period], [True])))
    lengths = np.diff(breaks) - 1 + period
    long = np.flatnonzero(lengths >= SHORTEST_RUN).tolist()
    return sum(int(lengths[n]) for n in long if lengths[n] >= _fewest(text[breaks[n] : breaks[n] + period]))


def _fewest(unit: str) -> int:
    """Characters that a run of this unit must have to be no rule, row of a matrix, or cry."""
    if all(character in _RULE for character in unit):
        return 400
    is_listed = any(character in ",;|[]()" for character in unit)
    if any(character.isalpha() for character in unit):
        return 400 if is_listed or " " in unit or _NO_PROSE.intersection(unit) else SHORTEST_RUN
    has_space = any(character.isspace() for character in unit)
    return 900 if is_listed or (has_space and any(character.isdigit() for character in unit)) else 60
