"""What the assistant thought, in the place that a trainer has for it: a field of the message, or inside its text.

Law: these are functions of one row, and each leaves a row without thoughts as it is. A field is absent where there is no thought,
never null: templates of some models fail on null. In text, a thought is written as Qwen3's template writes it, which is what
LLaMA-Factory and ms-swift take apart again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from synth_ray.dataset.conversation import NotRepresentable, Row, has_reasoning, thoughts_of
from synth_ray.job.reasoning import THINK
from synth_ray.recipes.markup import CALL_BEGIN

Place = Literal["field", "thinking", "inline", "drop"]
"""`field` is `reasoning_content`, `thinking` the name that gpt-oss templates read; `inline` is inside the text."""

DEFAULT_PLACE: dict[str, Place] = {
    "trl-sft": "field",
    "trl-prompt-completion": "field",
    "trl-dpo": "field",
    "axolotl": "field",
    "sharegpt": "inline",
    "llama-factory": "inline",
    "ms-swift": "inline",
    "alpaca": "drop",
    "openai-sft": "drop",
    "openai-dpo": "drop",
}
"""By format. A format that has a field for thoughts can have them anywhere, another one inside its texts or not at all."""

KEY = "thought_key"
"""A key that `placed` gives a row: what its messages call a thought."""
OTHERS_THINK = "others_think"
"""A key of a row whose dataset has rows with a thought: without one of its own, it says so by an empty block."""


def placed(row: Row, place: Place) -> dict[str, Any]:
    """The row with its thoughts where `place` says."""
    match place:
        case "thinking":
            return {**row, KEY: "thinking"}
        case "inline":
            return inlined(row)
        case "drop":
            return without_thoughts(row)
    return dict(row)


def inlined(row: Row) -> dict[str, Any]:
    """The row with every thought inside the text of its message. Where other rows think, an answer without a thought begins with
    an empty block, unless it is a call: a student learns from it that it may answer at once. Raises NotRepresentable for a
    thought with such marks.
    """
    messages = row["messages"] or []
    thoughts = thoughts_of(row)
    blocks = [_block(thought) if thought else "" for thought in thoughts]
    others_think = row.get(OTHERS_THINK, False)
    is_answer = bool(messages) and messages[-1]["role"] == "assistant"
    if is_answer and others_think and not blocks[-1] and CALL_BEGIN not in (messages[-1]["content"] or ""):
        blocks[-1] = _block("")
    plain = {name: value for name, value in without_thoughts(row).items() if name != OTHERS_THINK}
    if any(blocks):
        texts = zip(plain["messages"], blocks, strict=True)
        plain["messages"] = [{**turn, "content": block + (turn["content"] or "")} for turn, block in texts]
    thought = rejected_thought(row)
    return _with_rejected_block(plain, _block(thought)) if thought or others_think else plain


def _with_rejected_block(row: dict[str, Any], block: str) -> dict[str, Any]:
    """The row with a block before the worse answer of a pair, wherever it has that."""
    if isinstance(row.get("rejected"), str):
        return row | {"rejected": block + row["rejected"]}
    fields = json.loads(row.get("fields") or "{}")
    if not isinstance(fields.get("rejected"), str):
        return row
    return row | {"fields": json.dumps(fields | {"rejected": block + fields["rejected"]})}


def _block(thought: str) -> str:
    if THINK[0] in thought or THINK[1] in thought:
        raise NotRepresentable("a thought with the marks of a thought in it")
    if CALL_BEGIN in thought:
        raise NotRepresentable("a tool call in a thought")
    return f"{THINK[0]}\n{thought.strip()}\n{THINK[1]}\n\n"


def without_thoughts(row: Row) -> dict[str, Any]:
    """The row as if nobody had thought."""
    if not has_reasoning(row) and not rejected_thought(row):
        return dict(row)
    fields = json.loads(row.get("fields") or "{}")
    turns = fields.get("turn_fields")
    plain = {name: value for name, value in fields.items() if name not in ("reasoning", "rejected_reasoning", "turn_fields")}
    if isinstance(turns, list):
        plain["turn_fields"] = [_without(turn) for turn in turns]
    messages = [{"role": turn["role"], "content": turn["content"]} for turn in row["messages"] or []]
    kept = {name: value for name, value in row.items() if name not in ("reasoning", "rejected_reasoning")}
    return kept | {"messages": messages, "fields": json.dumps(plain)}


def _without(turn: Any) -> Any:
    return {name: value for name, value in turn.items() if name != "reasoning_content"} if isinstance(turn, Mapping) else turn


def rejected_thought(row: Row) -> str:
    """What was thought before the worse answer of a pair; empty where that is not known."""
    own = row.get("rejected_reasoning")
    value = own if own is not None else json.loads(row.get("fields") or "{}").get("rejected_reasoning")
    return value if isinstance(value, str) and value.strip() else ""
