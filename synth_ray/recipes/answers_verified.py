"""The answers to one prompt with their verdicts: counts, the rate, and which answers become rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from synth_ray.recipes.contract import Ask, Completion, drafted
from synth_ray.recipes.pass_rates import difficulty_of, pass_at_k
from synth_ray.recipes.passages import counter
from synth_ray.recipes.votes import majority
from synth_ray.records import Draft, Message, Reason, canonical_json
from synth_ray.verify.intervals import wilson
from synth_ray.verify.verdict import Verdict, Verified

TRUNCATED = "truncated"
_JUDGED = (Verdict.RIGHT, Verdict.WRONG, Verdict.NO_ANSWER)
_ATTEMPTS = {
    Verdict.RIGHT: "not_the_best",
    Verdict.WRONG: "wrong_answer",
    Verdict.NO_ANSWER: "no_final_answer",
    Verdict.UNVERIFIABLE: "unverifiable_answer",
    Verdict.VERIFIER_FAILED: "verifier_failed",
}


class Described(Protocol):
    """What the options of a recipe say about the columns."""

    verifier: str
    k: list[int]
    difficulty: dict[str, float]
    negatives: int


@dataclass(slots=True)
class Answers:
    """Answers in the order they came. One that was cut off has no verdict, and is judged only if `counts_truncated`."""

    counts_truncated: bool
    answers: list[tuple[Completion, Verified | None]] = field(default_factory=list)
    counts: Counter[Verdict] = field(default_factory=Counter)
    truncated: int = 0

    def add(self, answers: Sequence[Completion], verdicts: Mapping[int, Verified]) -> None:
        """`verdicts` are by the identity of the answer; one without a verdict was cut off."""
        for answer in answers:
            verified = verdicts.get(id(answer))
            self.answers.append((answer, verified))
            if verified is None:
                self.truncated += 1
            else:
                self.counts[verified.verdict] += 1

    @property
    def n(self) -> int:
        return len(self.answers)

    @property
    def correct(self) -> int:
        return self.counts[Verdict.RIGHT]

    @property
    def judged(self) -> int:
        """Answers that the rate is of."""
        return sum(self.counts[verdict] for verdict in _JUDGED) + (self.truncated if self.counts_truncated else 0)

    def fault(self) -> tuple[Reason, str] | None:
        """Why there is no rate."""
        failed = self.counts[Verdict.VERIFIER_FAILED]
        if failed * 2 > self.n:
            why = next(v.detail for _, v in self.answers if v is not None and v.verdict is Verdict.VERIFIER_FAILED)
            return Reason.VERIFIER_FAILED, f"on {failed} of {self.n} answers: {why}"
        if self.judged:
            return None
        if self.counts[Verdict.UNVERIFIABLE]:
            return Reason.UNVERIFIABLE, "the verifier abstained on every answer"
        return Reason.TRUNCATED, f"all of {self.n} answers were cut off, or could not be verified"

    def fields(self, gold: Any, options: Described) -> dict[str, Any]:
        """The columns about the prompt."""
        counts = {verdict.value: self.counts[verdict] for verdict in Verdict if verdict is not Verdict.RIGHT}
        wrong = [text for text in dict.fromkeys(self._texts(Verdict.WRONG)) if text.strip()]
        fields: dict[str, Any] = {
            "ground_truth": gold if isinstance(gold, str) else canonical_json(gold).decode(),
            "verifier": options.verifier,
            "n": self.n,
            "judged": self.judged,
            "correct": self.correct,
            TRUNCATED: self.truncated,
            "wrong_answers": wrong[: options.negatives],
        }
        return fields | counts | (self._rates(options) if self.judged else {})

    def _rates(self, options: Described) -> dict[str, Any]:
        low, high = wilson(self.correct, self.judged)
        vote = majority(self._finals())
        return {
            "pass_rate": round(self.correct / self.judged, 6),
            "pass_rate_low": round(low, 6),
            "pass_rate_high": round(high, 6),
            "pass_at_k": {str(k): _rounded(pass_at_k(self.judged, self.correct, k)) for k in sorted(set(options.k))},
            "difficulty": difficulty_of(self.correct, self.judged, options.difficulty),
            "agreement": round(vote.agreement, 6) if vote is not None else None,
        }

    def drafts(self, prompt: list[Message], gold: Any, fields: Mapping[str, Any], ask: Ask, ways: Sequence[str]) -> list[Draft]:
        """A row for each way of choosing its completion."""
        picked = {way: self._picked(way) for way in ways}
        self.count_attempts(ask, chosen={index for index in picked.values() if index is not None})
        return [self._draft(prompt, gold, dict(fields), way, index) for way, index in picked.items()]

    def _draft(self, prompt: list[Message], gold: Any, fields: dict[str, Any], way: str, index: int | None) -> Draft:
        if index is None:
            return _gold_draft(prompt, gold, fields)
        answer, verified = self.answers[index]
        assert verified is not None
        fields |= self._rejected(verified)
        return drafted(prompt, answer, fields=fields | {"answer_by": way, "answer_verdict": verified.verdict.value})

    def _rejected(self, chosen: Verified) -> dict[str, Any]:
        """The first wrong answer, beside a right one, and its thought: another would make no pair."""
        if chosen.verdict is not Verdict.RIGHT:
            return {}
        wrong = (a for a, v in self.answers if v is not None and v.verdict is Verdict.WRONG and a.text.strip())
        first = next(wrong, None)
        if first is None:
            return {}
        return {"rejected": first.text} | ({"rejected_reasoning": first.reasoning} if first.reasoning else {})

    def _picked(self, way: str) -> int | None:
        """The index of the answer; None where the gold is the completion."""
        if way == "majority":
            vote = majority(self._finals())
            return vote.winner if vote is not None else None
        right = [i for i, (_, v) in enumerate(self.answers) if v is not None and v.verdict is Verdict.RIGHT]
        if way == "gold" or not right:
            return None
        return right[0] if way == "first" else min(right, key=lambda i: len(self.answers[i][0].text))

    def _finals(self) -> list[str | None]:
        """The final answer of each answer, where it has one."""
        return [(verified.final or None) if verified is not None else None for _, verified in self.answers]

    def _texts(self, verdict: Verdict) -> list[str]:
        return [answer.text for answer, verified in self.answers if verified is not None and verified.verdict is verdict]

    def count_attempts(self, ask: Ask, *, chosen: Collection[int]) -> None:
        """Count each answer that is no row's completion."""
        for index, (_, verified) in enumerate(self.answers):
            if index not in chosen:
                ask.attempt(_ATTEMPTS[verified.verdict] if verified is not None else TRUNCATED)


def _gold_draft(prompt: list[Message], gold: Any, fields: dict[str, Any]) -> Draft:
    """The row whose completion is the gold. Tests and schemas are no answers, and neither is an empty text."""
    if fields["verifier"] not in ANSWERS_THEMSELVES or not str(gold).strip():
        return Draft(prompt, "", fields, reason=Reason.TOO_HARD, detail="no right answer, and the gold is none")
    text = str(gold)
    tokens = counter("")(text)
    fields = fields | {"answer_by": "gold", "answer_verdict": Verdict.RIGHT.value}
    return Draft(prompt, text, fields, "", None, tokens, copied=True)  # people's answer, not the model's


ANSWERS_THEMSELVES = ("arithmetic", "math", "label", "exact")
"""Verifiers whose gold is itself a right answer."""


def _rounded(value: float | None) -> float | None:
    return round(value, 6) if value is not None else None
