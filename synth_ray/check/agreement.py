"""How far a judge or labeller can be trusted: chance-corrected agreement with gold labels, with its confidence interval.

Cohen's kappa (1960); its large-sample standard error is that of Fleiss, Cohen and Everitt (1969). The corrected rate is that of
Rogan and Gladen (1978), as Lee et al. (2025, arXiv 2511.21140) apply it to judges. Law: with fewer than MIN_GOLD gold rows, or a
kappa below MIN_KAPPA, scores are advisory and reject nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ray.verify.intervals import Z_95

MIN_GOLD = 50
MIN_KAPPA = 0.6


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cohen's kappa of two labellings with its 95 % interval. `observed` is the share of equal labels."""

    n: int
    observed: float
    kappa: float
    low: float
    high: float

    @property
    def is_advisory(self) -> bool:
        """Whether scores of this labeller may only advise, and reject no row."""
        return self.n < MIN_GOLD or math.isnan(self.kappa) or self.kappa < MIN_KAPPA

    def summary(self) -> dict[str, Any]:
        """The manifest's fields, without `n`. Undefined values (NaN) become None."""
        shares = {"observed": self.observed, "kappa": self.kappa, "low": self.low, "high": self.high}
        known = {name: None if math.isnan(value) else round(value, 4) for name, value in shares.items()}
        return known | {"advisory": self.is_advisory}


def agreement(labels: Sequence[Hashable], gold: Sequence[Hashable]) -> Agreement:
    """Agreement of two labellings of the same rows. Kappa is NaN if both give one and the same label to every row. Raises
    ValueError if there are no labels or the lengths differ.
    """
    if len(labels) != len(gold) or not labels:
        raise ValueError(f"wanted as many labels as gold labels and at least one, got {len(labels)} and {len(gold)}")
    return agreement_of(Counter(zip(labels, gold, strict=True)))


def agreement_of(pairs: Mapping[Any, int]) -> Agreement:
    """As `agreement`, from counts of (label, gold label) pairs: memory grows with the number of different pairs, not of rows."""
    n = sum(pairs.values())
    cells = {pair: count / n for pair, count in pairs.items()}
    labels: dict[Hashable, float] = {}
    true: dict[Hashable, float] = {}
    for (teacher_label, gold), share in cells.items():
        labels[teacher_label] = labels.get(teacher_label, 0.0) + share
        true[gold] = true.get(gold, 0.0) + share
    observed = sum(share for (a, b), share in cells.items() if a == b)
    chance = sum(share * true.get(label, 0.0) for label, share in labels.items())
    if math.isclose(chance, 1.0):
        return Agreement(n, observed, math.nan, math.nan, math.nan)
    kappa = (observed - chance) / (1 - chance)
    half = Z_95 * _standard_error(cells, labels, true, kappa, chance, n)
    return Agreement(n, observed, kappa, max(-1.0, kappa - half), min(1.0, kappa + half))


def _standard_error(
    cells: dict[tuple[Hashable, Hashable], float],
    labels: dict[Hashable, float],
    true: dict[Hashable, float],
    kappa: float,
    chance: float,
    n: int,
) -> float:
    """Fleiss, Cohen and Everitt (1969), equation 13."""
    equal = sum(p * (1 - (labels[a] + true[a]) * (1 - kappa)) ** 2 for (a, b), p in cells.items() if a == b)
    unequal = sum(p * (true.get(a, 0.0) + labels.get(b, 0.0)) ** 2 for (a, b), p in cells.items() if a != b)
    variance = (equal + (1 - kappa) ** 2 * unequal - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    return math.sqrt(max(0.0, variance))


@dataclass(frozen=True, slots=True)
class Rate:
    """The share of good rows as judged, and corrected for the judge's errors with its 95 % interval."""

    judged: float
    corrected: float
    low: float
    high: float


def corrected_rate(judged: Mapping[bool, int], *, gold: Mapping[tuple[bool, bool], int]) -> Rate | None:
    """Estimate the true share of good rows from the judge's verdicts and its errors on gold rows. None if the judge is no better
    than chance, or there are no rows, no good or no bad gold rows.

    `judged` counts the verdicts, `gold` the (verdict, truth) pairs. The interval includes the sampling error of both (delta
    method), so a small gold set gives a wide interval.
    """
    rows, good, bad = sum(judged.values()), *(sum(n for (_, g), n in gold.items() if g is truth) for truth in (True, False))
    if not rows or not good or not bad:
        return None
    sensitivity, specificity = gold.get((True, True), 0) / good, gold.get((False, False), 0) / bad
    gain = sensitivity + specificity - 1
    if gain <= 0:
        return None
    raw = judged.get(True, 0) / rows
    rate = (raw + specificity - 1) / gain
    errors = (
        raw * (1 - raw) / rows
        + rate**2 * sensitivity * (1 - sensitivity) / good
        + (1 - rate) ** 2 * specificity * (1 - specificity) / bad
    )
    half = Z_95 * math.sqrt(errors) / gain
    return Rate(raw, _share(rate), _share(rate - half), _share(rate + half))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
