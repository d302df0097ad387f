"""`distill`: one prompt, one or n completions of the teacher."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Constraint, Recipe, conversation, drafted
from synth_ray.recipes.templates import render
from synth_ray.records import Draft, Request


class Distill(Section):
    """Options of `distill`."""

    template: str = key("{{ prompt }}", "Jinja template of what the teacher is asked; sees the seed's fields.")
    system: str = key("", "System message of the ask.")
    n: int = key(1, "Completions per prompt, each its own row.", ge=1, le=64)
    schema_: dict[str, Any] | None = key(None, "JSON Schema the completion must fit; decoding is guided by it.", alias="schema")
    choices: list[str] | None = key(None, "Closed list of allowed completions; decoding is guided by it.")
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @model_validator(mode="after")
    def _one_constraint(self) -> Distill:
        if self.schema_ is not None and self.choices is not None:
            raise ValueError("wanted schema or choices, got both; keep one")
        return self

    @property
    def constraint(self) -> Constraint | None:
        if self.schema_ is not None:
            return Constraint(json_schema=self.schema_)
        return Constraint(choices=tuple(self.choices)) if self.choices else None


async def make(request: Request, ask: Ask, options: Distill) -> list[Draft]:
    asked = conversation(options.system, render(options.template, request))
    answers = await ask.many(asked, options.n, constraint=options.constraint)
    kept = {name: request.seed.fields.get(name) for name in options.keep}
    return [drafted(request.seed.fields["prompt"], answer, fields=kept) for answer in answers]


RECIPE = Recipe(
    name="distill",
    options=Distill,
    make=make,
    slots=lambda o: o.n,
    schema=lambda o: o.schema_,
    templates=lambda o: {"template": o.template},
    columns=lambda o: dict.fromkeys(o.keep, "json"),
)
