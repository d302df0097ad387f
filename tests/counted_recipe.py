"""A recipe that notes which request it is made for, in a file: asked twice is then seen, whatever process asked."""

from __future__ import annotations

import os
from typing import Any

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Recipe
from synth_ray.records import Draft, Request


class Counted(Section):
    log: str = key(..., "The file to note requests in.")


async def make(request: Request, ask: Any, options: Counted) -> list[Draft]:
    handle = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{request.chunk} {request.position}\n".encode())
    os.close(handle)
    asked = [{"role": "user", "content": str(request.seed.fields["prompt"])}]
    answers = [await ask(asked), await ask([*asked, {"role": "user", "content": "And then?"}])]
    return [Draft(asked, a.text, {}, a.finish_reason, a.prompt_tokens, a.completion_tokens) for a in answers]


RECIPE = Recipe(name="counted", options=Counted, make=make, slots=lambda _: 2)
