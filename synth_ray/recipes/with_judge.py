"""Wraps any recipe with the judge: each answer is scored by a rubric before it is staged.

A request without slots carries a gold row: it makes no draft; the judge's score and people's verdict on it are counted as an
attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synth_ray.errors import AskFailed
from synth_ray.job.judge import Judging
from synth_ray.recipes.contract import Ask, Recipe, transcript
from synth_ray.recipes.judge import RUBRIC, score_answer
from synth_ray.records import Draft, Request

SCORE, SCORES = "judge_score", "judge_scores"
GOLD = "gold"
"""First word of the attempt counted for a gold row, followed by its score and by people's verdict: `good` or `bad`."""


def with_judge(recipe: Recipe, gate: Judging) -> Recipe:
    """The recipe with the judge's scores added to every answer."""

    async def make(request: Request, ask: Ask, options: Any) -> list[Draft]:
        if not request.slots:
            await _judge_gold(request.seed.fields, ask, gate)
            return []
        drafts = await recipe.make(request, ask, options)
        answered = [draft for draft in drafts if draft.reason is None and draft.completion.strip()]
        await asyncio.gather(*[_judge(draft, ask, gate) for draft in answered])
        return drafts

    return replace(
        recipe,
        make=make,
        roles=lambda options: tuple(dict.fromkeys((*recipe.roles(options), "judge"))),
        asks=lambda options: recipe.asks(options) + recipe.slots(options),
        columns=lambda options: {**recipe.columns(options), SCORE: "float", SCORES: "json"},
    )


async def _judge(draft: Draft, ask: Ask, gate: Judging) -> None:
    scores = await _scores(transcript(draft.prompt), draft.completion, ask, gate)
    draft.fields = {**draft.fields, SCORE: _mean(scores), SCORES: scores}


async def _judge_gold(gold: Mapping[str, Any], ask: Ask, gate: Judging) -> None:
    score = _mean(await _scores(str(gold["prompt"]), str(gold["answer"]), ask, gate))
    ask.attempt(f"{GOLD} {score} {'good' if gold['good'] else 'bad'}")


async def _scores(question: str, answer: str, ask: Ask, gate: Judging) -> dict[str, int] | None:
    """The scores. None if the ask failed or the verdict did not fit: the row is not lost, it only does not pass."""
    try:
        return await score_answer(ask, question, answer, criteria=gate.criteria, template=gate.template or RUBRIC)
    except AskFailed:
        ask.attempt("not_judged")
        return None


def _mean(scores: Mapping[str, int] | None) -> float | None:
    return round(sum(scores.values()) / len(scores), 4) if scores else None
