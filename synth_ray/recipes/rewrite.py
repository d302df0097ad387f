"""`rewrite`: a document rephrased in another style, or questions that it answers.

Rephrasing after WRAP (Maini et al., 2024, arXiv 2401.16380); questions and answers from passages after Alberti et al. (2019,
arXiv 1906.05416), with a quote of the sentence that supports the answer. The support is not taken for granted: `check.verify:
grounded` verifies it.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import field_validator

from synth_ray.errors import AskFailed
from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Recipe, conversation, drafted
from synth_ray.recipes.parts import LONGEST_PART, parts_of, parts_schema
from synth_ray.recipes.passages import counter, passages
from synth_ray.recipes.templates import JinjaTemplate, constants_of, render
from synth_ray.records import Draft, Reason, Request

REPHRASE = """Rewrite the text below {{ style }}. Keep every fact; add none.

{{ passage }}"""
QUESTION = """Read the passage, then write one question that it answers.
Reply as JSON with keys question, quote and answer; quote is the sentence of the passage that holds the answer, word for word.

Passage: {{ passage }}"""


class Rewrite(Section):
    """Options of `rewrite`."""

    into: Literal["rephrase", "questions"] = key("rephrase", "The passage in other words, or a question and answer from it.")
    styles: list[str] = key(
        lambda: ["in clear and simple English", "as an encyclopedia would", "as questions and answers"],
        "Styles of rephrasing; the rows of a request take them in turn.",
        min_length=1,
    )
    n: int = key(1, "Rows per request; each takes the next passage, after the last the first.", ge=1, le=64)
    document: str = key("prompt", "Field of the seed that holds the document.")
    passage_tokens: int = key(512, "Most tokens of a passage.", ge=16)
    tokenizer: str = key("", "Local tokenizer.json to count by; left out, a token is four characters.")
    template: JinjaTemplate = key(
        "", "Jinja template of the ask; sees the seed's fields, `passage` and `style`. Left out, the built-in one."
    )
    system: str = key("", "System message of the ask.")
    part_characters: int = key(2000, LONGEST_PART, ge=8)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @field_validator("tokenizer")
    @classmethod
    def _is_there(cls, value: str) -> str:
        counter(value)
        return value

    @property
    def asked(self) -> str:
        return self.template or (REPHRASE if self.into == "rephrase" else QUESTION)


_PARTS = ("question", "quote", "answer")


async def make(request: Request, ask: Ask, options: Rewrite) -> list[Draft]:
    text = str(request.seed.fields.get(options.document) or "")
    passages_ = passages(text, tokens=options.passage_tokens, count=counter(options.tokenizer))
    if not passages_:
        raise AskFailed(Reason.RECIPE_ERROR, f"the document in '{options.document}' is empty")
    # A random start, so that another request of the same document takes other passages.
    start = request.random_seed % len(passages_)
    turns = [
        (passages_[(start + slot) % len(passages_)], options.styles[slot % len(options.styles)]) for slot in range(options.n)
    ]
    return list(await asyncio.gather(*[_row(request, ask, options, *turn) for turn in turns]))


async def _row(request: Request, ask: Ask, options: Rewrite, passage: str, style: str) -> Draft:
    kept = {name: request.seed.fields.get(name) for name in options.keep} | {"passage": passage}
    questions = options.into == "questions"
    text = render(options.asked, request, passage=passage, style=style)
    try:
        answer = await ask(
            conversation(options.system, text),
            constraint=parts_schema(*_PARTS, longest=options.part_characters) if questions else None,
        )
    except AskFailed as error:
        return Draft(conversation("", passage), "", kept, reason=Reason(error.reason), detail=error.detail)
    if not questions:
        return drafted(text, answer, fields=kept | {"style": style})
    parts = parts_of(answer.text, *_PARTS)
    if parts is None:
        return Draft(conversation("", passage), answer.text, kept, reason=Reason.SCHEMA_MISMATCH, detail="no question")
    draft = drafted(parts["question"], answer, fields=kept | {"quote": parts["quote"]})
    draft.completion = parts["answer"]
    return draft


def _columns(options: Rewrite) -> dict[str, str]:
    more = {"quote": "string"} if options.into == "questions" else {"style": "string"}
    return dict.fromkeys(options.keep, "json") | {"passage": "string"} | more


RECIPE = Recipe(
    name="rewrite",
    options=Rewrite,
    make=make,
    slots=lambda o: o.n,
    asks=lambda o: o.n,
    compares=lambda _: ("prompt", "completion"),
    generated=lambda o: ("prompt",) if o.into == "questions" else (),
    mask=lambda o: constants_of(o.asked),
    templates=lambda o: {"template": o.asked},
    columns=_columns,
)
