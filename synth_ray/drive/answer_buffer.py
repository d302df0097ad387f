"""Answers held until their chunk is complete and staged: the only part of the driver whose memory can grow large."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from synth_ray.ask.rows import AnsweredRows


class AnswerBuffer:
    """Answered rows by chunk, from the answer until the commit. `nbytes` is their size."""

    def __init__(self) -> None:
        self._answers: dict[int, list[AnsweredRows]] = {}
        self._sizes: Counter[int] = Counter()
        self.nbytes = 0

    def add(self, answers: AnsweredRows) -> None:
        self._answers.setdefault(answers.chunk, []).append(answers)
        size = answers.rows.nbytes  # it is summed up over every buffer: once is enough
        self._sizes[answers.chunk] += size
        self.nbytes += size

    def rows(self, chunk: int) -> list[pa.RecordBatch]:
        return [answers.rows for answers in self._answers[chunk]]

    def facts(self, chunk: int) -> dict[str, Any]:
        """The chunk's tokens and discarded attempts, for its commit record."""
        tokens: Counter[str] = Counter(prompt=0, completion=0, cached=0)
        attempts: Counter[str] = Counter()
        for answers in self._answers[chunk]:
            tokens.update(answers.tokens)
            attempts.update(answers.attempts)
        return {"tokens": dict(tokens), "attempts": dict(attempts)}

    def drop(self, chunk: int) -> None:
        self._answers.pop(chunk, None)
        self.nbytes -= self._sizes.pop(chunk, 0)
