"""`passes`: how often a model answers each prompt right, for training with verifiable rewards.

n answers to a prompt, each verified against the seed's gold. More are asked step by step, until it is settled on which side of
the band the pass rate is (see `pass_rates`), or the steps are used up. A prompt outside the band is rejected(too_easy) or
rejected(too_hard), one whose gold cannot be verified rejected(unverifiable), and one whose verifier hangs or crashes
failed(verifier_failed). Nothing is asked where the gold is at fault.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from synth_ray.errors import AskFailed
from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.job.texts import Labels
from synth_ray.recipes.answers_verified import Answers
from synth_ray.recipes.contract import Ask, Recipe, conversation
from synth_ray.recipes.json_schema import JsonSchema
from synth_ray.recipes.pass_rates import SOLVED, UNSOLVED, Band, Side
from synth_ray.recipes.templates import JinjaTemplate, constants_of, names_in, render
from synth_ray.recipes.verifying import (
    VERIFIERS,
    WITH_FINAL_ANSWER,
    Verifying,
    fault_of,
    require_verifier,
    verifier_of,
    verify_all,
)
from synth_ray.records import Draft, Message, Reason, Request
from synth_ray.verify.verdict import Verdict

Pick = Literal["shortest", "first", "majority", "gold"]


class Passes(Section):
    """Options of `passes`."""

    template: JinjaTemplate = key(
        "{{ prompt }}",
        "Jinja template of what the model is asked; sees the seed's fields, and may not name the gold or reference.",
    )
    system: str = key("", "System message of the ask.")
    verifier: str = key(
        "arithmetic",
        f"Who tells whether an answer is right: {', '.join(VERIFIERS)}, or a function of your own as package.module:function, "
        "called with the answer and the gold, that returns a bool, a number from 0 to 1, or None to abstain.",
    )
    gold: str = key("answer", "Field of the seed that answers are verified against: a number, a label, a schema, tests.")
    reference: str = key(
        "", "Field of the seed with an answer known to be right: where the verifier denies it, nothing is asked."
    )
    labels: Labels = key(lambda: [], "The closed list of `verifier: label`; left out, any text is a label.")
    schema_: JsonSchema | None = key(None, "The schema of `verifier: json_schema`, in place of the seed's gold.", alias="schema")
    verifier_seconds: float = key(10.0, "Seconds that one verdict, or one case of a program, may take.", gt=0, le=600)
    verifier_memory_bytes: int = key(1_000_000_000, "Memory that a program or the mathematics may take.", ge=64_000_000)
    right_from: float = key(0.5, "The least number of a function of your own that counts as right.", gt=0, le=1)
    steps: list[int] = key(
        lambda: [4, 7, 9, 11, 13, 16],
        "How many answers are there after each step, ascending; the last is the most that a prompt gets. One step is a fixed n.",
        min_length=1,
    )
    band: tuple[float, float] = key((0.2, 0.8), "Pass rates that are wanted, both ends included.")
    risk: float = key(
        0.05,
        "Stop asking where the answers still to come would move the rate across the band's ends with this probability at most.",
        ge=0,
        lt=0.5,
    )
    accept: Literal["band", "all"] = key("band", "Which prompts become rows: those in the band, or all.")
    truncated: Literal["left_out", "wrong"] = key(
        "left_out", "Whether an answer that was cut off counts as wrong, or not at all; it is counted apart in any case."
    )
    k: list[Annotated[int, Field(ge=1, le=1024)]] = key(lambda: [1, 4], "The k of the unbiased pass@k in column `pass_at_k`.")
    difficulty: dict[str, float] = key(
        lambda: {"hard": 0.35, "medium": 0.65, "easy": 1.0},
        "Names of difficulty and the largest pass rate of each, ascending to 1; `unsolved` and `solved` are prompts with no "
        "right and with no wrong answer.",
        min_length=1,
    )
    answers: Annotated[list[Pick], OneOrMore] = key(
        lambda: ["shortest"],
        "The completion of a prompt's row, or of each of its rows: the shortest or first right answer, the first of the majority "
        "whether right or not, or the gold. A prompt without a right answer has the gold, where that is an answer.",
        min_length=1,
        max_length=4,
    )
    negatives: int = key(4, "Most distinct wrong answers kept in column `wrong_answers`.", ge=0, le=64)
    temperature: float | None = key(None, "Temperature of the answers; left out, the job's.", ge=0, le=5)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @field_validator("verifier")
    @classmethod
    def _runs_here(cls, value: str) -> str:
        require_verifier(value)
        return value

    @field_validator("steps")
    @classmethod
    def _ascending(cls, value: list[int]) -> list[int]:
        if value[0] < 1 or value[-1] > 1024 or any(a >= b for a, b in pairwise(value)):
            raise ValueError(f"wanted ascending numbers of answers from 1 to 1024, got {value}")
        return value

    @field_validator("band")
    @classmethod
    def _is_a_band(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1] <= 1:
            raise ValueError(f"wanted two pass rates from 0 to 1, the lower one first, got {list(value)}")
        return value

    @field_validator("difficulty")
    @classmethod
    def _ends_at_one(cls, value: dict[str, float]) -> dict[str, float]:
        edges = list(value.values())
        if edges[0] <= 0 or edges[-1] != 1 or any(a >= b for a, b in pairwise(edges)):
            raise ValueError(f"wanted largest pass rates above 0 that ascend to 1, got {edges}")
        if taken := [name for name in (SOLVED, UNSOLVED) if name in value]:
            raise ValueError(f"wanted names other than {taken[0]!r}, which is a prompt of one kind of answers alone; rename it")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Passes:
        hidden = [name for name in (self.gold, self.reference) if name and name in names_in(self.template)]
        if hidden:
            raise ValueError(f"template: wanted an ask without the truth, got one that shows '{hidden[0]}'; leave it out")
        if "majority" in self.answers and self.verifier not in WITH_FINAL_ANSWER:
            raise ValueError(
                f"answers: wanted a verifier that tells the final answer for 'majority' ({', '.join(WITH_FINAL_ANSWER)}), got "
                f"'{self.verifier}'; choose shortest or first"
            )
        if len(set(self.answers)) < len(self.answers):
            raise ValueError("answers: wanted each way once, got one twice; leave it out")
        return self

    @property
    def verifying(self) -> Verifying:
        limits = {"seconds": self.verifier_seconds, "memory_bytes": self.verifier_memory_bytes, "right_from": self.right_from}
        return Verifying.by(self.verifier, labels=self.labels, schema=self.schema_, **limits)


async def make(request: Request, ask: Ask, options: Passes) -> list[Draft]:
    gold, reference = (request.seed.fields.get(name) for name in (options.gold, options.reference))
    kept: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    prompt = conversation(options.system, render(options.template, request))
    verifier = verifier_of(options.verifying)
    fault = await fault_of(verifier, gold, reference if isinstance(reference, str) else None)
    if fault is not None:
        return _none(prompt, kept, options, Reason(fault[0].value), fault[1])
    answers = await _answered(prompt, gold, ask, options)
    fields = kept | answers.fields(gold, options)
    if (reason := answers.fault()) is not None:
        answers.count_attempts(ask, chosen=())
        return _none(prompt, fields, options, *reason)
    side = Band(*options.band).side(answers.correct, answers.judged)
    if options.accept == "band" and side is not Side.INSIDE:
        answers.count_attempts(ask, chosen=())
        reason_of = {Side.ABOVE: Reason.TOO_EASY, Side.BELOW: Reason.TOO_HARD}
        return _none(prompt, fields, options, reason_of[side], f"{answers.correct} of {answers.judged} right")
    return answers.drafts(prompt, gold, fields, ask, options.answers)


async def _answered(prompt: list[Message], gold: Any, ask: Ask, options: Passes) -> Answers:
    """All answers to a prompt, with their verdicts, until the rate is settled."""
    band, verifier = Band(*options.band), verifier_of(options.verifying)
    sampling: dict[str, Any] = {} if options.temperature is None else {"temperature": options.temperature}
    answers = Answers(counts_truncated=options.truncated == "wrong")
    for step in options.steps:
        try:
            new = await ask.many(prompt, step - answers.n, **sampling)
        except AskFailed:
            if not answers.n:
                raise
            break  # what there is decides
        whole = [answer for answer in new if answer.is_whole and not answer.is_cut_in_thought]
        verified = await verify_all(verifier, [answer.text for answer in whole], gold)
        answers.add(new, {id(answer): verdict for answer, verdict in zip(whole, verified, strict=True)})
        if answers.counts[Verdict.VERIFIER_FAILED] * 2 > answers.n:
            break
        if band.is_settled(answers.correct, answers.judged, options.steps[-1] - answers.n, options.risk):
            break
    return answers


def _none(prompt: list[Message], fields: dict[str, Any], options: Passes, reason: Reason, detail: str) -> list[Draft]:
    """A prompt that makes no row."""
    return [Draft(prompt, "", dict(fields), reason=reason, detail=detail) for _ in options.answers]


_COLUMNS = {
    "ground_truth": "string",
    "verifier": "string",
    "n": "int",
    "judged": "int",
    "correct": "int",
    "wrong": "int",
    "no_answer": "int",
    "truncated": "int",
    "unverifiable": "int",
    "verifier_failed": "int",
    "pass_rate": "float",
    "pass_rate_low": "float",
    "pass_rate_high": "float",
    "pass_at_k": "json",
    "difficulty": "string",
    "agreement": "float",
    "answer_by": "string",
    "answer_verdict": "string",
    "rejected": "string",
    "wrong_answers": "strings",
}


RECIPE = Recipe(
    name="passes",
    options=Passes,
    make=make,
    slots=lambda o: len(o.answers),
    asks=lambda o: o.steps[-1],
    compares=lambda o: ("prompt",) if len(o.answers) == 1 else ("prompt", "completion"),
    mask=lambda o: constants_of(o.template),
    templates=lambda o: {"template": o.template},
    columns=lambda o: dict.fromkeys(o.keep, "json") | _COLUMNS,
)
