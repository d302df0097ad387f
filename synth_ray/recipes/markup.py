"""Tool calls inside the text of a turn, as Hermes and Qwen templates write them: `<tool_call>{"name": …}</tool_call>`.

Law: what `call_text` writes, `split_calls` reads, whatever text the arguments contain. `openai_turns` has them apart from the
text: with ids, and each result names the call that it answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.records import canonical_json

CALL_BEGIN, _CLOSE = "<tool_call>", "</tool_call>"


def call_text(name: str, arguments: Any) -> str:
    """A call as the text of a turn."""
    return f"{CALL_BEGIN}{canonical_json({'name': name, 'arguments': arguments}).decode()}{_CLOSE}"


def split_calls(text: str) -> tuple[list[str], list[str]]:
    """(the text before, between and behind the calls; the JSON of each call). There is one more text than calls.

    Raises ValueError where markup is not around a call: a JSON object of a name and the arguments, an object too.
    """
    texts, calls, place = [], [], 0
    while (start := text.find(CALL_BEGIN, place)) >= 0:
        texts.append(text[place:start])
        start += len(CALL_BEGIN)
        end = _end_of_call(text, start)
        calls.append(text[start:end])
        place = end + len(_CLOSE)
    texts.append(text[place:])
    if any(_CLOSE in part for part in texts):
        raise ValueError("the end of a call without its beginning")
    return texts, calls


def parse_json(text: str) -> Any:
    """A JSON value. Raises ValueError for text that is none, or that readers take differently (NaN, infinite numbers, a key that
    is there twice).
    """
    value, end = _decoded(text, 0)
    if text[end:].strip():
        raise ValueError("wanted one JSON value, got more behind it")
    return value


def is_call(value: Any) -> bool:
    """Whether it is a call and nothing more."""
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        return False
    return isinstance(value["name"], str) and isinstance(value["arguments"], dict)


def openai_turns(messages: Sequence[Mapping[str, Any]], *, arguments_as_text: bool = True) -> list[dict[str, Any]]:
    """The messages with their calls in OpenAI's form. Its servers take arguments as JSON text, chat templates as objects.

    Raises ValueError, without text of the messages, where calls and results do not pair up, a call is malformed, or text follows.
    """
    converted: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if not waiting:
                raise ValueError("a tool's result without its call")
            converted.append({**message, "tool_call_id": waiting.pop(0)})
            continue
        if waiting:
            raise ValueError("a tool call without its result")
        turn = dict(message)
        if message["role"] == "assistant":
            turn = openai_turn(message, f"call_{len(converted)}", arguments_as_text=arguments_as_text)
            waiting = [call["id"] for call in turn.get("tool_calls", [])]
        converted.append(turn)
    return converted


def openai_turn(message: Mapping[str, Any], name: str, *, arguments_as_text: bool = True) -> dict[str, Any]:
    """An assistant's message with its calls apart; `name` begins their ids. Raises ValueError as `openai_turns` does."""
    try:
        texts, bodies = split_calls(message["content"])
    except ValueError:
        raise ValueError("a malformed tool call") from None
    if not bodies:
        return dict(message)
    if "".join(texts[1:]).strip():
        raise ValueError("text behind a tool call")
    calls = [_tool_call(json.loads(body), f"{name}_{number}", arguments_as_text) for number, body in enumerate(bodies)]
    return {**message, "content": texts[0].strip(), "tool_calls": calls}


def _tool_call(call: dict[str, Any], name: str, arguments_as_text: bool) -> dict[str, Any]:
    arguments = json.dumps(call["arguments"]) if arguments_as_text else call["arguments"]
    return {"type": "function", "function": {"name": call["name"], "arguments": arguments}, "id": name}


def _end_of_call(text: str, start: int) -> int:
    value, end = _decoded(text, start)
    while text[end : end + 1].isspace():
        end += 1
    if not is_call(value) or not text.startswith(_CLOSE, end):
        raise ValueError("markup that is not around a call")
    return end


def _decoded(text: str, start: int) -> tuple[Any, int]:
    while text[start : start + 1].isspace():
        start += 1
    try:
        value, end = _DECODER.raw_decode(text, start)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("wanted JSON, got one that is nested too deeply") from None
    return value, end


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key that is there twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
