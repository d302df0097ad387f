"""Wraps any recipe with the judge: each answer is scored, by a rubric or by a model that rates, before it is staged.

A request without slots carries a gold row: it makes no draft; the judge's score and people's verdict on it are counted as an
attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from synth_ray.errors import AskFailed
from synth_ray.job.judge import Judging
from synth_ray.job.scoring import Task
from synth_ray.recipes.contract import Ask, Recipe, transcript, user
from synth_ray.recipes.judge import RUBRIC, score_answer
from synth_ray.recipes.rating import NOT_JUDGED, rate_answer, score_of
from synth_ray.recipes.seed_thoughts import with_thoughts_apart
from synth_ray.records import Draft, Message, Request

SCORE, SCORES = "judge_score", "judge_scores"
GOLD = "gold"
"""First word of the attempt counted for a gold row, followed by its score and by people's verdict: `good` or `bad`."""


Judged = tuple[float | None, Mapping[str, float] | None]
"""A score, and what it was made of: the criteria's scores, or the judge's own by label."""


def with_judge(recipe: Recipe, gate: Judging, task: Task = "generate") -> Recipe:
    """The recipe with the judge's scores added to every answer. `task` is that of the judge's model."""

    async def make(request: Request, ask: Ask, options: Any) -> list[Draft]:
        if not request.slots:
            await _judge_gold(request.seed.fields, ask, gate, task)
            return []
        drafts = await recipe.make(request, ask, options)
        answered = [draft for draft in drafts if draft.reason is None and draft.completion.strip()]
        await asyncio.gather(*[_judge(draft, request, ask, gate, task) for draft in answered])
        return drafts

    return replace(
        recipe,
        make=make,
        roles=lambda options: tuple(dict.fromkeys((*recipe.roles(options), "judge"))),
        asks=lambda options: recipe.asks(options) + recipe.slots(options),
        columns=lambda options: {**recipe.columns(options), SCORE: "float", SCORES: "json"},
    )


async def _judge(draft: Draft, request: Request, ask: Ask, gate: Judging, task: Task) -> None:
    read = with_thoughts_apart(draft, request.seed.fields)
    score, scores = await _scored(read.prompt, read.completion, ask, gate, task)
    draft.fields = {**draft.fields, SCORE: score, SCORES: scores}


async def _judge_gold(gold: Mapping[str, Any], ask: Ask, gate: Judging, task: Task) -> None:
    score, _ = await _scored([user(str(gold["prompt"]))], str(gold["answer"]), ask, gate, task)
    ask.attempt(f"{GOLD} {score} {'good' if gold['good'] else 'bad'}")


async def _scored(prompt: Sequence[Message], answer: str, ask: Ask, gate: Judging, task: Task) -> Judged:
    """Nothing if the ask failed or the verdict did not fit: the row is not lost, it only does not pass."""
    try:
        if task == "generate":
            return _mean_of(await _by_rubric(transcript(prompt), answer, ask, gate))
        scores = await rate_answer(ask, prompt, answer)
    except AskFailed:
        ask.attempt(NOT_JUDGED)
        return None, None
    return score_of(scores, gate.label, key="check.judge.label"), scores


async def _by_rubric(question: str, answer: str, ask: Ask, gate: Judging) -> dict[str, int] | None:
    return await score_answer(ask, question, answer, criteria=gate.criteria, template=gate.template or RUBRIC)


def _mean_of(scores: Mapping[str, int] | None) -> Judged:
    return (round(sum(scores.values()) / len(scores), 4), scores) if scores else (None, None)
