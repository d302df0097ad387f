"""The type of a recipe's option that is a JSON Schema, and the validator of one.

Law: a schema that is accepted here fits its metaschema, all its references lead to schemas of its own document, its patterns
compile, and validating with it ends. So nothing is wrong with it that a run would find later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, cast

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from pydantic import AfterValidator

from synth_ray.recipes.schema_graph import SchemaGraph, graph_of, part_without_end, reference_cycle

_TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
_LONGEST_QUOTE = 160


def validator_of(schema: Mapping[str, Any]) -> Validator:
    """A validator in the dialect that the schema's `$schema` names, 2020-12 where it names none."""
    dialect: type[Validator] = validator_for(dict(schema), default=Draft202012Validator)
    return dialect(dict(schema))


def embedded(schema: Any, at: str) -> Any:
    """The schema as a part of another one, at this path of it: its references are counted from the new root."""
    if isinstance(schema, list):
        return [embedded(inner, at) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: at + inner[1:] if name == "$ref" and isinstance(inner, str) and (inner == "#" or inner.startswith("#/")) else
        embedded(inner, at)
        for name, inner in schema.items()
    }  # fmt: skip


def require_schema(value: dict[str, Any]) -> dict[str, Any]:
    """The schema. Raises ValueError that says what is wrong with it, and where."""
    try:
        _refuse_values_that_are_not_json(value)
        dialect = _dialect(value)
        _refuse_other_forms(dialect, value)
        graph = graph_of(value, dialect.META_SCHEMA["$schema"])
        for path in graph.referenced:
            _refuse_other_forms(dialect, graph.parts[path], path)
        for path, part in graph.parts.items():
            _refuse_broken_patterns(path, part)
            _refuse_values_of_other_types(path, part)
        _refuse_endless(graph)
    except RecursionError:
        raise ValueError("wanted a JSON Schema of some hundred levels at most, got a deeper one; make it flatter") from None
    return value


JsonSchema = Annotated[dict[str, Any], AfterValidator(require_schema)]


def _refuse_values_that_are_not_json(schema: Any) -> None:
    for path, value in _values(schema, "#"):
        if value is not None and not isinstance(value, (bool, int, float, str, list, dict)):
            raise ValueError(
                f"wanted values that JSON has, got a {type(value).__name__} at {path}, which YAML makes of such a word; quote it"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"wanted values that JSON has, got {value} at {path}; leave it out")
        for name in value if isinstance(value, dict) else ():
            if not isinstance(name, str):
                raise ValueError(
                    f"wanted names that are text, got {name!r} at {path}, which YAML makes of a word such as yes, on, null or "
                    "12; quote it"
                )


def _values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _values(inner, f"{path}/{name}")


def _dialect(schema: dict[str, Any]) -> type[Validator]:
    name = schema.get("$schema")
    if name is None:
        return Draft202012Validator
    dialect = validator_for(schema, default=cast(Any, None)) if isinstance(name, str) else None
    if dialect is None:
        raise ValueError(
            f"wanted a `$schema` of json-schema.org, got {str(name)[:_LONGEST_QUOTE]!r}; leave it out, or name "
            f"{Draft202012Validator.META_SCHEMA['$schema']}"
        )
    return dialect


def _refuse_other_forms(dialect: type[Validator], schema: Any, path: str = "#") -> None:
    """Raise ValueError where the schema does not fit the metaschema of its dialect."""
    try:
        dialect.check_schema(schema)
    except SchemaError as error:
        place = "/".join([path, *map(str, error.absolute_path)])
        if re.search(r"/type(/\d+)?$", place):
            raise ValueError(_unknown_type(error.instance, place)) from None
        if "regex" in error.message:
            _refuse_broken_patterns(place, {"pattern": error.instance})
        message = error.message if len(error.message) <= _LONGEST_QUOTE else f"{error.message[:_LONGEST_QUOTE]}…"
        raise ValueError(f"wanted a JSON Schema, got one that is not: {place}: {message}") from None


def _unknown_type(got: Any, place: str) -> str:
    near = get_close_matches(str(got), _TYPES, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"wanted a type of JSON Schema ({', '.join(_TYPES)}), got {str(got)[:_LONGEST_QUOTE]!r} at {place}{hint}"


def _refuse_broken_patterns(path: str, schema: Mapping[str, Any]) -> None:
    patterns = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    patterns += list(schema.get("patternProperties") or {})
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"wanted patterns that are regular expressions, got {pattern[:_LONGEST_QUOTE]!r} at {path}, which does not "
                f"compile: {error}"
            ) from None


def _refuse_endless(graph: SchemaGraph) -> None:
    if cycle := reference_cycle(graph):
        raise ValueError(
            "wanted a JSON Schema that can be followed to its end, got $ref that lead back to where they begin: "
            f"{' → '.join(cycle)}; put a property or an item between them"
        )
    if path := part_without_end(graph):
        raise ValueError(
            f"wanted a JSON Schema that a finite value fits, got one that contains itself without end at {path}; make the "
            "property or item that repeats it optional"
        )


def _refuse_values_of_other_types(path: str, schema: Mapping[str, Any]) -> None:
    """No value fits a schema whose type excludes its own `enum` or `const`: most often YAML read `yes` as a boolean."""
    named = schema.get("type")
    names = [named] if isinstance(named, str) else named
    if not names or not ("enum" in schema or "const" in schema):
        return
    values = [*(schema.get("enum") or []), *([schema["const"]] if "const" in schema else [])]
    for value in values:
        if not any(_is_of_type(value, name) for name in names):
            raise ValueError(
                f"wanted values of type {' or '.join(names)}, got {str(value)[:_LONGEST_QUOTE]} ({type(value).__name__}) among "
                f"those of {path}; quote it where YAML took a text for something else"
            )


def _is_of_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES[name]) if name in _TYPES else True
