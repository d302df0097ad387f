"""How the judge stands: its verdicts beside people's on gold rows, and what they say of the rows it judged."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from synth_ray.check.agreement import agreement_of, corrected_rate
from synth_ray.job.judging import Judging
from synth_ray.recipes.judged import GOLD, SCORE

Pair = tuple[bool, bool]


def passes(score: float | None, gate: Judging) -> bool:
    """Whether the judge is satisfied. What it could not score it has not passed."""
    return score is not None and score >= gate.min_score


class Standing:
    """Of one dataset's judge. Law: what it says is a function of the scores, for any `min_score`."""

    def __init__(self, gate: Judging) -> None:
        self._gate = gate
        self._gold: Counter[Pair] = Counter()
        self._judged: Counter[bool] = Counter()

    def gold(self, attempts: Mapping[str, int]) -> None:
        """Take in what was counted of gold rows."""
        for name, n in attempts.items():
            word, _, told = name.partition(" ")
            if word == GOLD:
                score, truth = told.split(" ")
                self._gold[passes(None if score == "None" else float(score), self._gate), truth == "good"] += n

    def rows(self, staged: pa.Table) -> None:
        """Take in the rows of a chunk."""
        for fields in staged["fields"].to_pylist():
            row = json.loads(fields) if fields else {}
            if SCORE in row:
                self._judged[passes(row[SCORE], self._gate)] += 1

    @property
    def advisory(self) -> bool:
        """Whether its scores may only advise: too few gold rows, or too little agreement with people."""
        return not self._gold or agreement_of(self._gold).advisory

    def told(self) -> dict[str, Any]:
        """For the manifest: agreement on gold rows, and the share of good rows, as judged and corrected for its errors."""
        found = {"criteria": list(self._gate.criteria), "min_score": self._gate.min_score, "advisory": self.advisory}
        if self._gold:
            agreed = asdict(agreement_of(self._gold))
            found |= {"gold": agreed.pop("n")} | {name: _plain(value) for name, value in agreed.items()}
        rate = corrected_rate(self._judged, gold=self._gold)
        return (
            found | {"judged": self._judged.total()} | ({"good": {k: _plain(v) for k, v in asdict(rate).items()}} if rate else {})
        )


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
