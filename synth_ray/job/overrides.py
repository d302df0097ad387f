"""Puts values at dotted keys of a job's document, as `--set` does.

Law: a section written short and its long form end as the same job: `output: out` with `output.part_rows` is
`output: {path: out, part_rows: …}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.models import Model, Models
from synth_ray.job.output import Output
from synth_ray.job.problems import is_section, section_in
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.section import OneOrMore
from synth_ray.job.seeds import Source

_SHORT: tuple[tuple[type[BaseModel], str], ...] = ((Source, "path"), (Output, "path"), (Model, "model"), (RecipeChoice, "name"))
"""The key that a text in place of a section stands for."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a key takes: a section or, where `section` is None, any value; `listed`, one of it or a list."""

    section: type[BaseModel] | None = None
    listed: bool = False


def with_overrides(document: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The document with these values, by dotted key, in order. `seeds.0.limit` is a key of an item of a list.

    Raises JobError where a key leads through something that has no keys.
    """
    for dotted, value in overrides.items():
        document = _put(dict(document), _Kind(Job), _standard_path(dotted.split(".")), value, "")
    return dict(document)


def _standard_path(path: list[str]) -> list[str]:
    """`models.teachers.1` is the second teacher, which the document has as the first of `models.others`; recipe options are in
    `recipe` itself.
    """
    match path:
        case ["models", "teachers" | "teacher", index, *rest] if index.isdecimal():
            return ["models", "teacher", *rest] if int(index) == 0 else ["models", "others", str(int(index) - 1), *rest]
        case ["recipe", "options", name, *rest]:
            return ["recipe", name, *rest]
    return path


def _put(current: Any, kind: _Kind, path: list[str], value: Any, at: str) -> Any:
    """`current` with the value at this path under it. `at` is the key of `current`, for errors."""
    if not path:
        return value
    if kind.listed or isinstance(current, list):
        return _put_into_list(current, kind, path, value, at)
    name, *rest = path
    mapping = _mapping(current, kind.section)
    if not isinstance(mapping, dict):
        raise JobError(
            f"--set: wanted keys or items in {at or 'the job'} for '{name}', got {type(current).__name__}; set {at} whole"
        )
    inner = _kind_of_key(kind.section, name)
    return mapping | {name: _put(mapping.get(name), inner, rest, value, f"{at}.{name}".lstrip("."))}


def _put_into_list(current: Any, kind: _Kind, path: list[str], value: Any, at: str) -> Any:
    items = list(current) if isinstance(current, list) else [] if current is None else [current]
    item = _Kind(kind.section)
    name, *rest = path
    if not name.isdecimal():
        if kind.section is not None and len(items) <= 1:  # `seeds.limit` of a single source
            return [_put(items[0] if items else None, item, path, value, at)]
        raise JobError(f"--set: wanted the number of an item of {at}, which has {len(items)}, got '{name}'; say {at}.0, {at}.1 …")
    index = int(name)
    if index > len(items):
        raise JobError(f"--set: wanted an item of {at}, which has {len(items)}, got {index}; the next one is {at}.{len(items)}")
    old = items[index] if index < len(items) else None
    return [*items[:index], _put(old, item, rest, value, f"{at}.{index}"), *items[index + 1 :]]


def _mapping(current: Any, section: type[BaseModel] | None) -> Any:
    """The long form of a section, or `current` itself where it has none."""
    if current is None:
        return {}
    if section is Models and current == "none":
        return {"teacher": {"engine": "none"}}
    if section is Models and isinstance(current, dict) and isinstance(teachers := current.get("teacher"), list) and teachers:
        return {**current, "teacher": teachers[0], "others": [*teachers[1:], *(current.get("others") or [])]}
    if section is RecipeChoice and isinstance(current, dict) and isinstance(current.get("options"), dict):
        return {name: value for name, value in current.items() if name != "options"} | current["options"]
    if isinstance(current, str) and section is not None:
        return next(({key: current} for short, key in _SHORT if issubclass(section, short)), current)
    return dict(current) if isinstance(current, dict) else current


def _kind_of_key(section: type[BaseModel] | None, name: str) -> _Kind:
    if section is None:
        return _Kind()
    info = next((info for key, info in section.model_fields.items() if name == (info.alias or key)), None)
    if info is None:
        return _Kind()
    listed = OneOrMore in info.metadata or _is_list_of_sections(info.annotation)
    return _Kind(section_in(info.annotation), listed)


def _is_list_of_sections(annotation: Any) -> bool:
    return get_origin(annotation) is list and is_section(get_args(annotation)[0])
