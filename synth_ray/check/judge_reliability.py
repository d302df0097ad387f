"""The judge's verdicts: who passes, how well they agree with people on gold rows, and the share of good rows they imply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.check.agreement import Agreement, agreement_of, corrected_rate
from synth_ray.check.score_sample import ScoreSample
from synth_ray.job.judge import Judging
from synth_ray.job.scoring import Task
from synth_ray.recipes.with_judge import GOLD, SCORE
from synth_ray.records import fields_of

Pair = tuple[bool, bool]

Array = np.ndarray[Any, Any]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FEWEST_SCORES = 20


def passes(score: float | None, gate: Judging) -> bool:
    """Whether the score reaches `min_score`. A row that the judge could not score does not pass."""
    return score is not None and score >= gate.min_score


class JudgeReliability:
    """The reliability of one dataset's judge. Law: it is a function of the judged rows, so it can be recomputed for any
    `min_score`. Memory: bounded, see `ScoreSample`.
    """

    KEEPS = ("_gold", "_judged", "_sample")

    def __init__(self, gate: Judging, task: Task = "generate") -> None:
        """`task` is that of the judge's model."""
        self._gate, self._task = gate, task
        self._gold: Counter[Pair] = Counter()
        self._judged: Counter[bool] = Counter()
        self._sample = ScoreSample()

    def add_judge_gold(self, attempts: Mapping[str, int]) -> None:
        """Add gold rows from the attempts counter, whose keys are written by `recipes.judged`."""
        for name, n in attempts.items():
            word, _, verdict = name.partition(" ")
            if word == GOLD:
                score, truth = verdict.split(" ")
                self._gold[passes(None if score == "None" else float(score), self._gate), truth == "good"] += n

    def add_rows(self, staged: pa.Table) -> None:
        """Add the judged rows of a chunk."""
        names, lengths = staged["id"].to_pylist(), pc.utf8_length(staged["completion"]).to_pylist()
        for row, name, length in zip(fields_of(staged), names, lengths, strict=True):
            if SCORE in row:
                self._judged[passes(row[SCORE], self._gate)] += 1
            if row.get(SCORE) is not None:
                self._sample.add(name, row[SCORE], length or 0)

    def _distribution(self) -> dict[str, Any]:
        """Quantiles of the scores, to choose a threshold by, and their rank correlation with the answers' length."""
        scores, lengths = self._sample.scores_and_lengths
        if len(scores) < _FEWEST_SCORES:
            return {}
        quantiles = {f"{share:g}": round(float(np.quantile(scores, share)), 6) for share in _QUANTILES}
        correlation = rank_correlation(scores, lengths)
        return {"quantiles": quantiles} | ({"length_correlation": round(correlation, 4)} if correlation is not None else {})

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
        by_rubric = self._task == "generate"
        summary: dict[str, Any] = {"criteria": list(self._gate.criteria)} if by_rubric else {"task": self._task}
        summary |= {"label": self._gate.label} if self._gate.label else {}
        summary |= {"min_score": self._gate.min_score, "advisory": self.is_advisory} | self._distribution()
        if (agreement := self._agreement) is not None:
            summary |= {"gold": agreement.n} | agreement.summary()
        summary |= {"judged": self._judged.total()}
        rate = corrected_rate(self._judged, gold=self._gold)
        return summary | ({"good": {name: round(value, 4) for name, value in asdict(rate).items()}} if rate else {})


def rank_correlation(one: Array, other: Array) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; None where all values of one are equal."""
    if min(len(np.unique(values)) for values in (one, other)) < 2:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
