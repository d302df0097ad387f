"""Trainer formats as projections of one published row.

Law: a projection is a function of the row alone, and has no column that a trainer would take for a second format. It has all text
and every call of the row; a row that the format cannot represent is left out with a reason, which the caller counts. What is
written, `plan.shapes` reads back as the same messages. The layouts follow the trainers' own documentation: TRL (dataset formats),
OpenAI (fine-tuning), LLaMA-Factory (data/README), Axolotl (chat_template), Stanford Alpaca. Formats that are read as a table
(TRL, ShareGPT, LLaMA-Factory) have the same columns in every row: `tools` is JSON text, and tool calls stay inside the text of
their turn, as Hermes and Qwen templates write them. As a struct column, arguments would get the keys of every other row's
arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from synth_ray.dataset.conversation import (
    Message,
    NotRepresentable,
    Row,
    conversation_of,
    field_of,
    split_or_refuse,
    tools_of,
)
from synth_ray.dataset.openai_calls import openai_message, openai_messages
from synth_ray.dataset.reward_formats import REWARD_FORMATS

_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def trl_sft(row: Row) -> dict[str, Any]:
    return {"messages": conversation_of(row, trained="all", thoughts=True)} | _tools_text(row)


def trl_prompt_completion(row: Row) -> dict[str, Any]:
    *prompt, last = conversation_of(row, thoughts=True)
    return {"prompt": prompt, "completion": [last]} | _tools_text(row)


def trl_dpo(row: Row) -> dict[str, Any]:
    *prompt, chosen = conversation_of(row, thoughts=True)
    return {"prompt": prompt, "chosen": [chosen], "rejected": [_require_rejected_answer(row)]} | _tools_text(row)


def alpaca(row: Row) -> dict[str, Any]:
    messages = conversation_of(row)
    if [m["role"] for m in messages] != ["user", "assistant"]:
        raise NotRepresentable("more than one question and its answer")
    if tools_of(row):
        raise NotRepresentable("tools")
    return {"instruction": messages[0]["content"], "input": "", "output": messages[1]["content"]}


def sharegpt(row: Row) -> dict[str, Any]:
    turns = [_sharegpt_turn(m) for m in conversation_of(row, trained="all")]
    return {"conversations": turns} | _tools_text(row)


def openai_sft(row: Row) -> dict[str, Any]:
    return {"messages": openai_messages(conversation_of(row, trained="weight", names=True))} | _tools(row)


def axolotl(row: Row) -> dict[str, Any]:
    """OpenAI's messages, with what a turn was thought with, and `train: false` where it is not to be learnt."""
    return {"messages": openai_messages(conversation_of(row, trained="train", thoughts=True, names=True))} | _tools(row)


def openai_dpo(row: Row) -> dict[str, Any]:
    *before, chosen = openai_messages(conversation_of(row, names=True))
    prompt = {"messages": before} | _tools(row)
    rejected = openai_message(_require_rejected_answer(row), "call_rejected")
    return {"input": prompt, "preferred_output": [chosen], "non_preferred_output": [rejected]}


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
    return record | {"chosen": chosen, "rejected": _sharegpt_turn(_require_rejected_answer(row))}


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
    "axolotl": axolotl,
    "llama-factory": llama_factory,
    "jsonl": jsonl,
    "webdataset": jsonl,
    **REWARD_FORMATS,
}


AS_THEY_ARE = ("jsonl", "webdataset")
WITHOUT_REASONING = ("alpaca", "sharegpt", "openai-sft", "openai-dpo", "llama-factory")
"""Formats that have no place for what the assistant thought: they have the answer without it, which the caller tells."""


def sidecar_files(name: str, files: Mapping[str, str], first: Mapping[str, Any]) -> dict[str, str]:
    """Files that a trainer needs beside the rows: file name to text. `files` maps each split to the file written for it."""
    if name == "llama-factory":
        entries = {f"synth_ray_{split}": _dataset_info(path, first) for split, path in sorted(files.items())}
        return {"dataset_info.json": json.dumps(entries, indent=2)}
    if name == "axolotl":
        train = files.get("train", next(iter(files.values()), ""))
        keys = {"path": train, "type": "chat_template", "field_messages": "messages", "message_field_training": "train"}
        lines = "".join(f"    {key}: {value}\n" for key, value in keys.items())
        return {"axolotl.yml": "datasets:\n" + lines.replace("   ", "  -", 1)}
    return {}


def _dataset_info(path: str, first: Mapping[str, Any]) -> dict[str, Any]:
    columns = {"messages": "conversations"} | {name: name for name in ("tools", "chosen", "rejected") if name in first}
    ranked = {"ranking": True} if "rejected" in first else {}
    return {"file_name": path, "formatting": "sharegpt", "columns": columns} | ranked


def _require_rejected_answer(row: Row) -> Message:
    text = field_of(row, "rejected")
    if not isinstance(text, str) or not text.strip():
        raise NotRepresentable("no rejected answer")
    return {"role": "assistant", "content": text}


def _tools(row: Row) -> dict[str, Any]:
    value, is_parallel = tools_of(row), field_of(row, "parallel_tool_calls")
    parallel = {"parallel_tool_calls": is_parallel} if isinstance(is_parallel, bool) else {}
    return {"tools": value} | parallel if value else {}


def _tools_text(row: Row) -> dict[str, Any]:
    """In a dataset with tools every row has the `tools` column, as `[]` where it has no tools."""
    if "tools" not in row:
        return {}
    tools = tools_of(row)
    return {"tools": row["tools"] if tools and isinstance(row["tools"], str) else json.dumps(tools)}


def _sharegpt_turn(message: Message) -> dict[str, str]:
    if message["role"] != "assistant":
        return {"from": _SHAREGPT[message["role"]], "value": message["content"]}
    texts, calls = split_or_refuse(message["content"])
    if not calls:
        return {"from": "gpt", "value": message["content"]}
    if "".join(texts).strip():
        raise NotRepresentable("text beside a tool call")
    return {"from": "function_call", "value": calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]"}
