"""Trainer formats as projections of one published row.

Law: a projection is a function of the row alone, and has no column that a trainer would take for a second format. A row that the
format cannot represent is left out with a reason, which the caller counts. The layouts follow the trainers' own documentation:
TRL (dataset formats), OpenAI (fine-tuning), LLaMA-Factory (data/README), Axolotl (chat_template), Stanford Alpaca. Formats that
are read as a table (TRL, ShareGPT, LLaMA-Factory) have the same columns in every row: `tools` is JSON text, and tool calls stay
inside the text of their turn, as Hermes and Qwen templates write them. As a struct column, arguments would get the keys of every
other row's arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, Any]
Message = dict[str, Any]

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


class NotRepresentable(Exception):
    """The format cannot represent this row. The argument is the reason, without text of the row, so that it can be counted."""


def trl_sft(row: Row) -> dict[str, Any]:
    return {"messages": _require_answer(row)} | _tools_text(row)


def trl_prompt_completion(row: Row) -> dict[str, Any]:
    *prompt, last = _require_answer(row)
    return {"prompt": prompt, "completion": [last]} | _tools_text(row)


def trl_dpo(row: Row) -> dict[str, Any]:
    *prompt, chosen = _require_answer(row)
    return {"prompt": prompt, "chosen": [chosen], "rejected": [_require_rejected_answer(row)]} | _tools_text(row)


def alpaca(row: Row) -> dict[str, Any]:
    messages = _require_answer(row)
    if [m["role"] for m in messages] != ["user", "assistant"]:
        raise NotRepresentable("more than one question and its answer")
    return {"instruction": messages[0]["content"], "input": "", "output": messages[1]["content"]}


def sharegpt(row: Row) -> dict[str, Any]:
    turns = [_sharegpt_turn(m) for m in _require_answer(row)]
    return {"conversations": turns} | _tools_text(row)


def openai_sft(row: Row) -> dict[str, Any]:
    return {"messages": _openai(_require_answer(row))} | _tools(row)


def openai_dpo(row: Row) -> dict[str, Any]:
    *before, chosen = _openai(_require_answer(row))
    prompt = {"messages": before} | _tools(row)
    return {"input": prompt, "preferred_output": [chosen], "non_preferred_output": [_require_rejected_answer(row)]}


def llama_factory(row: Row) -> dict[str, Any]:
    """ShareGPT by LLaMA-Factory's rule: user and tool turns at odd positions, assistant turns at even ones. Pairs are ranked."""
    record = sharegpt(row)
    turns = record["conversations"]
    spoken = turns[1:] if turns[0]["from"] == "system" else turns
    if any((turn["from"] in ("human", "observation")) is (place % 2 == 1) for place, turn in enumerate(spoken)):
        raise NotRepresentable("turns that do not alternate")
    if "rejected" not in row:
        return record
    chosen = turns.pop()
    return record | {"chosen": chosen, "rejected": {"from": "gpt", "value": _require_rejected_answer(row)["content"]}}


def jsonl(row: Row) -> dict[str, Any]:
    return dict(row)


FORMATS: dict[str, Callable[[Row], dict[str, Any]]] = {
    "trl-sft": trl_sft,
    "trl-prompt-completion": trl_prompt_completion,
    "trl-dpo": trl_dpo,
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "openai-sft": openai_sft,
    "openai-dpo": openai_dpo,
    "axolotl": openai_sft,
    "llama-factory": llama_factory,
    "jsonl": jsonl,
    "webdataset": jsonl,
}


def sidecar_files(name: str, files: Mapping[str, str], first: Mapping[str, Any]) -> dict[str, str]:
    """Files that a trainer needs beside the rows: file name to text. `files` maps each split to the file written for it."""
    if name == "llama-factory":
        entries = {f"synth_ray_{split}": _dataset_info(path, first) for split, path in sorted(files.items())}
        return {"dataset_info.json": json.dumps(entries, indent=2)}
    if name == "axolotl":
        train = files.get("train", next(iter(files.values()), ""))
        return {"axolotl.yml": f"datasets:\n  - path: {train}\n    type: chat_template\n    field_messages: messages\n"}
    return {}


def _dataset_info(path: str, first: Mapping[str, Any]) -> dict[str, Any]:
    columns = {"messages": "conversations"} | {name: name for name in ("tools", "chosen", "rejected") if name in first}
    ranked = {"ranking": True} if "rejected" in first else {}
    return {"file_name": path, "formatting": "sharegpt", "columns": columns} | ranked


def _require_rejected_answer(row: Row) -> Message:
    text = row.get("rejected")
    if not isinstance(text, str) or not text.strip():
        raise NotRepresentable("no rejected answer")
    return {"role": "assistant", "content": text}


def _tools(row: Row) -> dict[str, Any]:
    value = json.loads(row.get("tools") or "[]")
    return {"tools": value} if value else {}


def _tools_text(row: Row) -> dict[str, Any]:
    """In a dataset with tools every row has the `tools` column, as `[]` where it has no tools."""
    return {"tools": row["tools"] or "[]"} if "tools" in row else {}


def _require_answer(row: Row) -> list[Message]:
    """The messages of the row. Raises NotRepresentable unless the last one is the assistant's answer."""
    messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"] or []]
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise NotRepresentable("no answer at the end")
    return messages


def _with_calls(message: Message) -> Message:
    calls = [_call(body) for body in _CALL.findall(message["content"])]
    if not calls:
        return message
    tool_calls = [{"type": "function", "function": {"name": c["name"], "arguments": json.dumps(c["arguments"])}} for c in calls]
    return {"role": "assistant", "content": _CALL.sub("", message["content"]).strip(), "tool_calls": tool_calls}


def _call(body: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not isinstance(value.get("arguments"), dict):
        raise NotRepresentable("a malformed tool call")
    return value


def _openai(messages: list[Message]) -> list[Message]:
    """Convert tool calls to OpenAI's form: calls have ids, arguments are JSON text, and each result names the call it answers."""
    converted: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            message = _with_calls(message)
            for number, call in enumerate(message.get("tool_calls", [])):
                call["id"] = f"call_{len(converted)}_{number}"
                waiting.append(call["id"])
        elif message["role"] == "tool":
            if not waiting:
                raise NotRepresentable("a tool's result without its call")
            message = message | {"tool_call_id": waiting.pop(0)}
        converted.append(message)
    return converted


def _sharegpt_turn(message: Message) -> dict[str, str]:
    calls = _CALL.findall(message["content"]) if message["role"] == "assistant" else []
    if calls:
        return {"from": "function_call", "value": calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]"}
    return {"from": _SHAREGPT[message["role"]], "value": message["content"]}
