"""Answers that wait until their chunk is whole and staged: the one thing of the driver that can grow large."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from synth_ray.ask.rows import Answered, answered
from synth_ray.dataset.ranges import Ranges
from synth_ray.records import Draft, Outcome, Reason, Request, digest

GUILTY = "two engines died with this request alone in flight, and two with it among others"
"""The detail of a row whose request kills engines."""


class Waiting:
    """Answered rows by chunk, from the answer until the commit. `nbytes` is what they hold."""

    def __init__(self) -> None:
        self._answers: dict[int, list[Answered]] = {}
        self.nbytes = 0

    def add(self, one: Answered) -> None:
        self._answers.setdefault(one.chunk, []).append(one)
        self.nbytes += one.rows.nbytes

    def rows(self, chunk: int) -> list[pa.RecordBatch]:
        return [one.rows for one in self._answers[chunk]]

    def facts(self, chunk: int) -> dict[str, Any]:
        """What the commit record says of the chunk beside its rows: tokens and discarded attempts."""
        tokens: Counter[str] = Counter(prompt=0, completion=0, cached=0)
        attempts: Counter[str] = Counter()
        for one in self._answers[chunk]:
            tokens.update(one.tokens)
            attempts.update(one.attempts)
        return {"tokens": dict(tokens), "attempts": dict(attempts)}

    def committed(self, chunk: int) -> None:
        self.nbytes -= sum(one.rows.nbytes for one in self._answers.pop(chunk, ()))


def only(one: Answered, positions: set[int]) -> Answered:
    keep = pa.array([p in positions for p in one.rows["position"].to_pylist()])
    return Answered(one.chunk, tuple(sorted(positions)), one.rows.filter(keep), one.tokens, one.attempts)


def failed(request: Request, detail: str) -> Answered:
    """What a request comes to that ends as engine_error without an answer."""
    drafts = [Draft([], "", finish_reason="", reason=Reason.ENGINE_ERROR, detail=detail) for _ in range(request.slots)]
    return answered([Outcome(request, drafts)])[0]


def plan_facts(requests: list[Request]) -> dict[str, Any]:
    """What a chunk was planned to ask, for its commit record: a resumed run reads it there and does not plan again.

    Gold rows for the judge, which fill no slot, are beside the plan.
    """
    requests = [request for request in requests if request.slots]
    asked = [[r.id, r.random_seed, *(shot.id for shot in r.shots)] for r in requests]
    return {"plan": digest("plan", asked), "numbers": Ranges(r.number for r in requests).runs}
