"""Answers in named parts: a JSON object of texts, requested by its schema and parsed."""

from __future__ import annotations

import json

from synth_ray.recipes.contract import Constraint

LONGEST_PART = "Longest text of a part of the answer, in characters; without a bound, a model may go on to its token limit."


def parts_schema(*names: str, longest: int) -> Constraint:
    """Constrains decoding to an object with exactly one text per name, each of at most `longest` characters."""
    text = {"type": "string", "minLength": 1, "maxLength": longest}
    properties = dict.fromkeys(names, text)
    return Constraint(
        json_schema={"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}
    )


def parts_of(answer: str, *names: str) -> dict[str, str] | None:
    """The parts of an answer without surrounding space; None if one is missing, empty or not a text."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    is_complete = isinstance(value, dict) and all(isinstance(value.get(name), str) and value[name].strip() for name in names)
    return {name: value[name].strip() for name in names} if is_complete else None
