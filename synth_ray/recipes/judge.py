"""Asks a judge: for scores by a rubric, or for the better of two answers, compared in both orders.

LLM-as-a-judge (Zheng et al., 2023, arXiv 2306.05685): judges have a position bias, so a pair is judged twice with the positions
swapped, and a win counts only if both verdicts agree. Temperature 0, and decoding guided by the form of the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from synth_ray.recipes.contract import Ask, Constraint, user

RUBRIC = """Score the answer to the question on each criterion, from 1 (poor) to 5 (excellent). Length alone is no merit.
{criteria}
Reply as JSON with the criteria as keys.

Question: {question}

Answer: {answer}"""
PAIR = """Which answer to the question is better? {criteria}
Length and order are no merit. Reply with A, B or tie.

Question: {question}

Answer A: {a}

Answer B: {b}"""


class PairVerdict(StrEnum):
    """The combined result of judging one pair in both orders."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    INCONSISTENT = "inconsistent"


async def compare_pair(ask: Ask, question: str, first: str, second: str, *, criteria: str, template: str = PAIR) -> PairVerdict:
    """Judge a pair in both orders. Law: FIRST or SECOND only if both verdicts name that answer; TIE only if both are ties;
    otherwise INCONSISTENT.
    """
    first_choice = await _choice(ask, template, question, first, second, criteria)
    swapped_choice = await _choice(ask, template, question, second, first, criteria)
    verdict = {("A", "B"): PairVerdict.FIRST, ("B", "A"): PairVerdict.SECOND, ("tie", "tie"): PairVerdict.TIE}
    return verdict.get((first_choice, swapped_choice), PairVerdict.INCONSISTENT)


async def _choice(ask: Ask, template: str, question: str, a: str, b: str, criteria: str) -> str:
    text = _filled(template, {"question": question, "a": a, "b": b, "criteria": criteria})
    answer = await ask(
        [user(text)], role="judge", constraint=Constraint(choices=("A", "B", "tie")), temperature=0.0, max_tokens=8
    )
    return answer.text.strip()


async def score_answer(
    ask: Ask, question: str, answer: str, *, criteria: Mapping[str, str], template: str = RUBRIC
) -> dict[str, int] | None:
    """A score of 1 to 5 per criterion, or None if the judge's answer does not fit the schema."""
    criteria_text = "\n".join(f"- {name}: {meaning}" for name, meaning in criteria.items())
    text = _filled(template, {"question": question, "answer": answer, "criteria": criteria_text})
    constraint = Constraint(json_schema=rubric_schema(list(criteria)))
    answer_ = await ask([user(text)], role="judge", constraint=constraint, temperature=0.0, max_tokens=32 + 16 * len(criteria))
    return _scores(answer_.text, list(criteria))


def rubric_schema(criteria: Sequence[str]) -> dict[str, Any]:
    score = {"type": "integer", "minimum": 1, "maximum": 5}
    return {
        "type": "object",
        "properties": dict.fromkeys(criteria, score),
        "required": list(criteria),
        "additionalProperties": False,
    }


def _scores(text: str, criteria: Sequence[str]) -> dict[str, int] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(value, dict) and all(type(value.get(name)) is int and 1 <= value[name] <= 5 for name in criteria)
    return {name: value[name] for name in criteria} if fits else None


def _filled(template: str, names: Mapping[str, str]) -> str:
    """Fill in `{name}` in one pass. Not with str.format: an answer may contain braces, and values must not be filled in again."""
    parts = template.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, closed, rest = part.partition("}")
        filled.append(names[name] + rest if closed and name in names else "{" + part)
    return "".join(filled)


compared, scored = compare_pair, score_answer
"""Their names until version 0.1, for recipes that import them."""
