"""The conversation of a published row, and what it has beside its messages, as the trainer formats need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from synth_ray.recipes.markup import split_calls

Row = Mapping[str, Any]
Message = dict[str, Any]
Trained = Literal["last", "all", "weight", "train", "loss"]

_ROLES = ("system", "user", "assistant", "tool")
_FLAGS = ("weight", "train", "training", "loss")
_EXCLUDING: dict[str, Any] = {"weight": 0, "train": False, "loss": False}


class NotRepresentable(Exception):
    """The format cannot represent this row. The argument is the reason, without text of the row, so that it can be counted."""


def conversation_of(row: Row, *, trained: Trained = "last", thoughts: bool = False, names: bool = False) -> list[Message]:
    """The messages of a row that ends with the assistant's answer.

    `trained` says which answers the format's trainer learns: the `last` alone, `all`, or those that the key `weight`, `train` or
    `loss` does not exclude. `thoughts` adds `reasoning_content`, `names` the speaker's `name`. Raises NotRepresentable where the
    row has no answer, or one that is not to be learnt and would be.
    """
    messages: list[Message] = [{"role": m["role"], "content": m["content"] or ""} for m in row["messages"] or []]
    if not all(message["role"] in _ROLES for message in messages):
        raise NotRepresentable("a turn of an unknown role")
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise NotRepresentable("no answer at the end")
    for place, (message, more) in enumerate(zip(messages, _more(row, len(messages)), strict=True)):
        if isinstance(more.get("refusal"), str):
            raise NotRepresentable("a refusal beside an answer")
        if message["role"] == "assistant" and any(more.get(flag, 1) == 0 for flag in _FLAGS):
            if trained == "all" or place == len(messages) - 1:
                raise NotRepresentable("an answer of weight 0")
            if trained in _EXCLUDING:
                message[trained] = _EXCLUDING[trained]
        if names and isinstance(more.get("name"), str) and message["role"] != "tool":
            message["name"] = more["name"]
        if thoughts and isinstance(more.get("reasoning_content"), str):
            message[row.get("thought_key", "reasoning_content")] = more["reasoning_content"]
    return messages


def thoughts_of(row: Row) -> list[str]:
    """What was thought before each message; empty where nothing was."""
    thoughts = [more.get("reasoning_content") for more in _more(row, len(row["messages"] or []))]
    return [thought if isinstance(thought, str) and thought.strip() else "" for thought in thoughts]


def has_reasoning(row: Row) -> bool:
    return any(thoughts_of(row))


def tools_of(row: Row) -> list[Any]:
    """The row's tools. Raises NotRepresentable where they are no JSON list."""
    tools = _parsed(row.get("tools") or [])
    if not isinstance(tools, list):
        raise NotRepresentable("tools that are no JSON list")
    return tools


def split_or_refuse(text: str) -> tuple[list[str], list[str]]:
    """`split_calls`, with NotRepresentable for markup that is not around a call."""
    try:
        return split_calls(text)
    except ValueError:
        raise NotRepresentable("a malformed tool call") from None


def field_of(row: Row, name: str) -> Any:
    """A field by its name: of the row's fields, or of the column that a job made of it."""
    value = row.get(name)
    return json.loads(row.get("fields") or "{}").get(name) if value is None else value


def _more(row: Row, length: int) -> list[dict[str, Any]]:
    """What each message has beside role and text; what it was thought with is `reasoning_content`.

    That is in the message itself and, for the last one, in the row's column. Rows of a dataset without that column have it as a
    field: of their turns, and for the last one of the row.
    """
    turns = _parsed(field_of(row, "turn_fields"))
    turns = turns[:length] if isinstance(turns, list) else []
    more = [dict(turn) if isinstance(turn, Mapping) else {} for turn in turns] + [{} for _ in range(length - len(turns))]
    for own, message in zip(more, row["messages"] or [], strict=False):
        if isinstance(thought := message.get("reasoning"), str) and thought.strip():
            own["reasoning_content"] = thought
    reasoning = row.get("reasoning") if "reasoning_tokens" in row else field_of(row, "reasoning")
    if more and isinstance(reasoning, str) and reasoning.strip():
        more[-1]["reasoning_content"] = reasoning
    return more


def _parsed(value: Any) -> Any:
    """A value that may be there as its JSON; None for text that is no JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
