"""`spring`: instructions from the model itself, without seeds, then their answers.

Given nothing but its chat template's opening of a user's turn, an aligned model writes an instruction as it has learnt them:
Magpie (Xu et al., 2024, arXiv 2406.08464). What it is to be about is said in a system message before that turn. `seeds: none`
makes requests without seeds; seeds, where there are some, are seen by the templates alone.
"""

from __future__ import annotations

from typing import Any

from synth_ray.job.section import Section, key
from synth_ray.recipes.attributes import DOC, Grid, sample_attributes
from synth_ray.recipes.contract import Ask, Completion, Recipe, conversation, drafted
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.records import Draft, Message, Reason, Request


class Spring(Section):
    """Options of `spring`. Needs a model whose chat template opens a user's turn with text that is the same for all of them."""

    topic: JinjaTemplate = key(
        "",
        "Jinja template of the system message under which the instruction is written, such as 'You help with {{ attributes.area "
        "}}.'; sees the seed's fields and `attributes`. Empty sends none.",
    )
    system: str = key("", "System message under which the instruction is answered; it is not in the row.")
    attributes: Grid = key(dict, DOC)
    temperature: float = key(1.0, "Temperature of the instruction.", ge=0, le=5)
    top_p: float = key(1.0, "Nucleus of the instruction.", gt=0, le=1)
    max_tokens: int = key(512, "Most tokens of the instruction.", ge=1)
    one_line: bool = key(False, "End the instruction at its first line break: some models answer themselves behind it.")
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")


async def make(request: Request, ask: Ask, options: Spring) -> list[Draft]:
    attributes = sample_attributes(options.attributes, request, 0)
    fields: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    fields |= {"attributes": attributes} if attributes else {}
    before = conversation(render(options.topic, request, attributes=attributes).strip(), "")[:-1]
    written = await ask.instruct(before, **_sampling(options))
    instruction = written.text.strip()
    if fault := _fault(written, instruction):
        return [Draft([*before, _turn(instruction)], "", fields, reason=fault[0], detail=fault[1])]
    return [drafted(instruction, await ask(conversation(options.system, instruction)), fields=fields)]


def _sampling(options: Spring) -> dict[str, Any]:
    sampling = {"temperature": options.temperature, "top_p": options.top_p, "max_tokens": options.max_tokens}
    return sampling | ({"stop": ["\n"]} if options.one_line else {})


def _turn(text: str) -> Message:
    return {"role": "user", "content": text}


def _fault(written: Completion, instruction: str) -> tuple[Reason, str] | None:
    """Why an instruction is not worth an answer: it is empty, was cut off, or only announces what it leaves out."""
    if not instruction:
        return Reason.NO_ANSWER, "the new instruction is empty"
    if not written.is_whole:
        return Reason.TRUNCATED, "the new instruction was cut off"
    if instruction.endswith(":"):
        return Reason.TRUNCATED, "the new instruction ends with a colon"
    return None


RECIPE = Recipe(
    name="spring",
    options=Spring,
    make=make,
    asks=lambda _: 2,
    compares=lambda _: ("prompt",),  # two answers to one instruction are duplicates
    generated=lambda _: ("prompt",),
    seedless=True,
    instructs=True,
    templates=lambda o: {"topic": o.topic},
    columns=lambda o: dict.fromkeys(o.keep, "json") | ({"attributes": "json"} if o.attributes else {}),
)
