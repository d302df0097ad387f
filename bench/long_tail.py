"""A recipe for `bench.throughput` and `bench.levers`: each seed fixes its answer's number of tokens, so that every engine does
the same work. Answers that a schema guides end where the schema ends.
"""

from __future__ import annotations

from typing import Any

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Constraint, Recipe, conversation, drafted
from synth_ray.recipes.json_schema import JsonSchema
from synth_ray.records import Draft, Request


class LongTail(Section):
    """Options of `long_tail`."""

    system: str = key("", "System message of every ask.")
    schema_: JsonSchema | None = key(None, "JSON Schema that guides every answer.", alias="schema")
    asked_with: dict[str, Any] = key(lambda: {}, "More sampling parameters of every ask.")


async def make(request: Request, ask: Ask, options: LongTail) -> list[Draft]:
    fields = request.seed.fields
    constraint = Constraint(json_schema=options.schema_) if options.schema_ is not None else None
    sampling = {"max_tokens": fields["tokens"], "ignore_eos": constraint is None} | options.asked_with
    answer = await ask(conversation(options.system, fields["prompt"]), constraint=constraint, **sampling)
    return [drafted(fields["prompt"], answer)]


RECIPE = Recipe(name="long_tail", options=LongTail, make=make, schema=lambda options: options.schema_)
