"""Result lines of an ended batch: which line answers an ask, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth_ray.ask.batches.errors import ProviderError, errors_in
from synth_ray.ask.openai_replies import completions_in
from synth_ray.ask.server_errors import error_for_status
from synth_ray.ask.server_text import json_in
from synth_ray.errors import AskFailed, ServiceRefused, TeacherError
from synth_ray.recipes.contract import Completion

Reply = list[Completion] | TeacherError
Line = dict[str, Any]
Lines = dict[str, Line]

_PASSING_STATUSES = (408, 409, 425, 429)


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """An ended batch, however it ended: its last status, what the provider says is wrong with it, and its lines by custom id."""

    status: str
    errors: list[ProviderError] = field(default_factory=list)
    lines: Lines = field(default_factory=dict)


def lines_in(data: bytes, read: Callable[[Line], Line | None] = lambda line: line) -> list[Line | None]:
    """The lines of a result file in OpenAI's form, None for each that is torn or has no custom id. `read` makes that form of a
    provider's own.
    """
    return [_parsed(line, read) for line in data.split(b"\n") if line.strip()]


def _parsed(line: bytes, read: Callable[[Line], Line | None]) -> Line | None:
    value = json_in(line)
    found = read(value) if isinstance(value, dict) else None
    return found if found is not None and isinstance(found.get("custom_id"), str) else None


def answered(key: Any, reply: Any) -> Line:
    """A line of an ask that was answered with this reply, which has OpenAI's form."""
    return {"custom_id": key, "response": {"status_code": 200, "body": reply}, "error": None}


def refused(key: Any, status: int, error: Any) -> Line:
    """A line of an ask that the provider refused with this HTTP status and error."""
    return {"custom_id": key, "response": {"status_code": status, "body": {"error": error}}, "error": None}


def unanswered(key: Any, code: str) -> Line:
    """A line of an ask that the provider did not come to."""
    return {"custom_id": key, "response": None, "error": {"code": code}}


def by_custom_id(lines: Iterable[Line]) -> Lines:
    """One line for each custom id: of several the last with an answer."""
    found: Lines = {}
    for line in lines:
        name = line["custom_id"]
        if name not in found or _status(line) == 200 or _status(found[name]) != 200:
            found[name] = line
    return found


def reply_in(line: Line | None, n: int) -> Reply | None:
    """What a line says: completions, or the error that ends its ask. None where it says nothing or a later batch may help.

    The line's own text may quote the prompt, so an error keeps only its kind.
    """
    if line is None:
        return None
    status, body = _status(line), _response(line).get("body")
    errors = errors_in(body) or errors_in(line)
    if status == 200 and isinstance(body, dict) and "error" not in body:
        try:
            return completions_in(body, n)
        except TeacherError as error:
            return error
    if unpaid := next((error for error in errors if error.is_unpaid), None):
        return ServiceRefused(f"models.batch: wanted answers, got {unpaid.code} in the results; settle the account")
    if own := next((failure for error in errors if (failure := error.of_one_prompt())), None):
        return own
    if 400 <= status < 500 and status not in _PASSING_STATUSES:
        return error_for_status(status, json.dumps(body))
    return None


def failures_in(errors: Sequence[ProviderError], keys: Sequence[str]) -> tuple[dict[str, AskFailed], list[ProviderError]]:
    """Of a failed batch of asks with these keys, the failures of single prompts, by key, and the errors that are no prompt's."""
    own: dict[str, AskFailed] = {}
    others: list[ProviderError] = []
    for error in errors:
        failure = error.of_one_prompt() if 0 < error.line <= len(keys) else None
        if failure is not None:
            own[keys[error.line - 1]] = failure
        else:
            others.append(error)
    return own, others


def code_in(line: Line | None) -> str:
    """The error code or HTTP status of a line without an answer; empty if it has none."""
    if line is None:
        return ""
    errors = errors_in(_response(line).get("body")) or errors_in(line)
    status = _status(line)
    return next((error.code for error in errors if error.code), f"HTTP {status}" if status else "")


def _response(line: Line) -> dict[str, Any]:
    response = line.get("response")
    return response if isinstance(response, dict) else {}


def _status(line: Line) -> int:
    try:
        return int(_response(line).get("status_code") or 0)
    except (TypeError, ValueError):
        return 0
