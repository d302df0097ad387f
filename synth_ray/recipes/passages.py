"""Splits a document into passages of a maximal number of tokens, at sentence ends if possible."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])[\"')\]]*\s+|\n{2,}")
_CHARACTERS_PER_TOKEN = 4

Count = Callable[[str], int]


@lru_cache(maxsize=8)
def counter(tokenizer: str) -> Count:
    """A function that counts tokens with a local tokenizer.json, or as characters / 4 if none is named. Raises ValueError if
    there is no such file.
    """
    if not tokenizer:
        return lambda text: -(-len(text) // _CHARACTERS_PER_TOKEN)
    path = Path(tokenizer)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"wanted a local tokenizer.json or a folder that holds one, got '{tokenizer}', which has none")
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(file))
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def passages(text: str, *, tokens: int, count: Count) -> list[str]:
    """Passages in order. Law: no word is lost or repeated, and none has more than `tokens` tokens unless it is a single word."""
    passages_: list[str] = []
    current = ""
    for piece in _pieces(text, tokens, count):
        joined = f"{current} {piece}" if current else piece
        if current and count(joined) > tokens:
            passages_.append(current)
            current = piece
        else:
            current = joined
    return [*passages_, current] if current else passages_


def _pieces(text: str, tokens: int, count: Count) -> list[str]:
    """Sentences; one of more than `tokens` tokens is split into words."""
    pieces: list[str] = []
    for sentence in filter(None, (s.strip() for s in _SENTENCE_END.split(text) if s)):
        pieces += [sentence] if count(sentence) <= tokens else sentence.split()
    return pieces
