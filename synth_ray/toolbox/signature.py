"""A function's JSON Schema from its signature, type hints and docstring, as `transformers.utils.get_json_schema` makes it.

Imports only the standard library: it runs where the function does.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

STATE = "state"
"""The argument that gets the conversation's state, and is not the model's to give."""

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ARGS = re.compile(
    r"^[ \t]*(?:Args|Arguments|Parameters):[ \t]*\n(.*?)(?=^[ \t]*(?:Returns?|Raises|Yields|Examples?):|\Z)", re.M | re.S
)
_ARG = re.compile(r"^[ \t]*(\w+)(?:[ \t]*\([^)\n]*\))?:[ \t]*(.*?)(?=^[ \t]*\w+(?:[ \t]*\([^)\n]*\))?:|\Z)", re.M | re.S)
_CHOICES = re.compile(r"\(choices:\s*(\[.*?\])\)\s*$", re.S)


def describe(function: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    """(description, JSON Schema of the arguments). Raises ValueError for a parameter without a type that JSON has."""
    hints = typing.get_type_hints(function)
    text = inspect.getdoc(function) or ""
    told = dict(_documented(text))
    properties, required = {}, []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == STATE:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(f"wanted named parameters, got '{parameter}'")
        if name not in hints:
            raise ValueError(f"wanted a type hint for parameter '{name}', got none")
        properties[name] = schema_of(hints[name], name) | ({"description": told[name]} if told.get(name) else {})
        if parameter.default is parameter.empty:
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return _head(text), schema


def takes_state(function: Callable[..., Any]) -> bool:
    return STATE in inspect.signature(function).parameters


def schema_of(hint: Any, name: str) -> dict[str, Any]:
    """The JSON Schema of a type hint. Raises ValueError for one that JSON does not have."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if hint is Any or hint is inspect.Parameter.empty:
        return {}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return _either([schema_of(arg, name) for arg in args])
    if origin is typing.Annotated:
        return schema_of(args[0], name)
    if hint in (list, tuple, set) or origin in (list, tuple, set, Sequence):
        items = schema_of(args[0], name) if args and args[0] is not Ellipsis else {}
        return {"type": "array"} | ({"items": items} if items else {})
    if hint is dict or origin in (dict, Mapping):
        values = schema_of(args[1], name) if len(args) == 2 else {}
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    raise ValueError(f"wanted a type that JSON has for parameter '{name}', got {getattr(hint, '__name__', hint)}")


def _either(parts: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = [part["type"] for part in parts if set(part) == {"type"}]
    return {"type": kinds} if len(kinds) == len(parts) else {"anyOf": parts}


def _head(text: str) -> str:
    """The docstring up to its first section."""
    return re.split(r"^[ \t]*(?:Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?):", text, maxsplit=1, flags=re.M)[
        0
    ].strip()


def _documented(text: str) -> list[tuple[str, str]]:
    """The parameters that the docstring's `Args:` section tells of."""
    section = _ARGS.search(text)
    pairs = _ARG.findall(section[1]) if section else []
    return [(name, " ".join(_CHOICES.sub("", words).split())) for name, words in pairs]
