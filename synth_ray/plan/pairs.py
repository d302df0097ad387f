"""The worse answer of a pair, as TRL, OpenAI and LLaMA-Factory write it: a text, a turn, or a whole conversation."""

from __future__ import annotations

from typing import Any

from synth_ray.plan.turns import Turn, WrongType, has_turns, read_turns

_NAMES = ("non_preferred_output", "rejected")


def rejected_fields(others: dict[str, Any], before: list[Turn]) -> dict[str, Any]:
    """Take the worse answer out of a row's columns and give its text as `rejected`; `before` are the turns that it answers.

    Raises WrongType where it is no answer to them.
    """
    name = next((n for n in _NAMES if has_turns(others.get(n))), None)
    if name is None:
        return {}
    value = others.pop(name)
    *same, last = read_turns(value if isinstance(value, list) else [value])
    if last.role != "assistant" or (same and [turn.message for turn in same] != [turn.message for turn in before]):
        raise WrongType(f"one answer to the same turns in '{name}', got other turns")
    more = {"rejected_fields": last.more} if last.more else {}
    return {"rejected": last.content} | more
