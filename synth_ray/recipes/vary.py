"""`vary`: a new instruction in the style of sampled seeds, then its answer.

Two asks per row. Source of the method: Self-Instruct (Wang et al., 2022, arXiv 2212.10560).
"""

from __future__ import annotations

import asyncio
from typing import Any

from synth_ray.errors import AskFailed
from synth_ray.job.section import Section, key
from synth_ray.recipes.attributes import DOC, Grid, sample_attributes
from synth_ray.recipes.contract import Ask, Recipe, conversation, drafted
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.records import Draft, Message, Reason, Request

INSTRUCT = """Here are examples of instructions:
{% for shot in shots %}- {{ shot.prompt }}
{% endfor %}- {{ prompt }}
Write one new instruction of the same kind{% for name, value in attributes.items() %}, {{ name }}: {{ value }}{% endfor %}.
{{- " " }}Reply with the instruction alone."""


class Vary(Section):
    """Options of `vary`."""

    instruct: JinjaTemplate = key(
        INSTRUCT, "Jinja template that asks for a new instruction; sees the seed's fields, `shots`, `attributes`."
    )
    answer: JinjaTemplate = key("{{ instruction }}", "Jinja template that asks for its answer; also sees `instruction`.")
    system: str = key("", "System message of both asks.")
    shots: int = key(2, "Seeds of the same split shown beside the request's own.", ge=0, le=32)
    n: int = key(1, "New instructions per request, each its own row.", ge=1, le=64)
    attributes: Grid = key(dict, DOC)
    instruct_temperature: float | None = key(None, "Temperature of the first ask; left out, the job's.", ge=0, le=5)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")


async def make(request: Request, ask: Ask, options: Vary) -> list[Draft]:
    sampling: dict[str, Any] = {} if options.instruct_temperature is None else {"temperature": options.instruct_temperature}
    if not options.attributes:
        prompt = _asked(request, options, {})
        instructions = await ask.many(prompt, options.n, **sampling)
        return await asyncio.gather(
            *[_answered(request, ask, options, instruction.text.strip(), prompt, {}) for instruction in instructions]
        )
    return await asyncio.gather(*[_with_attributes(request, ask, options, slot, sampling) for slot in range(options.n)])


async def _with_attributes(request: Request, ask: Ask, options: Vary, slot: int, sampling: dict[str, Any]) -> Draft:
    """The draft of one slot. Its attributes are its own, so its prompt is too, and the slots cannot share one ask."""
    attributes = sample_attributes(options.attributes, request, slot)
    prompt = _asked(request, options, attributes)
    try:
        instruction = await ask(prompt, **sampling)
    except AskFailed as error:
        return Draft(prompt=prompt, completion="", reason=Reason(error.reason), detail=error.detail)
    return await _answered(request, ask, options, instruction.text.strip(), prompt, attributes)


def _asked(request: Request, options: Vary, attributes: dict[str, str]) -> list[Message]:
    return conversation(options.system, render(options.instruct, request, attributes=attributes))


async def _answered(
    request: Request, ask: Ask, options: Vary, instruction: str, prompt: list[Message], attributes: dict[str, str]
) -> Draft:
    if not instruction:
        return Draft(prompt=prompt, completion="", reason=Reason.NO_ANSWER, detail="the new instruction is empty")
    try:
        answer = await ask(conversation(options.system, render(options.answer, request, instruction=instruction)))
    except AskFailed as error:
        return Draft(prompt=prompt, completion="", reason=Reason(error.reason), detail=error.detail)
    kept: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    kept |= {"attributes": attributes} if attributes else {}
    return drafted(instruction, answer, fields=kept)


RECIPE = Recipe(
    name="vary",
    options=Vary,
    make=make,
    slots=lambda o: o.n,
    shots=lambda o: o.shots,
    asks=lambda o: 2,
    compares=lambda _: ("prompt",),  # two answers to one instruction are duplicates
    generated=lambda _: ("prompt",),
    novel=True,
    templates=lambda o: {"instruct": o.instruct, "answer": o.answer},
    columns=lambda o: dict.fromkeys(o.keep, "json") | ({"attributes": "json"} if o.attributes else {}),
)
