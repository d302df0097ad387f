"""Trainer formats as projections of one published row.

Law: a projection is a function of the row alone, and has no column that a trainer would take for a second format. It has all text
and every call of the row; a row that the format cannot represent is left out with a reason, which the caller counts. What is
written, `plan.shapes` reads back as the same messages. The layouts follow the trainers' own documentation: TRL (dataset formats),
OpenAI (fine-tuning), LLaMA-Factory (data/README), ms-swift (custom datasets), Axolotl (chat_template), Stanford Alpaca. Formats
that are read as a table (TRL, ShareGPT, LLaMA-Factory, ms-swift) have the same columns in every row: `tools` is JSON text, and
tool calls are text, as Hermes and Qwen templates write them. As a struct column, arguments would get the keys of every other
row's arguments. Thoughts are where `thoughts` puts them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
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
from synth_ray.dataset.thoughts import KEY, inlined, rejected_thought
from synth_ray.job.reasoning import THINK
from synth_ray.recipes.markup import CALL_BEGIN

_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def trl_sft(row: Row) -> dict[str, Any]:
    return {"messages": conversation_of(row, trained="all", thoughts=True)} | _tools_text(row)


def trl_prompt_completion(row: Row) -> dict[str, Any]:
    *prompt, last = conversation_of(row, thoughts=True)
    return {"prompt": prompt, "completion": [last]} | _tools_text(row)


def trl_dpo(row: Row) -> dict[str, Any]:
    *prompt, chosen = conversation_of(row, thoughts=True)
    rejected = _require_rejected_answer(row)
    if thought := rejected_thought(row):
        rejected[row.get(KEY, "reasoning_content")] = thought
    return {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]} | _tools_text(row)


def alpaca(row: Row) -> dict[str, Any]:
    messages = conversation_of(row)
    if [m["role"] for m in messages] != ["user", "assistant"]:
        raise NotRepresentable("more than one question and its answer")
    if tools_of(row):
        raise NotRepresentable("tools")
    return {"instruction": messages[0]["content"], "input": "", "output": messages[1]["content"]}


def sharegpt(row: Row) -> dict[str, Any]:
    """Thoughts are inside the texts."""
    row = inlined(row)
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
    row = inlined(row)
    record = sharegpt(row)
    turns = record["conversations"]
    spoken = turns[1:] if turns[0]["from"] == "system" else turns
    if any((turn["from"] in ("human", "observation")) is (place % 2 == 1) for place, turn in enumerate(spoken)):
        raise NotRepresentable("turns that do not alternate")
    if "rejected" not in row:
        return record
    chosen = turns.pop()
    return record | {"chosen": chosen, "rejected": _sharegpt_turn(_require_rejected_answer(row))}


def ms_swift(row: Row) -> dict[str, Any]:
    """Messages whose calls and results are turns of their own; thoughts are inside the texts. A pair has the worse answer too."""
    row = inlined(row)
    spoken = conversation_of(row, trained="loss")
    for before, message in pairwise(spoken):
        if before["role"] == message["role"] == "assistant" and CALL_BEGIN in message["content"]:
            raise NotRepresentable("a tool call behind another turn of the assistant")  # both would be read as one turn
    messages = [turn for message in spoken for turn in _swift_turns(message)]
    rejected = field_of(row, "rejected")
    pair = {"rejected_response": rejected} if isinstance(rejected, str) and rejected.strip() else {}
    return {"messages": messages} | pair | _tools_text(row)


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
    "ms-swift": ms_swift,
    "jsonl": jsonl,
    "webdataset": jsonl,
    **REWARD_FORMATS,
}


AS_THEY_ARE = ("jsonl", "webdataset")


def sidecar_files(name: str, files: Mapping[str, str], first: Mapping[str, Any]) -> dict[str, str]:
    """Files that a trainer needs beside the rows: file name to text. `files` maps each split to the file written for it."""
    if name == "llama-factory":
        entries = {f"synth_ray_{split}": _dataset_info(path, first) for split, path in sorted(files.items())}
        return {"dataset_info.json": json.dumps(entries, indent=2)}
    if name == "axolotl":
        train = files.get("train", next(iter(files.values()), ""))
        keys = {"path": train, "type": "chat_template", "field_messages": "messages", "message_field_training": "train"}
        keys |= {"field_thinking": key, "template_thinking_key": key} if (key := _thought_key(first)) else {}
        lines = "".join(f"    {key}: {value}\n" for key, value in keys.items())
        return {"axolotl.yml": "datasets:\n" + lines.replace("   ", "  -", 1)}
    return {}


def _thought_key(first: Mapping[str, Any]) -> str:
    """What the first row's messages call a thought, where Axolotl would not know it by itself."""
    return "thinking" if any("thinking" in message for message in first.get("messages", ())) else ""


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
    block, calls = _calls_alone(message["content"])
    if not calls:
        return {"from": "gpt", "value": message["content"]}
    return {"from": "function_call", "value": block + (calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]")}


def _swift_turns(message: Message) -> list[Message]:
    """A message as it is, or the thought and the calls that an assistant's consists of."""
    if message["role"] == "tool":
        return [message | {"role": "tool_response"}]
    block, calls = _calls_alone(message["content"]) if message["role"] == "assistant" else ("", [])
    if not calls:
        return [message]
    thought = [message | {"content": block}] if block else []
    return thought + [message | {"role": "tool_call", "content": call} for call in calls]


def _calls_alone(text: str) -> tuple[str, list[str]]:
    """The block of a thought and the calls of a turn that has calls. Raises NotRepresentable where it has other text too."""
    texts, calls = split_or_refuse(text)
    if not calls:
        return "", []
    text = "".join(texts)
    is_block = texts[0].startswith(THINK[0]) and THINK[1] in text
    before, closing, behind = text.partition(THINK[1]) if is_block else ("", "", text)
    if behind.strip():
        raise NotRepresentable("text beside a tool call")
    return (f"{before}{closing}\n\n" if closing else ""), calls
