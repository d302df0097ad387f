"""Sandboxed Jinja: templates see only the names they are given, cannot reach Python, and an unknown name is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.nodes import TemplateData
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

from synth_ray.errors import AskFailed, JobError
from synth_ray.records import Reason, Request

_MIN_WORDS = 3
_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


@lru_cache(maxsize=256)
def compile_template(source: str) -> Template:
    """Compile a template of the job. Raises JobError with the template's line; the message has no row's text."""
    try:
        template = _SANDBOX.from_string(source)
        # otherwise every rendering copies the globals item by item from a chain of mappings
        template.globals = dict(template.globals)
        return template
    except TemplateError as error:
        line = getattr(error, "lineno", 1)
        raise JobError(f"template: wanted valid Jinja, got {error.message!r} in its line {line}; fix the template") from None


def _valid_template(source: str) -> str:
    try:
        compile_template(source)
    except JobError as error:
        raise ValueError(str(error).removeprefix("template: ")) from None
    return source


JinjaTemplate = Annotated[str, AfterValidator(_valid_template)]
"""The type of a recipe's option that is a Jinja template: it compiles."""


def constants_of(source: str) -> tuple[str, ...]:
    """Lines of three words or more that are the same in every rendering, so that they cannot distinguish two of them."""
    pieces = [node.data for node in _SANDBOX.parse(source).find_all(TemplateData)]
    return tuple(
        dict.fromkeys(line.strip() for piece in pieces for line in piece.splitlines() if len(line.split()) >= _MIN_WORDS)
    )


def names_in(source: str) -> set[str]:
    """The names that a template takes from outside: fields of the seed, and what the recipe adds."""
    return find_undeclared_variables(_SANDBOX.parse(source))


@lru_cache(maxsize=256)
def compile_expression(source: str) -> Callable[..., Any]:
    """Compile a Jinja expression of the job. Raises JobError that quotes it."""
    try:
        return _SANDBOX.compile_expression(source, undefined_to_none=True)
    except TemplateError as error:
        raise JobError(f"wanted a valid Jinja expression, got {error.message!r} in '{source[:60]}'; fix it") from None


def holds(source: str, names: Mapping[str, Any]) -> bool:
    """Whether a condition holds. False if it cannot be evaluated because a value is missing or has another type."""
    try:
        return bool(compile_expression(source)(**names))
    except (TemplateError, TypeError, ValueError, ArithmeticError):
        return False


@lru_cache(maxsize=256)
def reads_only(source: str, name: str) -> bool:
    """Whether a template shows this field of the seed and no other."""
    return find_undeclared_variables(_SANDBOX.parse(source)) <= {name}


@lru_cache(maxsize=256)
def _shown_name(source: str) -> str:
    """The name that a template shows and nothing beside, as the default of most recipes does; empty for any other template."""
    found = re.fullmatch(r"\{\{ *([a-z_]+) *\}\}", source)
    return found[1] if found is not None and names_in(source) == {found[1]} - {"shots"} else ""


def render(source: str, request: Request, **more: Any) -> str:
    """Render a template with the seed's fields by name, `shots` as a list of fields, and `more`. Raises
    AskFailed(recipe_error).
    """
    if not more and type(text := request.seed.fields.get(_shown_name(source))) is str:
        return text
    names = {**request.seed.fields, "shots": [s.fields for s in request.shots], **more}
    try:
        return compile_template(source).render(names)
    except TemplateError as error:
        raise AskFailed(Reason.RECIPE_ERROR, f"template: {type(error).__name__}: {_safe(error)}") from None


def _safe(error: TemplateError) -> str:
    """The message if it is about an undefined name; any other message may quote a row, so it is not repeated."""
    message = error.message or ""
    return message if "is undefined" in message and len(message) < 80 else "see `synth-ray preview`"
