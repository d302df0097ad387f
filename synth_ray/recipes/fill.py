"""`fill`: more examples of a class or scenario that has too few, modelled on its existing ones.

How many rows each cell needs is decided by `target.balance`. Few-shot examples come from the seed's own cell and split. Source of
the method: attributed prompts (Yu et al., 2023, arXiv 2306.15895), which give more variety than the class name alone.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from synth_ray.errors import AskFailed
from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.recipes.attributes import DOC, Grid, sample_attributes
from synth_ray.recipes.contract import ANY_LENGTH, Ask, Completion, Recipe, conversation, drafted, user
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.records import Draft, Reason, Request

TEMPLATE = """Here are examples{% for name, value in cell.items() %}, {{ name }}: {{ value }}{% endfor %}:
{% for shot in shots %}- {{ shot.prompt }}
{% endfor %}- {{ prompt }}
Write one new example with the same {{ cell.keys() | join(" and ") }}{% for name, value in attributes.items() %}
{{- ", " }}{{ name }}: {{ value }}{% endfor %}. Reply with the example alone."""


class Fill(Section):
    """Options of `fill`."""

    by: Annotated[list[str], OneOrMore] = key(
        ..., "Field or fields of the seed whose values define its cell, as in target.balance.", min_length=1
    )
    template: JinjaTemplate = key(
        TEMPLATE, "Jinja template of the ask; sees the seed's fields, `shots` of the same cell, `cell` and `attributes`."
    )
    system: str = key("", "System message of the asks.")
    shots: int = key(4, "Seeds of the same cell and split shown beside the request's own.", ge=0, le=32)
    n: int = key(1, "New examples per request, each its own row.", ge=1, le=64)
    attributes: Grid = key(dict, DOC)
    answer: JinjaTemplate | None = key(
        None,
        "Jinja template that asks for the new example's answer; sees `example`. Left out, the seed's own `answer`, its label.",
    )
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row, beside those of `by`.")


async def make(request: Request, ask: Ask, options: Fill) -> list[Draft]:
    label = request.seed.fields.get("answer")
    if options.answer is None and not isinstance(label, str):
        why = "no 'answer' in the seed, and no template that asks for one"
        return [Draft([], "", reason=Reason.MISSING_FIELD, detail=why) for _ in range(options.n)]
    return list(await asyncio.gather(*[_example(request, ask, options, slot) for slot in range(options.n)]))


async def _example(request: Request, ask: Ask, options: Fill, slot: int) -> Draft:
    seed = request.seed.fields
    kept: dict[str, Any] = {name: seed.get(name) for name in dict.fromkeys((*options.by, *options.keep))}
    drawn_here = sample_attributes(options.attributes, request, slot)
    kept |= {"attributes": drawn_here} if drawn_here else {}
    cell = {name: seed.get(name) for name in options.by}
    prompt = conversation(options.system, render(options.template, request, cell=cell, attributes=drawn_here))
    try:
        example = await ask(prompt)
        if not example.text.strip():
            return Draft(prompt, "", kept, reason=Reason.NO_ANSWER, detail="the new example is empty")
        if not example.is_whole:
            return Draft(prompt, "", kept, example.finish_reason, reason=Reason.TRUNCATED, detail="the new example was cut off")
        answer = await _answer(request, ask, options, example)
    except AskFailed as error:
        return Draft(prompt, "", kept, reason=Reason(error.reason), detail=error.detail)
    return _draft(example, answer, kept, str(seed.get("answer", "")))


async def _answer(request: Request, ask: Ask, options: Fill, example: Completion) -> Completion | None:
    """The teacher's answer to the new example; None if the seed's own answer is used."""
    if options.answer is None:
        return None
    return await ask(conversation(options.system, render(options.answer, request, example=example.text.strip())))


def _draft(example: Completion, answer: Completion | None, kept: dict[str, Any], label: str) -> Draft:
    text = example.text.strip()
    if answer is not None:
        return drafted(text, answer, fields=kept)
    return Draft([user(text)], label, kept, example.finish_reason, example.prompt_tokens, example.completion_tokens)


RECIPE = Recipe(
    name="fill",
    options=Fill,
    make=make,
    slots=lambda o: o.n,
    shots=lambda o: o.shots,
    alike=lambda o: tuple(o.by),
    asks=lambda o: o.n * (2 if o.answer else 1),
    compares=lambda _: ("prompt",),
    generated=lambda _: ("prompt",),
    novel=True,
    label_words=lambda o: 0 if o.answer else ANY_LENGTH,
    templates=lambda o: {"template": o.template} | ({"answer": o.answer} if o.answer else {}),
    columns=lambda o: dict.fromkeys((*o.by, *o.keep), "json") | ({"attributes": "json"} if o.attributes else {}),
)
