"""Thresholds of a job whose values the rows know: the nearest that it rejected or let pass are worth a look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.row_view import RowView, field_numbers, numbers_of
from synth_ray.quality.value_counts import Array
from synth_ray.recipes.with_judge import SCORE
from synth_ray.records import Reason, Verdict

Read = Callable[[RowView], Array]


@dataclass(frozen=True, slots=True)
class Edge:
    """One threshold: `measure` is its job key, `reason` that of the rows it rejects, `read` the values of a chunk's rows."""

    measure: str
    limit: float
    reason: Reason
    read: Read

    def values(self, view: RowView) -> Array:
        """The value of each row that this threshold decides: an accepted one, or one that it rejected. NaN of others."""
        decided = view.rows_of(Verdict.ACCEPTED.value, reason=self.reason.value)
        return np.where(decided, self.read(view), np.nan)


def edges_of(prepared: Prepared) -> list[Edge]:
    """The thresholds of a job. Tokens that another tokenizer counts are not in the rows, so their limits are left out."""
    job, check = prepared.job, prepared.job.check
    edges = [Edge("dedup.threshold", job.dedup.threshold, Reason.NEAR_DUPLICATE, _column("similarity"))] if job.dedup.near else []
    if job.dedup.semantic is not None:
        limit = job.dedup.semantic.threshold
        edges.append(Edge("dedup.semantic.threshold", limit, Reason.SEMANTIC_DUPLICATE, _column("similarity")))
    if check.judge is not None:
        edges.append(Edge("check.judge.min_score", check.judge.min_score, Reason.POORLY_JUDGED, _field(SCORE)))
    agreement = getattr(prepared.options, "min_agreement", None)
    if isinstance(agreement, float):
        edges.append(Edge("recipe.min_agreement", agreement, Reason.NO_AGREEMENT, _field("agreement")))
    if check.tokenizer:
        return edges
    if check.min_tokens > 1:
        edges.append(Edge("check.min_tokens", check.min_tokens, Reason.TOO_FEW_TOKENS, _tokens("completion_tokens")))
    for name, tokens in (("max_tokens", "completion_tokens"), ("max_prompt_tokens", "prompt_tokens")):
        if (most := getattr(check, name)) is not None:
            edges.append(Edge(f"check.{name}", most, Reason.TOO_MANY_TOKENS, _tokens(tokens)))
    return edges


def _column(name: str) -> Read:
    return lambda view: numbers_of(view.table, name)


def _tokens(name: str) -> Read:
    """Token counts, those of an answer without its thought; nobody counted those of a real row, which are 0."""

    def read(view: RowView) -> Array:
        tokens = numbers_of(view.table, name)
        if name == "completion_tokens":
            tokens = tokens - np.nan_to_num(numbers_of(view.table, "reasoning_tokens"))
        return np.where(tokens > 0, tokens, np.nan)

    return read


def _field(name: str) -> Read:
    return lambda view: field_numbers(view.fields, name)
