"""Wraps any recipe with an embedding model: each answer gets the vector of the text that rows are compared by.

The vector is made where the engines are, from the answer as it came; it is dropped where the scrub changes that text.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from synth_ray.errors import AskFailed
from synth_ray.job.dedup import Dedup
from synth_ray.recipes.contract import Ask, Recipe
from synth_ray.recipes.seed_thoughts import with_thoughts_apart
from synth_ray.records import Draft, Request

NOT_EMBEDDED = "not_embedded"
"""The attempt counted for an answer that could not be embedded: it is no semantic duplicate of any other."""


def with_embedding(recipe: Recipe, role: str, dedup: Dedup) -> Recipe:
    """The recipe with the vectors of `role`'s model added to its answers."""

    async def make(request: Request, ask: Ask, options: Any) -> list[Draft]:
        drafts = await recipe.make(request, ask, options)
        names = dedup.compares or recipe.compares(options)
        mask = (*recipe.mask(options), *dedup.mask)
        answered = [draft for draft in drafts if draft.reason is None and draft.completion.strip()]
        texts = [_text(with_thoughts_apart(draft, request.seed.fields), names, mask) for draft in answered]
        await asyncio.gather(*[_embed(draft, ask, role, text) for draft, text in zip(answered, texts, strict=True)])
        return drafts

    return replace(
        recipe,
        make=make,
        roles=lambda options: tuple(dict.fromkeys((*recipe.roles(options), role))),
        asks=lambda options: recipe.asks(options) + recipe.slots(options),
    )


async def _embed(draft: Draft, ask: Ask, role: str, text: str) -> None:
    try:
        draft.embedding = packed_int8(await ask.embed(text, role=role))
    except AskFailed:
        ask.attempt(NOT_EMBEDDED)


def _text(draft: Draft, names: Sequence[str], mask: Sequence[str]) -> str:
    """The compared text of a draft, a line for each column: as `dedup.compared` makes it of a staged row."""
    known = {"prompt": draft.prompt[-1]["content"] if draft.prompt else "", "completion": draft.completion}
    known |= {"reasoning": draft.reasoning or str(draft.fields.get("reasoning", ""))}
    columns = [known[name] if name in known else str(draft.fields.get(name, "")) for name in names]
    for constant in sorted(mask, key=lambda constant: (-len(constant), constant)):
        columns = [column.replace(constant, " ") for column in columns]
    return "\n".join(columns)


def packed_int8(vector: Sequence[float]) -> bytes:
    """A vector scaled to its largest component and rounded to int8, a byte per dimension: as `dedup.embedding` packs its own."""
    largest = max(map(abs, vector), default=0.0)
    return array("b", [round(value * 127 / largest) for value in vector] if largest else [0] * len(vector)).tobytes()
