"""Estimates what a plan will ask, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass

from synth_ray.errors import AskFailed
from synth_ray.job.document import Job
from synth_ray.prepare.preparation import Prepared
from synth_ray.recipes.templates import render
from synth_ray.records import Request

_SAMPLE_REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Estimate:
    """The asks and tokens of a plan, estimated from its first requests."""

    asks: int
    prompt_tokens: int
    max_completion_tokens: int


def estimate(prepared: Prepared, job: Job) -> Estimate:
    """Asks as the recipe declares them; prompt tokens are a quarter of the characters of the first rendered prompts."""
    requests = prepared.planner.chunk(0)[:_SAMPLE_REQUESTS]
    characters = [_rendered_characters(prepared, request) for request in requests]
    planned = prepared.max_requests if job.target.is_set else prepared.planner.requests
    asks = planned * prepared.recipe.asks(prepared.options)
    if not asks:
        return Estimate(0, 0, 0)
    mean = sum(characters) / max(1, len(characters)) / 4
    return Estimate(asks, int(mean * asks), job.sampling.max_tokens * max(asks, planned * prepared.slots))


def _rendered_characters(prepared: Prepared, request: Request) -> int:
    """Characters of a typical ask. Later templates render answers that do not exist yet, so for them the template's own length is
    used.
    """
    templates = prepared.recipe.templates(prepared.options)
    first = next(iter(templates.values()), "")
    try:
        return len(render(first, request)) if first else 0
    except AskFailed:
        return len(first) + len(str(request.seed.fields.get("prompt", "")))
