"""How large the likeliest tokens of a plan's answers will be."""

from __future__ import annotations

from dataclasses import dataclass

from synth_ray.ask.spent import estimated_tokens
from synth_ray.prepare.estimate import Estimate
from synth_ray.prepare.interval import Interval
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.prompt_tokens import SAMPLE_REQUESTS

_ID, _LOGPROB = 4, 2
_PACKED_PER_TOKEN, _PACKED_PER_ENTRY = 2.0, 3.4
"""Bytes in Parquet with zstd, measured at k from 8 to 64 with a vocabulary of 150,000: 29 a token at 8, 218 at 64."""
_BY_BYTES = Interval(0.8, 1.0, 1.6)


@dataclass(frozen=True, slots=True)
class TopKSize:
    """Bytes of one token of an answer, in memory and in Parquet, and of all answers in Parquet. `tokens` are all answers'."""

    k: int
    raw: int
    packed: float
    tokens: Interval
    total: Interval


def top_k_size(prepared: Prepared, guess: Estimate) -> TopKSize | None:
    """None for a recipe that keeps none. Answers that are asked for have the estimate's tokens; given ones are sampled."""
    k = prepared.recipe.top_k(prepared.options)
    if not k:
        return None
    tokens = _given_tokens(prepared, guess.requests) if prepared.recipe.scores else guess.completion_tokens
    packed = _PACKED_PER_TOKEN + _PACKED_PER_ENTRY * k
    # the answer's own id and the tail beside the k entries
    return TopKSize(k, k * (_ID + _LOGPROB) + _ID + _LOGPROB, packed, tokens, tokens.scaled(packed))


def _given_tokens(prepared: Prepared, requests: Interval) -> Interval:
    sample = list(prepared.planner.numbered(0, range(min(SAMPLE_REQUESTS, prepared.planned_requests))))
    counts = [estimated_tokens(str(request.seed.fields.get("answer") or "")) for request in sample]
    return (requests * _BY_BYTES).scaled(sum(counts) / max(1, len(counts)))
