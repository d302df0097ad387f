"""Sandboxed Jinja: templates see only the seed's fields, cannot reach Python, and an unknown name is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.nodes import TemplateData
from jinja2.sandbox import ImmutableSandboxedEnvironment

from synth_ray.errors import AskFailed, JobError
from synth_ray.records import Reason, Request

_MIN_WORDS = 3
_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


@lru_cache(maxsize=256)
def compile_template(source: str) -> Template:
    """Compile a template of the job. Raises JobError that names the line, never a row."""
    try:
        template = _SANDBOX.from_string(source)
        template.globals = dict(template.globals)  # else every rendering copies it from a chain of mappings, item by item
        return template
    except TemplateError as error:
        line = getattr(error, "lineno", 1)
        raise JobError(f"template: wanted valid Jinja, got {error.message!r} in its line {line}; fix the template") from None


def constants_of(source: str) -> tuple[str, ...]:
    """The texts of a template that every rendering has, of three words or more: what does not tell two renderings apart."""
    pieces = [node.data for node in _SANDBOX.parse(source).find_all(TemplateData)]
    return tuple(
        dict.fromkeys(line.strip() for piece in pieces for line in piece.splitlines() if len(line.split()) >= _MIN_WORDS)
    )


@lru_cache(maxsize=256)
def compile_expression(source: str) -> Callable[..., Any]:
    """Compile a condition of the job. Raises JobError that names it."""
    try:
        return _SANDBOX.compile_expression(source, undefined_to_none=True)
    except TemplateError as error:
        raise JobError(f"wanted a valid Jinja expression, got {error.message!r} in '{source[:60]}'; fix it") from None


def holds(source: str, names: Mapping[str, Any]) -> bool:
    """Whether a condition holds. One that cannot be told, because a value is missing or of another kind, does not."""
    try:
        return bool(compile_expression(source)(**names))
    except (TemplateError, TypeError, ValueError, ArithmeticError):
        return False


def render(source: str, request: Request, **more: Any) -> str:
    """Render for one request: the seed's fields by name, `shots` as a list of fields, and `more`."""
    names = {**request.seed.fields, "shots": [s.fields for s in request.shots], **more}
    try:
        return compile_template(source).render(names)
    except TemplateError as error:
        raise AskFailed(Reason.RECIPE_ERROR, f"template: {type(error).__name__}: {_safe(error)}") from None


def _safe(error: TemplateError) -> str:
    """The message of an undefined name; anything else may quote a row, so only its kind is told."""
    message = error.message or ""
    return message if "is undefined" in message and len(message) < 80 else "see `synth-ray preview`"
