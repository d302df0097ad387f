"""Ratings: what a judge that gives numbers instead of words says of an answer.

A reward model's scale is its own, so rewards are compared within a prompt, or with a threshold that people's verdicts confirm. A
thought is no part of the answer and is never rated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from synth_ray.errors import AskFailed, ServiceRefused
from synth_ray.recipes.contract import Ask
from synth_ray.records import Message

_DECIMALS = 6
_SHOWN_LABELS = 12

NOT_JUDGED = "not_judged"
"""The attempt counted for an answer that the judge could not score."""


async def rate_answer(ask: Ask, messages: Sequence[Message], answer: str) -> dict[str, float]:
    """The judge's scores of an answer to a conversation, by label: `reward` of a reward model, `similarity` of an embedding
    model, a classifier's own labels. Raises AskFailed.
    """
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
    scores = await ask.rate(turns, answer, role="judge")
    return {label: round(score, _DECIMALS) for label, score in scores.items()}


async def rate_all(ask: Ask, messages: Sequence[Message], answers: Sequence[str], *, label: str, key: str) -> list[float | None]:
    """The score of each answer; None for an empty one, and for one that the judge could not score, which counts as an attempt."""

    async def rated(answer: str) -> float | None:
        if not answer.strip():
            return None
        try:
            return score_of(await rate_answer(ask, messages, answer), label, key=key)
        except AskFailed:
            ask.attempt(NOT_JUDGED)
            return None

    return list(await asyncio.gather(*map(rated, answers)))


def score_of(scores: Mapping[str, float], label: str, *, key: str) -> float:
    """The one score, or the label's. Raises ServiceRefused, with the job's key, where the judge has no such label: it has none
    for any answer.
    """
    if label in scores:
        return scores[label]
    if not label and len(scores) == 1:
        return next(iter(scores.values()))
    known = ", ".join(list(scores)[:_SHOWN_LABELS]) or "nothing"
    raise ServiceRefused(f"{key}: wanted one of the judge's labels ({known}), got {label or 'none'}; name one of them")
