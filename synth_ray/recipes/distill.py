"""`distill`: one or n completions of the teacher per prompt, each optionally the best of several samples."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from typing import Any, Literal

from pydantic import field_validator, model_validator

from synth_ray.job.judge import CRITERIA
from synth_ray.job.section import Section, key
from synth_ray.job.texts import Labels, compile_pattern
from synth_ray.recipes.contract import Ask, Completion, Constraint, Recipe, conversation, drafted
from synth_ray.recipes.json_schema import JsonSchema
from synth_ray.recipes.judge import score_answer
from synth_ray.recipes.rating import rate_all
from synth_ray.recipes.templates import JinjaTemplate, reads_only, render
from synth_ray.recipes.votes import majority
from synth_ray.records import Draft, Message, Request


class Distill(Section):
    """Options of `distill`."""

    template: JinjaTemplate = key("{{ prompt }}", "Jinja template of what the teacher is asked; sees the seed's fields.")
    system: str = key("", "System message of the ask.")
    history: bool = key(True, "Send a conversation's earlier turns with its last one; off, only the last.")
    n: int = key(1, "Completions per prompt, each its own row.", ge=1, le=64)
    best_of: int = key(1, "Samples drawn for each row, of which one is kept.", ge=1, le=64)
    pick: Literal["vote", "judge", "reward"] = key(
        "vote",
        "How the best is chosen: by the most frequent final answer, by a judge's scores, or by a rating (judge with a `task`).",
    )
    label: str = key("", "The label whose probability is the rating, for `pick: reward` by a classifier.")
    final: str = key(r"####\s*(.+)", "Regular expression whose first group is the final answer, by which votes are counted.")
    criteria: dict[str, str] = key(lambda: dict(CRITERIA), "The judge's rubric: criterion and its meaning.", min_length=1)
    reasoning: tuple[str, str] | None = key(
        None, "Marks around the teacher's thought, as ['<think>', '</think>'], where it is in the text."
    )
    schema_: JsonSchema | None = key(None, "JSON Schema the completion must fit; decoding is guided by it.", alias="schema")
    choices: Labels | None = key(None, "Closed list of allowed completions; decoding is guided by it.")
    top_logprobs: int | None = key(
        None,
        "Keep, in column `logprobs`, the log-probability of every token of the answer, reasoning included, and of this many of "
        "the likeliest tokens at its position.",
        ge=0,
        le=20,
    )
    top_k_logprobs: int | None = key(
        None,
        "Keep this many of the likeliest tokens at every position of the answer, reasoning included, for the training of a "
        "student: token ids and log-probabilities in compact columns (docs/distillation.md).",
        ge=1,
        le=64,
    )
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @field_validator("final")
    @classmethod
    def _has_a_group(cls, value: str) -> str:
        if not compile_pattern(value).groups:
            raise ValueError("wanted a regular expression with a group around the final answer, got none; add parentheses")
        return value

    @model_validator(mode="after")
    def _one_constraint(self) -> Distill:
        if self.schema_ is not None and self.choices is not None:
            raise ValueError("wanted schema or choices, got both; keep one")
        if self.top_logprobs is not None and self.top_k_logprobs is not None:
            raise ValueError("wanted top_logprobs or top_k_logprobs, got both; keep one: they are the same figures in two forms")
        return self

    @property
    def constraint(self) -> Constraint | None:
        if self.schema_ is not None:
            return Constraint(json_schema=self.schema_)
        return Constraint(choices=tuple(self.choices)) if self.choices else None


async def make(request: Request, ask: Ask, options: Distill) -> list[Draft]:
    before = _turns_before(request) if options.history else []
    prompt = _asked(request, options)
    logprobs: dict[str, Any] = {} if options.top_logprobs is None else {"logprobs": options.top_logprobs}
    logprobs |= {"top_k_logprobs": options.top_k_logprobs} if options.top_k_logprobs else {}
    answers = await ask.many(prompt, options.n * options.best_of, constraint=options.constraint, **logprobs)
    if options.best_of == 1:
        return [_draft(request, options, before, answer, {}) for answer in answers]
    groups = [answers[i : i + options.best_of] for i in range(0, len(answers), options.best_of)]
    picked = await asyncio.gather(*[_best(request, ask, options, group) for group in groups])
    return [_draft(request, options, before, answer, fields) for answer, fields in picked]


def _asked(request: Request, options: Distill) -> list[Message]:
    """What the teacher is asked: a system message, the turns before, and the template's text."""
    before = _turns_before(request) if options.history else []
    system = options.system if not any(m["role"] == "system" for m in before) else ""
    prompt = conversation(system, render(options.template, request))
    return [*prompt[:-1], *before, prompt[-1]]


def _turns_before(request: Request) -> list[Message]:
    """The turns of a conversation seed before its last user turn."""
    messages = request.seed.fields.get("messages")
    return [{"role": str(m["role"]), "content": str(m["content"])} for m in messages[:-1]] if isinstance(messages, list) else []


def _turn_fields(request: Request, before: list[Message]) -> dict[str, Any]:
    """What the turns before have beside role and text, such as a weight of 0: the row keeps it with them."""
    more = request.seed.fields.get("turn_fields")
    kept = more[: len(before)] if isinstance(more, list) else []
    return {"turn_fields": kept} if any(kept) else {}


async def _best(request: Request, ask: Ask, options: Distill, answers: list[Completion]) -> tuple[Completion, dict[str, Any]]:
    """The best sample and the fields that describe the choice. Each other sample counts as an attempt."""
    choose = {"vote": _by_vote, "judge": _by_judge, "reward": _by_reward}[options.pick]
    chosen, fields = await choose(request, ask, options, answers)
    for _ in range(len(answers) - 1):
        ask.attempt("not_the_best")
    return answers[chosen], fields


async def _by_vote(_request: Request, _ask: Ask, options: Distill, answers: list[Completion]) -> tuple[int, dict[str, Any]]:
    """The first sample with the most frequent final answer (Wang et al., 2022, arXiv 2203.11171)."""
    vote = majority([_final(answer, options) for answer in answers])
    return (vote.winner, {"agreement": vote.agreement}) if vote is not None else (0, {"agreement": 0.0})


def _final(answer: Completion, options: Distill) -> str | None:
    if not answer.is_whole:
        return None
    matches = re.findall(options.final, answer.text)
    last = matches[-1] if matches else answer.text
    return re.sub(r"[\s,$]+", "", last if isinstance(last, str) else last[0]).casefold().rstrip(".") or None


async def _by_judge(request: Request, ask: Ask, options: Distill, answers: list[Completion]) -> tuple[int, dict[str, Any]]:
    """The sample with the highest sum of scores, the first of equals. A sample that the judge could not score counts as 0."""
    question = render(options.template, request)
    scores = await asyncio.gather(*[score_answer(ask, question, a.text, criteria=options.criteria) for a in answers])
    sums = [sum(criteria_scores.values()) if criteria_scores is not None else 0 for criteria_scores in scores]
    best = sums.index(max(sums))
    return best, {"scores": scores[best]}


async def _by_reward(request: Request, ask: Ask, options: Distill, answers: list[Completion]) -> tuple[int, dict[str, Any]]:
    """The sample with the highest rating, the first of equals. One that the judge could not rate comes last."""
    prompt = _asked(request, options)
    rewards = await rate_all(ask, prompt, [a.text for a in answers], label=options.label, key="recipe.label")
    best = max(range(len(answers)), key=lambda place: (_or_lowest(rewards[place]), -place))
    return best, {"reward": rewards[best], "rewards": rewards}


def _or_lowest(reward: float | None) -> float:
    return reward if reward is not None else -math.inf


def _draft(request: Request, options: Distill, before: list[Message], answer: Completion, extra: dict[str, Any]) -> Draft:
    fields = {name: request.seed.fields.get(name) for name in options.keep} | _turn_fields(request, before) | extra
    draft = drafted(str(request.seed.fields["prompt"]), answer, fields=fields)
    draft.prompt = [*before, *draft.prompt]
    if draft.top_k is not None and not reads_only(options.template, "prompt"):
        draft.top_k = replace(draft.top_k, prompt=b"")  # it may spell fields that are not in the row, so that no scrub sees them
    return draft


_COLUMNS_OF_PICK = {
    "vote": {"agreement": "float"},
    "judge": {"scores": "json"},
    "reward": {"reward": "float", "rewards": "json"},
}


def _columns(options: Distill) -> dict[str, str]:
    columns = dict.fromkeys(options.keep, "json")
    if options.best_of > 1:
        columns |= _COLUMNS_OF_PICK[options.pick]
    columns |= {"top_k": "top_k"} if options.top_k_logprobs else {}
    return columns | ({"logprobs": "logprobs"} if options.top_logprobs is not None else {})


RECIPE = Recipe(
    name="distill",
    options=Distill,
    make=make,
    slots=lambda o: o.n,
    roles=lambda o: ("teacher", "judge") if o.best_of > 1 and o.pick != "vote" else ("teacher",),
    rates=lambda o: o.pick == "reward",
    schema=lambda o: o.schema_,
    templates=lambda o: {"template": o.template},
    columns=_columns,
    top_k=lambda o: o.top_k_logprobs or 0,
)
