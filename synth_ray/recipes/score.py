"""`score`: real answers with the teacher's log-probabilities of them, for quality, for choice, and for a student's training.

A row is a copy of its seed, as `build` makes it, with columns that tell how likely the teacher finds the answer.
"""

from __future__ import annotations

import math
from dataclasses import replace

from synth_ray.job.section import key
from synth_ray.recipes import build
from synth_ray.recipes.contract import Ask, Completion
from synth_ray.recipes.seed_thoughts import thought_of_answer
from synth_ray.records import Draft, Message, Request


class Score(build.Build):
    """Options of `score`: those of `build`, whose rows it makes."""

    top_k_logprobs: int | None = key(
        None,
        "Keep this many of the likeliest tokens at every position of the answer, for the training of a student: token ids and "
        "log-probabilities in compact columns (docs/distillation.md).",
        ge=1,
        le=64,
    )


async def make(request: Request, ask: Ask, options: Score) -> list[Draft]:
    [draft] = await build.make(request, ask, options)
    if draft.reason is not None or not draft.completion:
        return [draft]
    answer, _ = thought_of_answer(request.seed.fields, draft.completion)
    scored = await ask.score(_asked(draft.prompt), answer, top_k=options.top_k_logprobs or 0)
    return [_with_scores(draft, scored)]


def _asked(prompt: list[Message]) -> list[Message]:
    return [{"role": turn["role"], "content": turn["content"]} for turn in prompt]


def _with_scores(draft: Draft, scored: Completion) -> Draft:
    """The copy with what the teacher thinks of its answer. Tokens are the teacher's, who renders prompt and answer together."""
    logprobs = [token["logprob"] for token in scored.logprobs or ()]
    mean = math.fsum(logprobs) / len(logprobs) if logprobs else None
    measured = {"mean_logprob": mean, "perplexity": _perplexity(mean)}
    before = draft.prompt_tokens if scored.prompt_tokens is None else scored.prompt_tokens - len(logprobs)
    return replace(
        draft, fields=draft.fields | measured, top_k=scored.top_k, prompt_tokens=before, completion_tokens=len(logprobs)
    )


def _perplexity(mean: float | None) -> float | None:
    return math.exp(min(-mean, 700.0)) if mean is not None else None


def _columns(options: Score) -> dict[str, str]:
    kept = dict.fromkeys(options.keep or [], "json")
    return kept | {"mean_logprob": "float", "perplexity": "float"} | ({"top_k": "top_k"} if options.top_k_logprobs else {})


RECIPE = replace(
    build.RECIPE,
    name="score",
    options=Score,
    make=make,
    asks=lambda _: 1,
    roles=lambda _: ("teacher",),
    columns=_columns,
    top_k=lambda o: o.top_k_logprobs or 0,
    scores=True,
)
