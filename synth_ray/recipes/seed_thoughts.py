"""The thoughts that seeds bring, put where a row has thoughts: in the message that each belongs to.

Law: nothing is lost: what a turn was thought with leaves the row's fields only for its message. Only a text that begins with
`<think>` and closes it is taken apart: an answer may speak of such marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synth_ray.job.reasoning import THINK
from synth_ray.records import Draft, Message

NAMES = ("reasoning_content", "reasoning", "thinking")
"""What datasets call the thought of a message, and of a row's answer."""


def thought_inside(text: str) -> tuple[str, str]:
    """(answer, thought) of a text that has its thought inside; the text itself and no thought where it has none."""
    opening, closing = THINK
    begun = text.lstrip()
    thought, closed, answer = begun.removeprefix(opening).partition(closing)
    return (answer.strip(), thought.strip()) if closed and begun.startswith(opening) else (text, "")


def thought_of_answer(fields: Mapping[str, Any], answer: str) -> tuple[str, str]:
    """(answer, thought) of a seed: its thought is a field of its own, or inside the answer."""
    own = next((value for name in NAMES if isinstance(value := fields.get(name), str) and value.strip()), "")
    return (answer, own) if own else thought_inside(answer)


def with_thoughts_apart(draft: Draft, seed: Mapping[str, Any]) -> Draft:
    """The draft as it is judged and compared: what a copy of a seed has inside as thoughts is in the places of thoughts."""
    apart = replace(draft)
    if draft.copied:
        place_thoughts(apart, seed)
    return apart


def without_thought(fields: Mapping[str, Any], thought: str) -> dict[str, Any]:
    """The fields without those that are this thought."""
    return {name: value for name, value in fields.items() if name not in NAMES or value != thought or not thought}


def place_thoughts(draft: Draft, seed: Mapping[str, Any]) -> None:
    """Put the thoughts that a draft's earlier turns have into their messages; in a copy of the seed, that of the answer too."""
    more = draft.fields.get("turn_fields")
    rest = [dict(turn) if isinstance(turn, Mapping) else {} for turn in more] if isinstance(more, list) else []
    rest += [{} for _ in range(len(draft.prompt) - len(rest))]
    draft.prompt = [_with_thought(turn, own) for turn, own in zip(draft.prompt, rest, strict=False)]
    if isinstance(more, list):
        draft.fields = {name: value for name, value in draft.fields.items() if name != "turn_fields"}
        draft.fields |= {"turn_fields": rest[: len(more)]} if any(rest) else {}
    if draft.copied and not draft.reasoning:
        draft.completion, draft.reasoning = thought_of_answer(seed, draft.completion)
        draft.fields = without_thought(draft.fields, draft.reasoning)


def _with_thought(turn: Message, more: dict[str, Any]) -> Message:
    """The turn with its thought, which is taken out of what it has beside role and text."""
    if turn["role"] != "assistant" or turn.get("reasoning"):
        return turn
    name = next((name for name in NAMES if isinstance(more.get(name), str)), "")
    text, thought = (turn["content"], more.pop(name)) if name else thought_inside(turn["content"])
    return {**turn, "content": text} | ({"reasoning": thought} if thought.strip() else {})
