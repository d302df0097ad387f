"""What is wrong with a job, in our wording: where, what was wanted, what was got, and the nearest known key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from synth_ray.errors import JobError

Where = tuple[str | int, ...]

_KINDS = {
    "list_type": "a list, as [a, b]",
    "dict_type": "a mapping, as {name: value}",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a job."""

    file: str
    line: int
    key: str
    wanted: str
    got: str
    nearest: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        return f"{place}: {self.key}: wanted {self.wanted}, got {self.got}{hint}"


class BadJob(JobError):
    """All problems of one job, one per line."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


def bad_job(problems: list[Problem]) -> BadJob:
    return BadJob("\n".join(str(p) for p in problems), tuple(problems))


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    *,
    file: str,
    lines: Mapping[Where, int],
    prefix: Where = (),
) -> list[Problem]:
    """Pydantic's errors in our wording, in the order of the file."""
    problems = []
    for detail in error.errors():
        where = prefix + tuple(part for part in detail["loc"] if part != "[key]")
        where = where or _named_in(detail["msg"])
        line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 0)
        key = ".".join(str(part) for part in where) or "(job)"
        problems.append(Problem(file, line, key, *_wanted_got_nearest(detail, model)))
    return sorted(problems, key=lambda p: p.line)


def _named_in(message: str) -> Where:
    """The key that a message of the whole job begins with: of sections that do not fit each other, the one to change."""
    named = re.match(r"Value error, ((?:[a-z_0-9]+\.)+[a-z_0-9]+): wanted ", message)
    return tuple(named[1].split(".")) if named else ()


def _wanted_got_nearest(detail: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    kind, got = detail["type"], _got(detail.get("input"))
    if kind == "extra_forbidden":
        known = _known_keys(model, detail["loc"][:-1])
        near = get_close_matches(str(detail["loc"][-1]), known, 1, cutoff=0.5)
        return f"a known key ({', '.join(sorted(known)[:8])}{' …' if len(known) > 8 else ''})", "an unknown one", "".join(near)
    if kind == "missing":
        return "this key to be there", "nothing", ""
    if kind == "string_type":
        return "text", not_text(detail.get("input")), ""
    if kind == "invalid_key":
        return "a key that is text", "one that YAML takes for a number, a boolean (yes, on) or null; quote it", ""
    if kind == "literal_error":
        allowed = str(detail["ctx"]["expected"])
        options = [a.strip(" '") for a in allowed.replace(" or ", ",").split(",")]
        return f"one of {allowed}", got, "".join(get_close_matches(str(detail.get("input")), options, 1))
    if kind in _KINDS:
        return _KINDS[kind], "nothing behind it; write its keys or leave it out" if detail.get("input") is None else got, ""
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = message.removeprefix(".".join(map(str, _named_in(detail["msg"]))) + ": ")
    if message.startswith("wanted ") and ", got " in message:
        wanted, _, rest = message.removeprefix("wanted ").partition(", got ")
        return wanted, rest, ""
    return message[0].lower() + message[1:], got, ""


def not_text(value: Any) -> str:
    """What stands where text is wanted, and how it came there: YAML reads some words as another type."""
    if isinstance(value, bool):
        return f"{value}, which YAML makes of {'yes, on and true' if value else 'no, off and false'}; quote it"
    if isinstance(value, (int, float)):
        return f"{value}, which YAML takes for a number; quote it"
    if isinstance(value, date):
        return f"{value.isoformat()}, which YAML takes for a date; quote it"
    if value is None:
        return "null, which YAML makes of null, ~ and nothing at all; quote it, or leave it out"
    return _got(value)


def _got(value: Any) -> str:
    if isinstance(value, (str, int, float, bool)) or value is None:
        text = repr(value)
        return text if len(text) <= 60 else f"{type(value).__name__} of {len(text)} characters"
    return f"a {type(value).__name__}"


def _known_keys(model: type[BaseModel], where: Where) -> list[str]:
    current: Any = model
    for part in where:
        if isinstance(part, int):
            continue
        info = current.model_fields.get(part) if is_section(current) else None
        current = section_in(info.annotation) if info is not None else None
    if not is_section(current):
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def is_section(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def section_in(annotation: Any) -> Any:
    """The section that an annotation names, alone, in a list or beside None; None if it names none."""
    if is_section(annotation):
        return annotation
    return next((m for m in map(section_in, get_args(annotation)) if m is not None), None)
