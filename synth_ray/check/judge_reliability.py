"""The judge's verdicts: who passes, how well they agree with people on gold rows, and the share of good rows they imply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from synth_ray.check.agreement import Agreement, agreement_of, corrected_rate
from synth_ray.job.judge import Judging
from synth_ray.recipes.with_judge import GOLD, SCORE
from synth_ray.records import fields_of

Pair = tuple[bool, bool]


def passes(score: float | None, gate: Judging) -> bool:
    """Whether the score reaches `min_score`. A row that the judge could not score does not pass."""
    return score is not None and score >= gate.min_score


class JudgeReliability:
    """The reliability of one dataset's judge. Law: it is a function of the scores, so it can be recomputed for any
    `min_score`.
    """

    def __init__(self, gate: Judging) -> None:
        self._gate = gate
        self._gold: Counter[Pair] = Counter()
        self._judged: Counter[bool] = Counter()

    def add_judge_gold(self, attempts: Mapping[str, int]) -> None:
        """Add gold rows from the attempts counter, whose keys are written by `recipes.judged`."""
        for name, n in attempts.items():
            word, _, verdict = name.partition(" ")
            if word == GOLD:
                score, truth = verdict.split(" ")
                self._gold[passes(None if score == "None" else float(score), self._gate), truth == "good"] += n

    def add_rows(self, staged: pa.Table) -> None:
        """Add the judged rows of a chunk."""
        for row in fields_of(staged):
            if SCORE in row:
                self._judged[passes(row[SCORE], self._gate)] += 1

    @property
    def _agreement(self) -> Agreement | None:
        return agreement_of(self._gold) if self._gold else None

    @property
    def passed_and_judged(self) -> tuple[int, int]:
        """How many judged rows passed, and how many there are."""
        return self._judged[True], self._judged.total()

    @property
    def is_advisory(self) -> bool:
        """Whether its scores may only advise: too few gold rows, or too little agreement with people."""
        agreement = self._agreement
        return agreement is None or agreement.is_advisory

    def summary(self) -> dict[str, Any]:
        """The manifest's fields: agreement on gold rows, and the share of good rows, as judged and corrected for the judge's
        errors.
        """
        summary = {"criteria": list(self._gate.criteria), "min_score": self._gate.min_score, "advisory": self.is_advisory}
        if (agreement := self._agreement) is not None:
            summary |= {"gold": agreement.n} | agreement.summary()
        summary |= {"judged": self._judged.total()}
        rate = corrected_rate(self._judged, gold=self._gold)
        return summary | ({"good": {name: round(value, 4) for name, value in asdict(rate).items()}} if rate else {})
