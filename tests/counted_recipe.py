"""A recipe that appends its request's chunk and position to a file, so that repeated requests of any process are seen."""

from __future__ import annotations

import os
from typing import Any

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Recipe
from synth_ray.records import Draft, Request


class Counted(Section):
    log: str = key(..., "The file that lists the requests.")


async def make(request: Request, ask: Any, options: Counted) -> list[Draft]:
    handle = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{request.chunk} {request.position}\n".encode())
    os.close(handle)
    messages = [{"role": "user", "content": str(request.seed.fields["prompt"])}]
    answers = [await ask(messages), await ask([*messages, {"role": "user", "content": "And then?"}])]
    return [Draft(messages, a.text, {}, a.finish_reason, a.prompt_tokens, a.completion_tokens) for a in answers]


RECIPE = Recipe(name="counted", options=Counted, make=make, slots=lambda _: 2)
