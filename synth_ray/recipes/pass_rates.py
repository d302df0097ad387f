"""The statistics of a pass rate: pass@k, when enough was asked, and the name of a difficulty.

- `pass_at_k`: the unbiased estimate of the share of draws of k answers with a right one (Chen et al., 2021, arXiv 2107.03374).
- `Band.is_settled`: whether more answers would hardly change the side of the band on which the rate is. Either the rate's 95 %
  interval (Wilson, 1927) is inside the band or outside, or the answers still to come up to the cap would leave the decision as
  it is with a probability of at least 1 - risk. That probability is the beta-binomial prediction from Jeffreys' prior, as in
  stochastic curtailment of trials (Lan, Simon and Halperin, 1982, Sequential Analysis 1:207-219).

Looking at each step makes the interval of a stopped rate a little optimistic: it sorts prompts, and is no claim about one of
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from synth_ray.verify.intervals import wilson

_JEFFREYS = 0.5
UNSOLVED, SOLVED = "unsolved", "solved"


class Side(StrEnum):
    BELOW = "below"
    INSIDE = "inside"
    ABOVE = "above"


@dataclass(frozen=True, slots=True)
class Band:
    """Rates from `low` to `high`, both included."""

    low: float
    high: float

    def side(self, correct: int, judged: int) -> Side:
        """Where the rate of `judged` > 0 answers is."""
        rate = correct / judged
        return Side.BELOW if rate < self.low else Side.ABOVE if rate > self.high else Side.INSIDE

    def is_settled(self, correct: int, judged: int, remaining: int, risk: float) -> bool:
        """Whether `remaining` more answers are not worth their cost."""
        return remaining <= 0 or (judged > 0 and self._is_decided(correct, judged, remaining, risk))

    def _is_decided(self, correct: int, judged: int, remaining: int, risk: float) -> bool:
        low, high = wilson(correct, judged)
        is_outside = high < self.low or low > self.high
        is_inside = self.low <= low and high <= self.high
        return is_outside or is_inside or _largest_share(self, correct, judged, remaining) >= 1 - risk

    def predicted(self, correct: int, judged: int, remaining: int) -> dict[Side, float]:
        """The probability of each side once the remaining answers are there."""
        shares = dict.fromkeys(Side, 0.0)
        for more in range(remaining + 1):
            shares[self.side(correct + more, judged + remaining)] += _beta_binomial(more, remaining, correct, judged)
        return shares


@lru_cache(maxsize=1 << 14)
def _largest_share(band: Band, correct: int, judged: int, remaining: int) -> float:
    """The probability that the rate ends on the side where it is now."""
    return band.predicted(correct, judged, remaining)[band.side(correct, judged)]


def _beta_binomial(successes: int, n: int, correct: int, judged: int) -> float:
    a, b = correct + _JEFFREYS, judged - correct + _JEFFREYS
    ways = math.lgamma(n + 1) - math.lgamma(successes + 1) - math.lgamma(n - successes + 1)
    return math.exp(ways + _log_beta(successes + a, n - successes + b) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def pass_at_k(judged: int, correct: int, k: int) -> float | None:
    """The share of all choices of k among the judged answers that have a right one; None with fewer than k answers."""
    if judged < k:
        return None
    wrong = judged - correct
    return 1.0 if wrong < k else 1.0 - math.prod(1.0 - k / i for i in range(wrong + 1, judged + 1))


def difficulty_of(correct: int, judged: int, edges: Mapping[str, float]) -> str:
    """`unsolved` without a right answer, `solved` with none that is not, else the first name whose edge the rate does not pass.

    `edges` are the upper ends of the names, ascending to 1.
    """
    if correct in (0, judged):
        return SOLVED if correct else UNSOLVED
    return next(name for name, edge in edges.items() if correct / judged <= edge)
