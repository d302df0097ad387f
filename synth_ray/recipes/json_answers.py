"""Whether an answer is JSON of a schema. Called in a process of its own, since a schema's patterns may take any time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from synth_ray.recipes.json_schema import require_schema, validator_of
from synth_ray.recipes.markup import parse_json
from synth_ray.verify.functions import FunctionVerifier

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)


def fits(answer: str, schema: dict[str, Any]) -> bool:
    """Whether the answer, or its first fenced block, is one JSON value that fits."""
    fenced = _FENCED.search(answer)
    try:
        return bool(validator_of(schema).is_valid(parse_json(fenced[1] if fenced else answer)))
    except (ValueError, RecursionError):
        return False


class JsonVerifier(FunctionVerifier):
    """See `verify.verdict.Verifier`. The gold is a JSON Schema, as an object or its text; `schema` takes its place for all."""

    def __init__(self, schema: Mapping[str, Any] | None, *, seconds: float) -> None:
        super().__init__(f"{fits.__module__}:{fits.__name__}", seconds=seconds)
        self._schema = dict(schema) if schema is not None else None

    def fault_of(self, gold: Any) -> str:
        try:
            require_schema(self._schema_of(gold))
        except (ValueError, RecursionError):
            return "the gold is no JSON Schema"
        return ""

    def _value(self, answer: str, gold: Any) -> bool | None:
        return super()._value(answer, self._schema_of(gold))

    def _schema_of(self, gold: Any) -> dict[str, Any]:
        """The schema. Raises ValueError where the gold is none."""
        value = self._schema if self._schema is not None else json.loads(gold) if isinstance(gold, str) else gold
        if not isinstance(value, dict):
            raise ValueError("wanted an object")
        return value
