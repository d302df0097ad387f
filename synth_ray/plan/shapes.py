"""Row layouts, and the canonical form they are converted to: `prompt`, perhaps `answer` and `messages`, and all other fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PROMPTS = ("prompt", "question", "instruction", "query", "text", "input")
_ANSWERS = ("answer", "completion", "output", "response")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system", "tool": "tool"}


class NoField(Exception):
    """A required field is missing. The argument is its name."""


class WrongType(Exception):
    """A field has the wrong type. The argument gives the wanted type and the actual one."""


def shape_of(row: Mapping[str, Any]) -> str:
    """The layout of a row: messages, sharegpt, alpaca or plain."""
    if isinstance(row.get("messages"), list):
        return "messages"
    if isinstance(row.get("conversations"), list):
        return "sharegpt"
    if "instruction" in row and any(name in row for name in ("output", "response")):
        return "alpaca"
    return "plain"


def canonical_fields(row: Any, *, shape: str, mapping: Mapping[str, str]) -> dict[str, Any]:
    """The canonical fields of a row. `mapping`, if any, overrides `shape`. Raises NoField or WrongType."""
    if not isinstance(row, Mapping):
        raise WrongType(f"an object, got {type(row).__name__}")
    if mapping:
        fields = {name: _value_at(row, path) for name, path in mapping.items()}
    else:
        fields = _SHAPES[shape_of(row) if shape == "auto" else shape](row)
    prompt = fields.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise WrongType(f"text in 'prompt', got {type(prompt).__name__}")
    return fields


def _value_at(row: Any, path: str) -> Any:
    if isinstance(row, Mapping) and path in row:
        value = row[path]
    else:
        value = row
        for part in path.split("."):
            value = _step(value, part, path)
    if value is None:
        raise NoField(path)
    return value


def _step(value: Any, part: str, path: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    raise NoField(path)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    name = next((n for n in _PROMPTS if n in row), None)
    if name is None:
        raise NoField("prompt")
    fields = {k: v for k, v in row.items() if k != name}
    answer = next((n for n in _ANSWERS if n in fields), None)
    if answer is not None:
        fields["answer"] = fields.pop(answer)
    return {"prompt": row[name], **fields}


def _alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    if "instruction" not in row:
        raise NoField("instruction")
    instruction, more = row["instruction"], row.get("input") or ""
    if not isinstance(instruction, str) or not isinstance(more, str):
        raise WrongType(f"text in 'instruction' and 'input', got {type(instruction).__name__} and {type(more).__name__}")
    answer = next((row[n] for n in ("output", "response") if n in row), None)
    others = {k: v for k, v in row.items() if k not in ("instruction", "input", "output", "response")}
    fields = {"prompt": f"{instruction}\n\n{more}" if more.strip() else instruction, **others}
    return fields if answer is None else {**fields, "answer": answer}


def _messages(row: Mapping[str, Any]) -> dict[str, Any]:
    return _conversation(row, "messages", "role", "content")


def _sharegpt(row: Mapping[str, Any]) -> dict[str, Any]:
    return _conversation(row, "conversations", "from", "value")


def _conversation(row: Mapping[str, Any], column: str, role: str, content: str) -> dict[str, Any]:
    """The last user turn is the prompt; an assistant turn at the end is the answer; the turns between them are `tool_turns`."""
    if column not in row:
        raise NoField(column)
    turns = [_turn(turn, role, content) for turn in row[column]] if isinstance(row[column], list) else []
    user_turns = [i for i, turn in enumerate(turns) if turn["role"] == "user"]
    if not user_turns:
        raise NoField(f"{column}: a user turn")
    others = {k: v for k, v in row.items() if k != column}
    fields = {"prompt": turns[user_turns[-1]]["content"], "messages": turns[: user_turns[-1] + 1], **others}
    last, between = turns[-1], turns[user_turns[-1] + 1 : -1]
    if last["role"] != "assistant":
        return fields
    return {**fields, "answer": last["content"], **({"tool_turns": between} if between else {})}


def _turn(turn: Any, role: str, content: str) -> dict[str, str]:
    if not isinstance(turn, Mapping) or role not in turn or content not in turn:
        raise WrongType(f"turns with '{role}' and '{content}', got {type(turn).__name__}")
    text = turn[content]
    if turn[role] not in _ROLES or not isinstance(text, str):
        raise WrongType(f"a known role and text, got {type(turn[role]).__name__} and {type(text).__name__}")
    return {"role": _ROLES[turn[role]], "content": text}


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row unchanged, with a prompt that lists its fields, one `name: value` per line."""
    lines = "\n".join(f"{name}: {value}" for name, value in row.items() if value is not None)
    return {"prompt": lines, **row}


_SHAPES = {"plain": _plain, "record": _record, "alpaca": _alpaca, "messages": _messages, "sharegpt": _sharegpt}
