"""An estimate with its interval, and the total of a plan predicted from a sample of its requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_ray.verify.intervals import wilson

_REPLICATES = 1000
_MAX_SAMPLE = 1024
_QUANTILES = (0.05, 0.95)
_Z = 1.645
_LONE = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """Between `low` and `high`, most likely `expected`; None where only the limits are known."""

    low: float
    expected: float | None
    high: float

    @classmethod
    def exactly(cls, value: float) -> Interval:
        return cls(value, value, value)

    def __add__(self, other: Interval) -> Interval:
        expected = None if self.expected is None or other.expected is None else self.expected + other.expected
        return Interval(self.low + other.low, expected, self.high + other.high)

    def __mul__(self, other: Interval) -> Interval:
        """The product of two values that are not negative."""
        expected = None if self.expected is None or other.expected is None else self.expected * other.expected
        return Interval(self.low * other.low, expected, self.high * other.high)

    def __truediv__(self, other: Interval) -> Interval:
        """The quotient of two positive values."""
        expected = None if self.expected is None or not other.expected else self.expected / other.expected
        return Interval(self.low / other.high, expected, self.high / other.low)

    def scaled(self, factor: float) -> Interval:
        return self * Interval.exactly(factor)

    def record(self, digits: int | None = None) -> dict[str, Any]:
        """For JSON."""
        return {
            name: None if value is None else round(value, digits)
            for name, value in (("low", self.low), ("expected", self.expected), ("high", self.high))
        }


def predict_total(sample: Sequence[float], count: float) -> Interval:
    """The sum over `count` requests of which `sample` is a fair sample, with a 90 % interval.

    Method: the mean is resampled by bootstrap over the requests of the sample, its deviations widened as Student's t is wider
    than the normal distribution, and the spread of `count` further requests is added to it. So it holds what a small sample
    leaves open and what chance does in a short plan, and nothing else: seeds that are asked later may be longer. The draw is
    seeded, so equal samples give equal intervals. A single request tells nothing of the spread: half of it to twice.
    """
    values = np.asarray(sample, float)
    if len(values) > _MAX_SAMPLE:
        values = values[np.linspace(0, len(values) - 1, _MAX_SAMPLE).astype(int)]
    if not len(values) or not count:
        return Interval.exactly(0.0)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(_LONE[0] * mean * count, mean * count, _LONE[1] * mean * count)
    draw = np.random.default_rng(0)
    means = values[draw.integers(0, len(values), (_REPLICATES, len(values)))].mean(axis=1)
    means = mean + (means - mean) * _small_sample_factor(len(values))
    means += draw.normal(0.0, float(values.std(ddof=1)) / math.sqrt(count), _REPLICATES)
    low, high = np.quantile(means, _QUANTILES)
    return Interval(min(max(0.0, float(low)), mean) * count, mean * count, max(float(high), mean) * count)


def _small_sample_factor(n: int) -> float:
    """By how much a bootstrap of n values is too narrow: its spread has n for n - 1, and its quantiles are those of a normal
    distribution for Student's t (Cornish and Fisher's series).
    """
    z, degrees = _Z, n - 1
    t = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return t / z * math.sqrt(n / degrees)


def share_interval(accepted: int, of: int) -> Interval:
    """The share that a sample lets expect, with its 90 % interval (Wilson's). Never 0, so that one can divide by it."""
    if not of:
        return Interval(1e-6, None, 1.0)
    low, high = wilson(accepted, of, z=_Z)
    low = max(1e-6, low)
    return Interval(low, min(max(accepted / of, low), high), high)
