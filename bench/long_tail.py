"""A recipe for `bench.throughput`: each seed fixes its answer's number of tokens, so that every engine does the same work."""

from __future__ import annotations

from synth_ray.job.section import Section
from synth_ray.recipes.contract import Ask, Recipe, drafted, user
from synth_ray.records import Draft, Request


class LongTail(Section):
    """No options."""


async def make(request: Request, ask: Ask, options: LongTail) -> list[Draft]:
    fields = request.seed.fields
    answer = await ask([user(fields["prompt"])], max_tokens=fields["tokens"], ignore_eos=True)
    return [drafted(fields["prompt"], answer)]


RECIPE = Recipe(name="long_tail", options=LongTail, make=make)
