"""The type of a recipe's option that is a JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from jsonschema import Draft202012Validator, SchemaError
from pydantic import AfterValidator


def _require_schema(value: dict[str, Any]) -> dict[str, Any]:
    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        raise ValueError(f"wanted a JSON Schema, got one that is not: {error.message[:200]}") from None
    return value


JsonSchema = Annotated[dict[str, Any], AfterValidator(_require_schema)]
