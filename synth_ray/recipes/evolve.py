"""`evolve`: a seed's instruction made harder, deeper, more constrained or broader, step by step, and then answered.

Evol-Instruct (WizardLM, Xu et al., 2023, arXiv 2304.12244): each step rewrites the current instruction with one operator, drawn
with the request's random seed. A rewrite that fails is eliminated and tried again; it counts as an attempt with its reason.
"""

from __future__ import annotations

import random
import re
from enum import StrEnum
from typing import Any, Literal

from synth_ray.errors import AskFailed
from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Completion, Recipe, conversation, drafted
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.records import Draft, Reason, Request

Operator = Literal["harder", "deeper", "constrained", "broader"]
OPERATORS: dict[Operator, str] = {
    "harder": "It must need more steps of reasoning than before.",
    "deeper": "It must ask for more depth on the same matter, and replace general notions by specific ones.",
    "constrained": "Add one more constraint or requirement that the answer must meet.",
    "broader": "Make it a new instruction on a rarer topic of the same field, of the same length and difficulty.",
}
REWRITE = """Rewrite the instruction below into a new one that a person could still understand and answer. {{ how }}
Add at most 20 words. Reply with the new instruction alone.

Instruction: {{ instruction }}"""

_WORD = re.compile(r"\w+", re.UNICODE)
_LEAKED = re.compile(r"(?:given|rewritten|new|evolved|original) (?:prompt|instruction)s?\b|^#", re.IGNORECASE)
_REFUSED = re.compile(r"\b(?:sorry|i can(?:not|'t)|as an ai)\b", re.IGNORECASE)


class Elimination(StrEnum):
    """Why a rewrite was eliminated. The first three are from the paper; CUT_OFF and TOO_LONG are ours."""

    UNCHANGED = "evolution_unchanged"
    REFUSED = "evolution_refused"
    LEAKED = "evolution_leaked_its_prompt"
    EMPTY = "evolution_empty"
    CUT_OFF = "evolution_cut_off"
    TOO_LONG = "evolution_too_long"


class Evolve(Section):
    """Options of `evolve`."""

    depth: int = key(2, "Evolution steps.", ge=1, le=10)
    operators: list[Operator] = key(lambda: list(OPERATORS), "What a step may do; one is drawn for each.", min_length=1)
    tries: int = key(2, "Rewrites tried for one step before the evolution ends there.", ge=1, le=10)
    every: bool = key(False, "Make every step its own row; off, only the last.")
    rewrite: JinjaTemplate = key(
        REWRITE, "Jinja template of a step; sees the seed's fields, `instruction`, `operator` and `how`."
    )
    answer: JinjaTemplate = key("{{ instruction }}", "Jinja template that asks for the answer; sees `instruction`.")
    system: str = key("", "System message of all asks.")
    max_similarity: float = key(0.9, "Share of words in common from which a rewrite counts as unchanged.", gt=0, le=1)
    max_words: int = key(300, "Words from which a rewrite counts as too long.", ge=5)
    rewrite_temperature: float | None = key(None, "Temperature of a rewrite; left out, the job's.", ge=0, le=5)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")


async def make(request: Request, ask: Ask, options: Evolve) -> list[Draft]:
    steps = await _evolve(request, ask, options)
    depths = range(1, options.depth + 1) if options.every else [max(1, len(steps))]
    return [await _answer(request, ask, options, steps[:upto], upto) for upto in depths]


async def _evolve(request: Request, ask: Ask, options: Evolve) -> list[tuple[Operator, str]]:
    """The successful steps. Evolution ends at the first step that fails `tries` times."""
    steps: list[tuple[Operator, str]] = []
    instruction = str(request.seed.fields["prompt"])
    draw = random.Random(f"evolve-{request.random_seed}")
    for _ in range(options.depth):
        step = await _step(request, ask, options, instruction, draw)
        if step is None:
            break
        steps.append(step)
        instruction = step[1]
    return steps


async def _step(
    request: Request, ask: Ask, options: Evolve, instruction: str, draw: random.Random
) -> tuple[Operator, str] | None:
    sampling: dict[str, Any] = {} if options.rewrite_temperature is None else {"temperature": options.rewrite_temperature}
    for _ in range(options.tries):
        operator = draw.choice(options.operators)
        text = render(options.rewrite, request, instruction=instruction, operator=operator, how=OPERATORS[operator])
        answer = await ask(conversation(options.system, text), **sampling)
        why = elimination_of(instruction, answer, options)
        if why is None:
            return operator, answer.text.strip()
        ask.attempt(why)
    return None


def elimination_of(before: str, answer: Completion, options: Evolve) -> Elimination | None:
    """Why a rewrite is not a valid evolution of `before`, or None if it is."""
    text = answer.text.strip()
    words = _WORD.findall(text.casefold())
    if len(words) < 2:
        return Elimination.EMPTY
    if not answer.is_whole:
        return Elimination.CUT_OFF
    if _LEAKED.search(text):
        return Elimination.LEAKED
    if len(words) < 80 and _REFUSED.search(text.replace("’", "'")):
        return Elimination.REFUSED
    if len(words) > options.max_words:
        return Elimination.TOO_LONG
    old, new = set(_WORD.findall(before.casefold())), set(words)
    return Elimination.UNCHANGED if len(old & new) >= options.max_similarity * len(old | new) else None


async def _answer(request: Request, ask: Ask, options: Evolve, steps: list[tuple[Operator, str]], depth: int) -> Draft:
    if len(steps) < depth:
        prompt = conversation("", str(request.seed.fields["prompt"]))
        return Draft(prompt, "", reason=Reason.NOT_EVOLVED, detail=f"step {len(steps) + 1} failed {options.tries} times")
    instruction = steps[-1][1]
    try:
        answer = await ask(conversation(options.system, render(options.answer, request, instruction=instruction)))
    except AskFailed as error:
        return Draft(conversation("", instruction), "", reason=Reason(error.reason), detail=error.detail)
    kept = {name: request.seed.fields.get(name) for name in options.keep}
    history = {"operators": [operator for operator, _ in steps], "evolved_from": request.seed.fields["prompt"]}
    return drafted(instruction, answer, fields=kept | history)


RECIPE = Recipe(
    name="evolve",
    options=Evolve,
    make=make,
    slots=lambda o: o.depth if o.every else 1,
    asks=lambda o: o.depth + (o.depth if o.every else 1),
    compares=lambda _: ("prompt",),  # two answers to one evolved instruction are duplicates
    generated=lambda _: ("prompt",),
    templates=lambda o: {"rewrite": o.rewrite, "answer": o.answer},
    columns=lambda o: dict.fromkeys(o.keep, "json") | {"operators": "strings", "evolved_from": "string"},
)
