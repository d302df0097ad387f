"""Tool calls in OpenAI's form: they have ids, their arguments are JSON text, and each result names the call it answers."""

from __future__ import annotations

import json
from typing import Any

from synth_ray.dataset.conversation import Message, NotRepresentable, split_or_refuse


def openai_messages(messages: list[Message]) -> list[Message]:
    """The messages with their calls apart from the text. Raises NotRepresentable where calls and results do not pair up."""
    converted: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if not waiting:
                raise NotRepresentable("a tool's result without its call")
            converted.append(message | {"tool_call_id": waiting.pop(0)})
            continue
        if waiting:
            raise NotRepresentable("a tool call without its result")
        if message["role"] == "assistant":
            message = openai_message(message, f"call_{len(converted)}")
            waiting = [call["id"] for call in message.get("tool_calls", [])]
        converted.append(message)
    return converted


def openai_message(message: Message, name: str) -> Message:
    """An assistant's message with its calls apart; `name` begins their ids. Raises NotRepresentable for text behind a call."""
    texts, bodies = split_or_refuse(message["content"])
    if not bodies:
        return message
    if "".join(texts[1:]).strip():
        raise NotRepresentable("text behind a tool call")
    calls = [_tool_call(json.loads(body), f"{name}_{number}") for number, body in enumerate(bodies)]
    return message | {"content": texts[0].strip(), "tool_calls": calls}


def _tool_call(call: dict[str, Any], name: str) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    return {"type": "function", "function": function, "id": name}
