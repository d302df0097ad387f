"""`edge_cases`: evaluation cases that logs do not cover: an input, the expected output, and how to grade it.

Its rows are for evaluation only: a job with a train share is refused, and so is one without real cases beside them
(`split.real`). Source of the method: behavioural test types (Ribeiro et al., 2020, CheckList, arXiv 2005.04118).
"""

from __future__ import annotations

import asyncio
from typing import Any

from synth_ray.errors import AskFailed
from synth_ray.job.section import Section, key
from synth_ray.recipes.attributes import DOC, Grid, sample_attributes
from synth_ray.recipes.contract import Ask, Completion, Recipe, conversation, user
from synth_ray.recipes.parts import LONGEST_PART, parts_of, parts_schema
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.records import Draft, Message, Reason, Request

TEMPLATE = """Here are real cases:
{% for shot in shots %}- {{ shot.prompt }}
{% endfor %}- {{ prompt }}
Write one new case that such a system must handle and that these do not cover{% for name, value in attributes.items() %}
{{- ", " }}{{ name }}: {{ value }}{% endfor %}.
Reply as JSON with keys input, expected and grade; grade says in one sentence how to tell a right answer from a wrong one."""

KINDS = ("ambiguous", "incomplete", "contradictory", "off topic", "hostile", "very long", "misspelt", "in another language")

_PARTS = ("input", "expected", "grade")


class EdgeCases(Section):
    """Options of `edge_cases`."""

    template: JinjaTemplate = key(TEMPLATE, "Jinja template of the ask; sees the seed's fields, `shots` and `attributes`.")
    system: str = key("", "System message of the ask.")
    shots: int = key(3, "Seeds of the same split shown beside the request's own.", ge=0, le=32)
    n: int = key(1, "Cases per request, each its own row.", ge=1, le=64)
    attributes: Grid = key(lambda: {"kind": list(KINDS)}, DOC)
    part_characters: int = key(2000, LONGEST_PART, ge=8)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")


async def make(request: Request, ask: Ask, options: EdgeCases) -> list[Draft]:
    return list(await asyncio.gather(*[_case(request, ask, options, slot) for slot in range(options.n)]))


async def _case(request: Request, ask: Ask, options: EdgeCases, slot: int) -> Draft:
    attributes = sample_attributes(options.attributes, request, slot)
    kept: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep} | {"attributes": attributes}
    prompt = conversation(options.system, render(options.template, request, attributes=attributes))
    try:
        answer = await ask(prompt, constraint=parts_schema(*_PARTS, longest=options.part_characters))
    except AskFailed as error:
        return Draft(prompt, "", kept, reason=Reason(error.reason), detail=error.detail)
    return _draft(prompt, answer, kept)


def _draft(prompt: list[Message], answer: Completion, kept: dict[str, Any]) -> Draft:
    parts = parts_of(answer.text, *_PARTS)
    if parts is None:
        return Draft(prompt, answer.text, kept, answer.finish_reason, reason=Reason.SCHEMA_MISMATCH, detail="no case")
    kept = kept | {"grade": parts["grade"]}
    messages = [user(parts["input"])]
    return Draft(messages, parts["expected"], kept, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens)


RECIPE = Recipe(
    name="edge_cases",
    options=EdgeCases,
    make=make,
    slots=lambda o: o.n,
    shots=lambda o: o.shots,
    asks=lambda o: o.n,
    compares=lambda _: ("prompt",),
    generated=lambda _: ("prompt", "grade"),
    novel=True,
    evaluates=True,
    templates=lambda o: {"template": o.template},
    columns=lambda o: dict.fromkeys(o.keep, "json") | {"grade": "string", "attributes": "json"},
)
