"""Outcomes as rows: asking fills these columns of the staged table; later stages fill the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from synth_ray.records import (
    STAGED,
    THOUGHT_MESSAGES,
    TOP_K,
    Draft,
    Message,
    Origin,
    Outcome,
    Reason,
    Request,
    canonical_json,
    digest,
    slot_id,
)

POISON_DETAIL = "two engines died with this request alone in flight, and two with it among others"
"""The `detail` of a row whose request kills engines. It is stored and compared: do not reword it."""


_NO_ROWS = (pa.ArrowException, AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What the conversion of a draft to a row raises that holds values of other types than it should."""


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Requests of one chunk that ended: their positions, their rows, and what they cost."""

    chunk: int
    positions: tuple[int, ...]
    rows: pa.RecordBatch
    tokens: dict[str, int]
    attempts: dict[str, int] = field(default_factory=dict)


def rows_by_chunk(outcomes: Iterable[Outcome]) -> list[AnsweredRows]:
    """Group outcomes by chunk, in chunk order; within a chunk in the order they ended."""
    by_chunk: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        by_chunk.setdefault(outcome.request.chunk, []).append(outcome)
    return [_rows_of_chunk(chunk, by_chunk[chunk]) for chunk in sorted(by_chunk)]


def _rows_of_chunk(chunk: int, outcomes: list[Outcome]) -> AnsweredRows:
    try:
        rows = _rows(outcomes)
    except _NO_ROWS:
        outcomes = list(map(_failed_if_no_row, outcomes))
        rows = _rows(outcomes)
    tokens = {
        "prompt": sum(o.prompt_tokens for o in outcomes),
        "completion": sum(o.completion_tokens for o in outcomes),
        "cached": sum(o.cached_tokens for o in outcomes),
        "nano_usd": sum(o.nano_usd for o in outcomes),
    }
    if estimated := sum(o.estimated_tokens for o in outcomes):
        tokens["estimated"] = estimated
    if reasoning := sum(o.reasoning_tokens for o in outcomes):
        tokens["reasoning"] = reasoning
    for outcome in outcomes:
        for name, count in outcome.role_tokens.items():
            tokens[name] = tokens.get(name, 0) + count
    attempts: dict[str, int] = {}
    for outcome in outcomes:
        for reason, count in outcome.attempts.items():
            attempts[reason] = attempts.get(reason, 0) + count
    positions = tuple(o.request.position for o in outcomes)
    return AnsweredRows(chunk, positions, rows, tokens, attempts)


def _rows(outcomes: list[Outcome]) -> pa.RecordBatch:
    slots = [(o.request, slot, draft) for o in outcomes for slot, draft in enumerate(o.drafts)]
    return _batch(_columns(slots), len(slots))


def _failed_if_no_row(outcome: Outcome) -> Outcome:
    """The outcome; or, where a recipe put into a draft what no column holds, one that failed. It costs what it cost."""
    try:
        _rows([outcome])
    except _NO_ROWS as error:
        detail = f"wanted drafts that columns can hold, got {type(error).__name__}"
        failed = [Draft([], "", finish_reason="", reason=Reason.RECIPE_ERROR, detail=detail) for _ in outcome.drafts]
        return replace(outcome, drafts=failed)
    return outcome


def _columns(slots: list[tuple[Request, int, Draft]]) -> dict[str, Any]:
    """The columns that asking fills: a list of each, since to go by rows would cost twice as much."""
    drafts = [draft for _, _, draft in slots]
    requests = [request for request, _, _ in slots]
    return {
        "id": [slot_id(request.id, slot) for request, slot, _ in slots],
        "request": [request.id for request in requests],
        "seed": [request.seed.id for request in requests],
        "lineage": [request.seed.lineage for request in requests],
        "chunk": [request.chunk for request in requests],
        "position": [request.position for request in requests],
        "slot": [slot for _, slot, _ in slots],
        "split": [request.seed.split for request in requests],
        "origin": [(r.seed.origin if d.copied else Origin.SYNTHETIC).value for r, _, d in slots],
        "depth": [request.seed.depth if draft.copied else request.depth for request, _, draft in slots],
        "messages": _conversations(drafts),
        "prompt": [_text(draft.prompt[-1]["content"]) if draft.prompt else "" for draft in drafts],
        "completion": [_text(draft.completion) for draft in drafts],
        "reasoning": [_text(draft.reasoning) if draft.reasoning.strip() else None for draft in drafts],
        "fields": [_json_text(draft.fields) if draft.fields else "{}" for draft in drafts],
        "prompt_digest": [digest(draft.prompt) for draft in drafts],
        "logprobs": [draft.logprobs for draft in drafts],
        "top_k": [{name: getattr(d.top_k, name) for name in TOP_K.names} if d.top_k is not None else None for d in drafts],
        "finish_reason": [draft.finish_reason for draft in drafts],
        "prompt_tokens": [draft.prompt_tokens for draft in drafts],
        "completion_tokens": [draft.completion_tokens for draft in drafts],
        "reasoning_tokens": [draft.reasoning_tokens for draft in drafts],
        "reason": [draft.reason.value if draft.reason else None for draft in drafts],
        "detail": [draft.detail or None for draft in drafts],
        "embedding": [draft.embedding for draft in drafts],
    }


def _batch(columns: dict[str, Any], rows: int) -> pa.RecordBatch:
    """A batch of the staged table; what no stage has filled yet is null."""
    arrays = [
        pa.nulls(rows, field.type)
        if (values := columns.get(field.name)) is None
        else values
        if isinstance(values, pa.Array)
        else pa.array(values, field.type)
        for field in STAGED
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=STAGED)


def _conversations(drafts: list[Draft]) -> pa.Array:
    """The column `messages`: the turns of the prompt, and the answer where there is one."""
    roles: list[str] = []
    contents: list[str] = []
    thoughts: list[str | None] = []
    ends = [0]
    for draft in drafts:
        turns: list[Message] = draft.prompt
        if draft.completion:
            turns = [*turns, {"role": "assistant", "content": draft.completion, "reasoning": draft.reasoning}]
        for turn in turns:
            thought = turn.get("reasoning", "")
            roles.append(turn["role"])
            contents.append(_text(turn["content"]))
            thoughts.append(_text(thought) if thought.strip() else None)
        ends.append(len(roles))
    turn_columns = [pa.array(values, pa.string()) for values in (roles, contents, thoughts)]
    turns_of_all = pa.StructArray.from_arrays(turn_columns, fields=list(THOUGHT_MESSAGES.value_type))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), turns_of_all, type=THOUGHT_MESSAGES)


def _text(value: str) -> str:
    """Arrow strings are UTF-8: a lone surrogate, which a broken decoder can emit, becomes its escape sequence."""
    if value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _json_text(fields: dict[str, Any]) -> str:
    """The fields as JSON. A lone surrogate is replaced first: its JSON escape would be one again for whoever reads the text."""
    data = canonical_json(fields)
    if b"\\ud" in data:
        data = canonical_json(_without_surrogates(fields))
    return data.decode()


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def keep_positions(answers: AnsweredRows, positions: set[int]) -> AnsweredRows:
    keep = pa.array([p in positions for p in answers.rows["position"].to_pylist()])
    return AnsweredRows(answers.chunk, tuple(sorted(positions)), answers.rows.filter(keep), answers.tokens, answers.attempts)


def engine_failure(request: Request, detail: str) -> AnsweredRows:
    """The rows of a request that ended as engine_error without an answer."""
    drafts = [Draft([], "", finish_reason="", reason=Reason.ENGINE_ERROR, detail=detail) for _ in range(request.slots)]
    return rows_by_chunk([Outcome(request, drafts)])[0]
