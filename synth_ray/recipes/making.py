"""Calls a recipe's `make`, and lets nothing out that is no list of whole drafts.

A recipe may be anybody's code. It gets a copy of what it may change, because others share the seeds of a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from operator import attrgetter
from typing import Any

from synth_ray.recipes.contract import Ask, Recipe
from synth_ray.records import Draft, Reason, Request, Seed, TopK, canonical_json

_TEXTS = ("completion", "finish_reason", "detail", "reasoning")
_COUNTS = ("prompt_tokens", "completion_tokens", "reasoning_tokens")
_MOST_TOKENS = 2**31
_texts, _counts = attrgetter(*_TEXTS), attrgetter(*_COUNTS)
_ALL_TEXT, _ROLE_AND_CONTENT = [str] * len(_TEXTS), ["role", "content"]


class BadDrafts(Exception):
    """What a recipe returned is not what it should: the text says what, and quotes nothing of it."""


async def made_drafts(recipe: Recipe, request: Request, ask: Ask, options: Any) -> list[Draft]:
    """The drafts of a request. Raises BadDrafts, and whatever the recipe raises."""
    shown = _copied_request(request)
    made = recipe.make(shown, ask, options)
    if not hasattr(made, "__await__"):
        raise BadDrafts(f"wanted `make` to be an async function, got {type(made).__name__}")
    drafts = await made
    if not isinstance(drafts, list):
        raise BadDrafts(f"wanted a list of drafts, got {type(drafts).__name__}")
    for number, draft in enumerate(drafts):
        if problem := _problem_of(draft):
            raise BadDrafts(f"draft {number}: {problem}")
    if (shown.seed, shown.shots) != (request.seed, request.shots):
        raise BadDrafts("wanted the request as it was, got one that the recipe changed; copy what you change")
    return drafts


def _problem_of(draft: Any) -> str:
    """What a draft has that no row can hold; empty for a good one."""
    if not isinstance(draft, Draft):
        return f"wanted a Draft, got {type(draft).__name__}"
    if list(map(type, _texts(draft))) != _ALL_TEXT and (problem := _problem_of_texts(draft)):
        return problem
    for name, value in zip(_COUNTS, _counts(draft), strict=True):
        if value is not None and (not _is_count(value) or not 0 <= value < _MOST_TOKENS):
            return f"wanted a number of tokens in {name}, got {type(value).__name__}"
    return _problem_of_prompt(draft.prompt) or _problem_of_fields(draft.fields) or _problem_of_rest(draft)


def _is_count(value: Any) -> bool:
    """A whole number of any type, as numpy's."""
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def _problem_of_texts(draft: Draft) -> str:
    for name in _TEXTS:
        if not isinstance(value := getattr(draft, name), str):
            return f"wanted text in {name}, got {type(value).__name__}"
    return ""


def _problem_of_prompt(prompt: Any) -> str:
    if not isinstance(prompt, list):
        return f"wanted a list of messages in prompt, got {type(prompt).__name__}"
    for turn in prompt:
        if type(turn) is dict and list(turn) == _ROLE_AND_CONTENT and type(turn["role"]) is type(turn["content"]) is str:
            continue
        if not (isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)):
            return "wanted messages with a role and a content of text in prompt"
        if not all(isinstance(value, str) for value in turn.values()):
            return "wanted text alone in the messages of prompt"
    return ""


def _problem_of_fields(fields: Any) -> str:
    if type(fields) is dict and not fields:
        return ""
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        return "wanted fields by name"
    if all(type(value) is str for value in fields.values()):
        return ""
    try:
        canonical_json(fields)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        return f"wanted fields that JSON can hold, got {type(error).__name__}"
    return ""


def _problem_of_rest(draft: Draft) -> str:
    if draft.reason is not None and not isinstance(draft.reason, Reason):
        return f"wanted a Reason in reason, got {type(draft.reason).__name__}"
    if draft.top_k is not None and not isinstance(draft.top_k, TopK):
        return f"wanted a TopK in top_k, got {type(draft.top_k).__name__}"
    if draft.embedding is not None and not isinstance(draft.embedding, bytes):
        return f"wanted bytes in embedding, got {type(draft.embedding).__name__}"
    if draft.logprobs is not None and not isinstance(draft.logprobs, list):
        return f"wanted a list in logprobs, got {type(draft.logprobs).__name__}"
    return ""


def _copied_request(request: Request) -> Request:
    r = request  # not by `dataclasses.replace`, which takes as long as the rest of a short request's bookkeeping
    shots = tuple(map(_copied_seed, r.shots)) if r.shots else ()
    return Request(r.id, r.chunk, r.position, _copied_seed(r.seed), r.slots, shots, r.random_seed, r.number)


def _copied_seed(seed: Seed) -> Seed:
    s = seed
    return Seed(s.id, s.lineage, s.split, _copied(s.fields), s.source, s.line, s.origin, s.depth)


def _copied(value: Any) -> Any:
    """A copy of what JSON can hold; texts and numbers are shared."""
    if isinstance(value, Mapping):
        return {name: item if type(item) is str else _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
