"""The words of a text, as classifiers and language models count them: case folded, punctuation a word of its own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from synth_ray.dedup.normalise import UNSPACED
from synth_ray.quality.features import Ragged

_UNSPACED = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
_TOKEN = re.compile(rf"[^\W{_UNSPACED}]+|\S")


def tokens(text: str) -> list[str]:
    """Runs of letters and digits; every other visible character, and each of a script without spaces, alone."""
    return _TOKEN.findall(unicodedata.normalize("NFC", text).casefold())


class Vocabulary:
    """Numbers words in the order in which they are first seen."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbered(self, texts: Sequence[str]) -> Ragged:
        """The words of each text as numbers; words not seen before get the next ones."""
        numbers = self._numbers
        rows = [[numbers.setdefault(word, len(numbers)) for word in tokens(text)] for text in texts]
        return Ragged.of([np.array(row, np.int64) for row in rows])
