"""`build`: a dataset from raw real examples; no teacher is asked.

Every shape of seed becomes the one form of a row, which is checked, scrubbed, deduplicated and split like any other. A row is a
copy of its seed, so it keeps the seed's origin and depth.
"""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Recipe, user
from synth_ray.recipes.json_schema import JsonSchema
from synth_ray.recipes.passages import counter
from synth_ray.records import Draft, Message, Reason, Request

_LABEL_WORDS = 5
"""Words of the longest answer that counts as a label: two longer answers to one question need not contradict each other."""


class Build(Section):
    """Options of `build`. Its job has `models: none`."""

    system: str = key("", "System message put before conversations that have none.")
    keep: list[str] | None = key(None, "Fields of the seed that are copied to the row; left out, all of them.")
    schema_: JsonSchema | None = key(None, "JSON Schema the completion must fit.", alias="schema")
    tokenizer: str = key("", "Local tokenizer.json to count by; left out, a token is four characters.")

    @field_validator("tokenizer")
    @classmethod
    def _is_there(cls, value: str) -> str:
        counter(value)
        return value


async def make(request: Request, ask: Ask, options: Build) -> list[Draft]:
    seed = request.seed
    prompt = _prompt(seed.fields, options.system)
    answer = seed.fields.get("answer")
    others = {name: value for name, value in seed.fields.items() if name not in ("prompt", "answer", "messages", "tool_turns")}
    fields = others if options.keep is None else {name: seed.fields.get(name) for name in options.keep}
    fields = fields | _turn_fields(seed.fields, prompt)
    if not isinstance(answer, str):
        detail = "no 'answer'" if answer is None else f"wanted text in 'answer', got {type(answer).__name__}"
        reason = Reason.MISSING_FIELD if answer is None else Reason.WRONG_TYPE
        return [Draft(prompt, "", fields, reason=reason, detail=detail, copied=True)]
    count = counter(options.tokenizer)
    prompt_tokens = sum(count(turn["content"]) for turn in prompt)
    return [Draft(prompt, answer, fields, "", prompt_tokens, count(answer), copied=True)]


def _turn_fields(fields: dict[str, Any], prompt: list[Message]) -> dict[str, Any]:
    """What turns have beside role and text, one object for each turn of the row; kept always: a weight says what is learnt."""
    more = fields.get("turn_fields")
    added = len(prompt) - len(fields.get("messages") or []) - len(fields.get("tool_turns") or [])
    return {"turn_fields": [{}] * added + more} if isinstance(more, list) else {}


def _prompt(fields: dict[str, Any], system: str) -> list[Message]:
    messages = fields.get("messages")
    turns = [dict(turn) for turn in messages] if isinstance(messages, list) else [user(str(fields["prompt"]))]
    turns += [dict(turn) for turn in fields.get("tool_turns") or []]
    return turns if not system or turns[0]["role"] == "system" else [{"role": "system", "content": system}, *turns]


RECIPE = Recipe(
    name="build",
    options=Build,
    make=make,
    asks=lambda _: 0,
    roles=lambda _: (),
    copies=True,
    label_words=lambda _: _LABEL_WORDS,
    schema=lambda o: o.schema_,
    columns=lambda o: dict.fromkeys(o.keep or [], "json"),
)
