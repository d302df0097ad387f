"""`prefer`: pairs of a chosen and a rejected answer, for preference training.

n answers of the teacher to one prompt, each pair judged in both orders (Zheng et al., 2023, arXiv 2306.05685). Only a pair with
the same winner in both orders makes a row; a tie is rejected(tie), and a verdict that changes with the order is
rejected(no_agreement).

With `margin`, the judge is a model that rates each answer alone: the best and the worst make a row if their scores differ by the
margin at least; else it is a tie.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

from synth_ray.errors import AskFailed
from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Completion, Recipe, conversation, drafted
from synth_ray.recipes.judge import PAIR, PairVerdict, compare_pair
from synth_ray.recipes.rating import rate_all
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.records import Draft, Reason, Request


class Prefer(Section):
    """Options of `prefer`. Needs `models.judge`."""

    template: JinjaTemplate = key("{{ prompt }}", "Jinja template of what the teacher is asked; sees the seed's fields.")
    system: str = key("", "System message of the teacher.")
    n: int = key(2, "Answers per prompt; every pair of them is judged twice.", ge=2, le=8)
    temperature: float | None = key(None, "Temperature of the answers; left out, the job's.", ge=0, le=5)
    criteria: str = key("Prefer what is correct, then what is helpful, then what is clear.", "What makes an answer better.")
    pair: str = key(PAIR, "What the judge is asked; {question}, {a}, {b} and {criteria} are filled in.")
    margin: float | None = key(
        None,
        "The judge has a `task` and rates each answer; chosen and rejected are the best and the worst, if their scores differ by "
        "so much. Left out, a judge compares answers in words.",
        ge=0,
    )
    label: str = key("", "The label whose probability is the rating, for `margin` with a classifier.")
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")


async def make(request: Request, ask: Ask, options: Prefer) -> list[Draft]:
    question = render(options.template, request)
    sampling: dict[str, Any] = {} if options.temperature is None else {"temperature": options.temperature}
    answers = await ask.many(conversation(options.system, question), options.n, **sampling)
    # Equal answers count as one, because a judge could tell them apart only by position.
    distinct = list({answer.text.strip(): answer for answer in answers if answer.text.strip()}.values())
    if options.margin is not None:
        return [await _rated(request, ask, options, distinct, options.margin)]
    judged: dict[tuple[int, int], PairVerdict] = {}
    for first, second in combinations(range(len(distinct)), 2):
        pair = distinct[first].text, distinct[second].text
        judged[first, second] = await compare_pair(ask, question, *pair, criteria=options.criteria, template=options.pair)
    return [_draft(request, options, distinct, judged, ask)]


async def _rated(request: Request, ask: Ask, options: Prefer, answers: list[Completion], margin: float) -> Draft:
    """The pair of the best and the worst answer by their ratings, the first of equals. Raises AskFailed where fewer than two of
    several answers could be rated.
    """
    prompt = str(request.seed.fields["prompt"])
    fields: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    if len(answers) < 2:
        return Draft(conversation("", prompt), "", fields, reason=Reason.TIE, detail="all answers are the same")
    asked = conversation(options.system, render(options.template, request))
    scores = await rate_all(ask, asked, [answer.text for answer in answers], label=options.label, key="recipe.label")
    rated = [(score, place) for place, score in enumerate(scores) if score is not None]
    if len(rated) < 2:
        raise AskFailed(Reason.NO_ANSWER, f"the judge rated {len(rated)} of {len(answers)} answers")
    (best, chosen), (worst, rejected) = max(rated, key=lambda pair: (pair[0], -pair[1])), min(rated)
    if best - worst < margin or best == worst:
        return Draft(conversation("", prompt), "", fields, reason=Reason.TIE, detail=f"{best - worst:.4g} apart")
    for _ in range(len(answers) - 2):
        ask.attempt("answer_not_chosen")
    more: dict[str, Any] = {"rejected": answers[rejected].text, "chosen_score": best, "rejected_score": worst}
    more |= {"rejected_reasoning": answers[rejected].reasoning} if answers[rejected].reasoning else {}
    return drafted(prompt, answers[chosen], fields=fields | more)


def _columns(options: Prefer) -> dict[str, str]:
    judged = {"judged": "json"} if options.margin is None else {"chosen_score": "float", "rejected_score": "float"}
    return dict.fromkeys(options.keep, "json") | {"rejected": "string"} | judged


def _draft(
    request: Request, options: Prefer, answers: list[Completion], judged: dict[tuple[int, int], PairVerdict], ask: Ask
) -> Draft:
    prompt = str(request.seed.fields["prompt"])
    fields: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    verdicts = dict(sorted(Counter(outcome.value for outcome in judged.values()).items()))
    best = _best(judged)
    if best is None:
        reason = Reason.NO_AGREEMENT if PairVerdict.INCONSISTENT in judged.values() else Reason.TIE
        detail = ", ".join(f"{name} {n}" for name, n in verdicts.items()) or "all answers are the same"
        return Draft(conversation("", prompt), "", fields, reason=reason, detail=detail)
    for _ in range(len(answers) - 2):
        ask.attempt("answer_not_chosen")
    chosen, rejected = answers[best[0]], answers[best[1]]
    fields |= {"rejected": rejected.text, "judged": verdicts}
    fields |= {"rejected_reasoning": rejected.reasoning} if rejected.reasoning else {}
    return drafted(prompt, chosen, fields=fields)


def _best(judged: dict[tuple[int, int], PairVerdict]) -> tuple[int, int] | None:
    """The pair with the largest difference in wins, among those with a consistent winner: (winner, loser). The first of equals;
    None if there is no such pair.
    """
    wins: Counter[int] = Counter()
    pairs: list[tuple[int, int]] = []
    for (first, second), outcome in judged.items():
        if outcome in (PairVerdict.FIRST, PairVerdict.SECOND):
            pairs.append((first, second) if outcome is PairVerdict.FIRST else (second, first))
            wins[pairs[-1][0]] += 1
    return max(pairs, key=lambda pair: (wins[pair[0]] - wins[pair[1]], -pair[0], -pair[1]), default=None)


RECIPE = Recipe(
    name="prefer",
    options=Prefer,
    make=make,
    roles=lambda _: ("teacher", "judge"),
    rates=lambda o: o.margin is not None,
    asks=lambda o: o.n + (o.n * (o.n - 1) if o.margin is None else o.n),
    compares=lambda _: ("prompt",),  # one pair per prompt
    generated=lambda _: ("rejected",),
    templates=lambda o: {"template": o.template},
    columns=_columns,
)
