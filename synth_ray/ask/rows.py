"""Outcomes as rows: asking fills these columns of the staged table; later stages fill the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from synth_ray.records import STAGED, TOP_K, Draft, Message, Origin, Outcome, Reason, Request, canonical_json, digest, slot_id

POISON_DETAIL = "two engines died with this request alone in flight, and two with it among others"
"""The `detail` of a row whose request kills engines. It is stored and compared: do not reword it."""


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
    rows = [_row(o.request, slot, draft) for o in outcomes for slot, draft in enumerate(o.drafts)]
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
    return AnsweredRows(chunk, positions, pa.RecordBatch.from_pylist(rows, schema=STAGED), tokens, attempts)


def _row(request: Request, slot: int, draft: Draft) -> dict[str, Any]:
    return {
        "id": slot_id(request.id, slot),
        "request": request.id,
        "seed": request.seed.id,
        "lineage": request.seed.lineage,
        "chunk": request.chunk,
        "position": request.position,
        "slot": slot,
        "split": request.seed.split,
        "origin": (request.seed.origin if draft.copied else Origin.SYNTHETIC).value,
        "depth": request.seed.depth if draft.copied else request.depth,
        "messages": _conversation(draft),
        "prompt": _text(draft.prompt[-1]["content"]) if draft.prompt else "",
        "completion": _text(draft.completion),
        "reasoning": _text(draft.reasoning) if draft.reasoning.strip() else None,
        "fields": _json_text(draft.fields),
        "prompt_digest": digest(draft.prompt),
        "logprobs": draft.logprobs,
        "top_k": {name: getattr(draft.top_k, name) for name in TOP_K.names} if draft.top_k is not None else None,
        "embedding": draft.embedding,
        "finish_reason": draft.finish_reason,
        "prompt_tokens": draft.prompt_tokens,
        "completion_tokens": draft.completion_tokens,
        "reasoning_tokens": draft.reasoning_tokens,
        "reason": draft.reason.value if draft.reason else None,
        "detail": draft.detail or None,
    }


def _conversation(draft: Draft) -> list[Message]:
    messages = [_turn(m["role"], m["content"], m.get("reasoning", "")) for m in draft.prompt]
    return [*messages, _turn("assistant", draft.completion, draft.reasoning)] if draft.completion else messages


def _turn(role: str, content: str, reasoning: str) -> Message:
    return {"role": role, "content": _text(content)} | ({"reasoning": _text(reasoning)} if reasoning.strip() else {})


def _text(value: str) -> str:
    """Arrow strings are UTF-8: a lone surrogate, which a broken decoder can emit, becomes its escape sequence."""
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
