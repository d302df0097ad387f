"""What a server counted: tokens of prompt, answers and thoughts, told together for all answers and divided among them.

Law: no JSON value raises; a count that is not told is None, never 0; the parts of a count add up to it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_TOKENS = 2**31 - 1

Answer = tuple[str, str]
"""The text of an answer, and of its thought."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompt, and of each answer: all of them, and those of its thought. None: not told. Of the prompt, `cached`
    were read from a cache and `cache_written` written into one.
    """

    prompt: int | None
    completions: Sequence[int | None]
    thoughts: Sequence[int | None]
    cached: int
    cache_written: int = 0


def usage_in(reply: Mapping[str, Any], answers: Sequence[Answer]) -> Usage:
    """The usage of a reply with these answers, at least one."""
    usage = _object(reply.get("usage"))
    prompt = _count(usage, "prompt_tokens", "input_tokens") or None
    done, thought = _generated(usage, prompt)
    if done == 0 and any(text or reasoning for text, reasoning in answers):
        done = None  # a server that counts nothing at all
    nothing: list[int | None] = [None] * len(answers)
    details = _object(usage.get("prompt_tokens_details"))
    cached = min(_count(details, "cached_tokens") or 0, prompt or 0)
    written = min(_count(details, "cache_write_tokens") or 0, (prompt or 0) - cached)
    if done is None:
        return Usage(prompt, nothing, nothing, cached, written)
    if not thought:
        shares = split_by_length(done, [text + reasoning for text, reasoning in answers])
        return Usage(prompt, shares, nothing, cached, written)
    # A thought that is not shown took its tokens all the same: then the answers' lengths are all there is to go by.
    lengths = [reasoning for _, reasoning in answers]
    thoughts = split_by_length(thought, lengths if any(lengths) else [text for text, _ in answers])
    rest = split_by_length(done - thought, [text for text, _ in answers])
    return Usage(prompt, [sum(pair) for pair in zip(thoughts, rest, strict=True)], thoughts, cached, written)


def _generated(usage: Mapping[str, Any], prompt: int | None) -> tuple[int | None, int]:
    """(tokens of the answers with their thoughts, tokens of the thoughts). Most servers count thoughts among the answers' tokens;
    one whose total is larger by them does not.
    """
    done, total = _count(usage, "completion_tokens", "output_tokens"), _count(usage, "total_tokens")
    details = _object(usage.get("completion_tokens_details")) or _object(usage.get("output_tokens_details"))
    thought = _count(details, "reasoning_tokens") or _count(usage, "reasoning_tokens") or 0
    if done is None and prompt is not None and total is not None and total >= prompt:
        done = total - prompt
    elif done is not None and thought and (thought > done or (prompt is not None and total == prompt + done + thought)):
        done = min(done + thought, _MOST_TOKENS)
    return done, min(thought, done or 0)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    """The first of these counts that is one: whole, not negative, and small enough to be kept."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS and value % 1 == 0:
            return int(value)
    return None


def split_by_length(tokens: int, texts: Sequence[str]) -> list[int]:
    """Divide the tokens of all choices by the length of their texts, so that the sum is exact."""
    total = sum(map(len, texts)) or 1
    shares = [tokens * len(text) // total for text in texts]
    shares[0] += tokens - sum(shares)
    return shares
