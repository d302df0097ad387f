"""Answers that wait until their chunk is whole and staged: the one thing of the driver that can grow large."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from synth_ray.ask.rows import AnsweredRows


class AnswerBuffer:
    """Answered rows by chunk, from the answer until the commit. `nbytes` is what they hold."""

    def __init__(self) -> None:
        self._answers: dict[int, list[AnsweredRows]] = {}
        self.nbytes = 0

    def add(self, answers: AnsweredRows) -> None:
        self._answers.setdefault(answers.chunk, []).append(answers)
        self.nbytes += answers.rows.nbytes

    def rows(self, chunk: int) -> list[pa.RecordBatch]:
        return [answers.rows for answers in self._answers[chunk]]

    def facts(self, chunk: int) -> dict[str, Any]:
        """What the commit record says of the chunk beside its rows: tokens and discarded attempts."""
        tokens: Counter[str] = Counter(prompt=0, completion=0, cached=0)
        attempts: Counter[str] = Counter()
        for answers in self._answers[chunk]:
            tokens.update(answers.tokens)
            attempts.update(answers.attempts)
        return {"tokens": dict(tokens), "attempts": dict(attempts)}

    def drop(self, chunk: int) -> None:
        self.nbytes -= sum(answers.rows.nbytes for answers in self._answers.pop(chunk, ()))
