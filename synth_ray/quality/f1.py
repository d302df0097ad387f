"""F1 by class and its mean over the classes, for many weightings of the test rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synth_ray.quality.intervals import Array, bounds
from synth_ray.verify.intervals import wilson


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each class and each weighting of the test rows, classes×weightings: the rows that are rightly named, those that are of
    the class, and those that are named so.
    """

    right: Array
    support: Array
    named: Array

    @property
    def f1(self) -> Array:
        score: Array = 2 * self.right / np.maximum(self.support + self.named, 1)
        return score

    @property
    def macro(self) -> Array:
        """The mean F1 over the classes that have weight."""
        has_rows = self.support > 0
        mean: Array = (self.f1 * has_rows).sum(axis=0) / has_rows.sum(axis=0)
        return mean


def scores_of(true: Array, predicted: Array, weights: Array, *, classes: Array) -> Scores:
    """`true` and `predicted` number the classes; `classes` are those that are scored, ascending; `weights` are whole numbers,
    rows×weightings.
    """
    right = np.where(predicted == true, true, -1)
    return Scores(*(_sums(numbers, weights, classes) for numbers in (right, true, predicted)))


def _sums(numbers: Array, weights: Array, classes: Array) -> Array:
    """The weights of the rows of each class."""
    from scipy.sparse import csr_matrix  # here: half a second

    rows = np.flatnonzero(np.isin(numbers, classes))
    places = np.searchsorted(classes, numbers[rows]), rows
    summed: Array = csr_matrix((np.ones(len(rows)), places), shape=(len(classes), len(numbers))) @ weights
    return summed


def with_interval(name: str, observed: Array, drawn: Array, *, lowest: float = 0.0) -> dict[str, float]:
    """The one observed value and the interval of the drawn ones. These are moved to the observed value first: a draw lacks some
    classes, which biases its mean over classes.
    """
    value = float(observed[0])
    low, high = np.clip(bounds(drawn - drawn.mean() + value), lowest, 1.0)
    return {name: round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def f1_bounds(scores: Scores) -> Sequence[dict[str, float]]:
    """The interval of each class, of the first weighting. F1 is 2 J / (1 + J), where J is the share of rows that are right among
    those that are of the class or named so: Wilson's interval of J is none of no width where few rows are tested.
    """
    counts = np.stack([scores.right, scores.support + scores.named - scores.right])[:, :, 0].astype(int)
    shares = [wilson(right, of) for right, of in counts.T.tolist()]
    return [{"low": round(2 * low / (1 + low), 4), "high": round(2 * high / (1 + high), 4)} for low, high in shares]
