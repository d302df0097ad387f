"""Whether generated rows are narrower than real ones: every measure, with an interval, chance and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from synth_ray.quality.measures import MEASURES, Measure, Rows

Array = np.ndarray[Any, Any]

MIN_ROWS = 50
_PERMUTATIONS = 40
_HALVES = 30
_SURE = 3.3
"""Standard deviations beyond chance from which a difference counts: one false alarm in two thousand measures."""


def compare(generated: Sequence[str], real: Sequence[str], *, vectors: Array | None = None) -> dict[str, Any]:
    """Every measure by name; empty where one side has fewer than MIN_ROWS texts.

    Of each: `value`, relative to its mean when the rows of both sides are permuted; `low` and `high`, its 95 % interval;
    `warn` and `fail`, the thresholds; and `verdict`. `vectors` are unit embeddings of the generated texts and then the real ones.
    """
    if min(len(generated), len(real)) < MIN_ROWS:
        return {}
    indices = np.arange(len(generated) + len(real))
    ours, theirs = indices[: len(generated)], indices[len(generated) :]
    rows = Rows([*generated, *real], vectors=vectors)
    plain = _equal_numbers(ours, theirs)
    matched = _equal_lengths(rows, ours, theirs)
    sides = {False: plain, True: matched}
    return {m.name: _measured(m, rows, *sides[m.matched]) for m in MEASURES if min(map(len, sides[m.matched])) >= MIN_ROWS}


def _equal_numbers(ours: Array, theirs: Array) -> tuple[Array, Array]:
    n = min(len(ours), len(theirs))
    return ours[:n], theirs[:n]


def _equal_lengths(rows: Rows, ours: Array, theirs: Array) -> tuple[Array, Array]:
    """As many rows of each length on both sides: most measures of diversity follow the length of a text."""
    chosen: tuple[list[Array], list[Array]] = ([], [])
    for length in np.unique(rows.length_bins):
        of_length = [side[rows.length_bins[side] == length] for side in (ours, theirs)]
        n = min(map(len, of_length))
        for kept, side in zip(chosen, of_length, strict=True):
            kept.append(side[:n])
    return np.concatenate(chosen[0]), np.concatenate(chosen[1])


def _measured(measure: Measure, rows: Rows, ours: Array, theirs: Array) -> dict[str, Any]:
    chance = _permuted(measure, rows, ours, theirs)
    mean, deviation = float(chance.mean()), float(chance.std())
    raw = measure.of(rows, ours, theirs)
    value = measure.from_chance(raw, mean)
    spread = 1.96 * _spread(measure, rows, ours, theirs) / (mean if measure.like_real and mean else 1.0)
    return {
        "value": round(value, 4),
        "low": round(value - spread, 4),
        "high": round(value + spread, 4),
        "warn": measure.warn,
        "fail": measure.fail,
        "rows": len(ours),
        "verdict": _verdict(measure, value, abs(raw - mean) > _SURE * max(deviation, 1e-9)),
    }


def _verdict(measure: Measure, value: float, is_sure: bool) -> str:
    if not is_sure:
        return "ok"
    return "fail" if measure.is_past(value, measure.fail) else "warn" if measure.is_past(value, measure.warn) else "ok"


def _permuted(measure: Measure, rows: Rows, ours: Array, theirs: Array) -> Array:
    """The values when it is drawn anew which rows are generated."""
    draw, both = np.random.default_rng(3), np.concatenate([ours, theirs])
    values = []
    for _ in range(_PERMUTATIONS):
        mixed = draw.permutation(both)
        values.append(measure.of(rows, mixed[: len(ours)], mixed[len(ours) :]))
    return np.array(values)


def _spread(measure: Measure, rows: Rows, ours: Array, theirs: Array) -> float:
    """The standard error, from random halves of both sides (delete-half jackknife, Shao and Wu, 1989).

    A bootstrap would draw rows twice, and a row drawn twice looks like a duplicate.
    """
    draw, half = np.random.default_rng(4), len(ours) // 2
    halves = [measure.of(rows, draw.permutation(ours)[:half], draw.permutation(theirs)[:half]) for _ in range(_HALVES)]
    return float(np.std(halves))
