"""Reads a job from safe YAML. Reports every problem at once, with its line, what was wanted, what was got and the nearest key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from synth_ray.errors import JobError
from synth_ray.job.document import Job

Where = tuple[str | int, ...]


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


class _NoDuplicates(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML silently drops the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for name, _ in node.value:
            text = self.construct_object(name, deep=True)
            if text in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {text!r} is given twice", name.start_mark)
            seen.add(text)
        return super().construct_mapping(node, deep)


def load_job(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> Job:
    """The job in a YAML file. `overrides` maps dotted keys to values that replace the file's. Raises BadJob."""
    document, lines = read_yaml(path)
    for dotted, value in (overrides or {}).items():
        _set(document, dotted.split("."), value)
    return job_from(document, file=str(path), lines=lines)


def job_from(document: Mapping[str, Any], *, file: str = "job", lines: Mapping[Where, int] | None = None) -> Job:
    """The job in a mapping: the same document, from Python. Raises BadJob."""
    try:
        return Job.model_validate(document)
    except ValidationError as error:
        raise bad_job(problems_of(error, Job, file=file, lines=lines or {})) from None


def read_yaml(path: str | Path) -> tuple[dict[str, Any], dict[Where, int]]:
    """The document, and the line of every key in it. Raises BadJob."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=_NoDuplicates)
        document = yaml.load(text, Loader=_NoDuplicates)
    except OSError as error:
        raise bad_job([Problem(str(path), 0, "(file)", "a readable job file", error.strerror or "an error")]) from None
    except UnicodeDecodeError:
        raise bad_job([Problem(str(path), 0, "(file)", "UTF-8 text", "other bytes")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise bad_job([Problem(str(path), mark.line + 1 if mark else 0, "(file)", "valid YAML", problem)]) from None
    if not isinstance(document, dict):
        raise bad_job([Problem(str(path), 1, "(file)", "a mapping of sections", type(document).__name__)])
    return document, dict(_lines(node, ()))


def _lines(node: Any, where: Where) -> Iterator[tuple[Where, int]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield (*where, name.value), name.start_mark.line + 1
            yield from _lines(value, (*where, name.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*where, index), value.start_mark.line + 1
            yield from _lines(value, (*where, index))


_SHORT_FORMS = {"recipe": "name", "teacher": "model", "judge": "model"} | dict.fromkeys(
    ("seeds", "output", "real", "gold", "like"), "path"
)
"""What a text in place of a section stands for: `recipe: distill`, `output: out/x`."""


def _set(document: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = document.get(name)
        if isinstance(inner, str) and name in _SHORT_FORMS:
            inner = {_SHORT_FORMS[name]: inner}
        document[name] = inner = dict(inner) if isinstance(inner, dict) else {}
        document = inner
    document[path[-1]] = value


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
        where = prefix + tuple(detail["loc"])
        line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 0)
        key = ".".join(str(part) for part in where) or "(job)"
        problems.append(Problem(file, line, key, *_wanted_got_nearest(detail, model)))
    return sorted(problems, key=lambda p: p.line)


def _wanted_got_nearest(detail: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    kind, got = detail["type"], _got(detail.get("input"))
    if kind == "extra_forbidden":
        known = _known_keys(model, detail["loc"][:-1])
        near = get_close_matches(str(detail["loc"][-1]), known, 1, cutoff=0.5)
        return f"a known key ({', '.join(sorted(known)[:8])}{' …' if len(known) > 8 else ''})", "an unknown one", "".join(near)
    if kind == "missing":
        return "this key to be there", "nothing", ""
    if kind == "literal_error":
        allowed = str(detail["ctx"]["expected"])
        options = [a.strip(" '") for a in allowed.replace(" or ", ",").split(",")]
        return f"one of {allowed}", got, "".join(get_close_matches(str(detail.get("input")), options, 1))
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if message.startswith("wanted ") and ", got " in message:
        wanted, _, rest = message.removeprefix("wanted ").partition(", got ")
        return wanted, rest, ""
    return message[0].lower() + message[1:], got, ""


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
        info = current.model_fields.get(part) if _is_model(current) else None
        current = _model_in(info.annotation) if info is not None else None
    if not _is_model(current):
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _model_in(annotation: Any) -> Any:
    if _is_model(annotation):
        return annotation
    return next((m for m in map(_model_in, get_args(annotation)) if m is not None), None)
