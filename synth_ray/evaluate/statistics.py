"""Intervals of shares, and of the difference of two shares of the same cases. All at 95 %.

- `share_of`: a share with its score interval (`verify.intervals.wilson`).
- `paired_difference`: Newcombe's square-and-add interval of the difference of two paired shares, with continuity-corrected
  correlation (Newcombe, 1998, Statistics in Medicine 17:2635-2650, method 10).
- `mcnemar`: the exact two-sided test of McNemar (1947, Psychometrika 12:153-157): the binomial test of the cases that changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from synth_ray.verify.intervals import wilson


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its limits."""

    value: float
    low: float
    high: float


def share_of(successes: int, n: int) -> Interval:
    """The share of successes among `n` > 0 trials, with Wilson's interval."""
    return Interval(successes / n, *wilson(successes, n))


def paired_difference(both: int, only_before: int, only_now: int, neither: int) -> Interval:
    """The share now minus the share before, of cases that passed both times, one of them, or never: at least one case.

    Law: exchanging before and now changes the signs alone.
    """
    n = both + only_before + only_now + neither
    now, before = share_of(both + only_now, n), share_of(both + only_before, n)
    phi = _correlation(both, only_before, only_now, neither)
    difference = (only_now - only_before) / n
    down = _added(now.value - now.low, before.high - before.value, phi)
    up = _added(now.high - now.value, before.value - before.low, phi)
    return Interval(difference, max(-1.0, difference - down), min(1.0, difference + up))


def _added(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(both: int, only_before: int, only_now: int, neither: int) -> float:
    margins = (both + only_before) * (only_now + neither) * (both + only_now) * (only_before + neither)
    if not margins:
        return 0.0
    excess = both * neither - only_before * only_now
    n = both + only_before + only_now + neither
    return (max(excess - n / 2, 0.0) if excess > 0 else excess) / math.sqrt(margins)


def mcnemar(only_before: int, only_now: int) -> float:
    """The probability of a change at least as one-sided as this, if neither direction were likelier."""
    changed, fewer = only_before + only_now, min(only_before, only_now)
    tail = sum(math.comb(changed, k) for k in range(fewer + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**changed)))  # exact: 2**changed may be beyond a float
