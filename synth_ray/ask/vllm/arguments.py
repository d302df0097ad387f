"""Names and types of vLLM's engine arguments, read from its source: importing vLLM takes longer than all else in a check."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from synth_ray.errors import JobError

_TYPES: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "dict": dict, "list": list}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "a mapping", list: "a list"}
_SHOWN_VALUES = 8

Fields = dict[str, ast.expr]
"""Arguments and their annotations."""

Choices = dict[str, tuple[Any, ...]]
"""Names of closed lists of values, such as ModelDType, and the values."""


def refuse_bad_arguments(engine_args: Mapping[str, Any], *, where: str) -> None:
    """Raise JobError with every argument that the installed vLLM does not know, or whose value is of another type. Without vLLM,
    or where its source has another form, nothing is refused here: the engine refuses it when it opens.
    """
    fields, choices = _source()
    problems = [
        problem
        for name, value in engine_args.items()
        if (problem := _unknown(name, fields) if name not in fields else _misfit(name, value, fields[name], choices))
    ]
    if fields and problems:
        raise JobError("\n".join(f"{where}.engine_args{problem}" for problem in problems))


def _unknown(name: str, fields: Fields) -> str:
    near = get_close_matches(name, fields, 2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; this version of vLLM has no such argument"
    return f": wanted arguments of vLLM's EngineArgs, got {name}{hint}"


def _misfit(name: str, value: Any, annotation: ast.expr, choices: Choices) -> str:
    allowed = _allowed(annotation, choices)
    if value is None or allowed is None:
        return ""
    types, values = allowed
    if any(value == one and type(value) is type(one) for one in values) or _is_one_of(value, types):
        return ""
    wanted = [*(_WORDS[kind] for kind in types), *map(repr, values)]
    shown = repr(value) if isinstance(value, (str, int, float, bool)) and len(repr(value)) <= 60 else f"a {type(value).__name__}"
    near = get_close_matches(value, map(str, values), 1) if isinstance(value, str) else []
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return (
        f".{name}: wanted {' or '.join(wanted[:_SHOWN_VALUES])}{' …' if len(wanted) > _SHOWN_VALUES else ''}, got {shown}{hint}"
    )


def _is_one_of(value: Any, types: list[type]) -> bool:
    """YAML's true is no number, and a whole number will do where any number does."""
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, tuple(types)) or (isinstance(value, int) and float in types)


def _allowed(annotation: ast.expr, choices: Choices) -> tuple[list[type], list[Any]] | None:
    """The plain types and the values that an annotation allows; None for one that allows anything else besides."""
    types: list[type] = []
    values: list[Any] = []
    for part in _parts(annotation):
        name = ast.unparse(part.value if isinstance(part, ast.Subscript) else part)
        if name in _TYPES:
            types.append(_TYPES[name])
        elif name in choices:
            values += choices[name]
        elif name != "None":
            return None
    return types, values


def _parts(annotation: ast.expr) -> list[ast.expr]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_parts(annotation.left), *_parts(annotation.right)]
    return [annotation]


@cache
def _source() -> tuple[Fields, Choices]:
    """Fields of EngineArgs and the closed lists they use; empty where vLLM or its source is not there."""
    spec = importlib.util.find_spec("vllm")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    if folder is None:
        return {}, {}
    try:
        fields = _fields_in(ast.parse((folder / "engine" / "arg_utils.py").read_text(encoding="utf-8")))
        choices: Choices = {}
        for file in sorted((folder / "config").glob("*.py")):
            choices |= _choices_in(ast.parse(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, SyntaxError):
        return {}, {}
    return fields, choices


def _fields_in(module: ast.Module) -> Fields:
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "EngineArgs"]
    return {
        node.target.id: node.annotation
        for found in classes
        for node in found.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _choices_in(module: ast.Module) -> Choices:
    """Assignments such as `Name = Literal["a", "b"]`."""
    found: Choices = {}
    for node in module.body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Subscript)):
            continue
        inner = node.value.slice
        items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if isinstance(node.value.value, ast.Name) and node.value.value.id == "Literal":
            constants = [item.value for item in items if isinstance(item, ast.Constant)]
            if len(constants) == len(items):
                found[node.targets[0].id] = tuple(constants)
    return found
