"""Whether generated rows are narrower than real ones: every measure, with an interval, chance and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit  # scipy.stats would take half a second of each command's start

from synth_ray.quality.measures import MEASURES, Measure
from synth_ray.quality.rows import Rows
from synth_ray.quality.subsets import PERMUTATIONS, Array, Sides

MIN_ROWS = 50
MAX_ROWS = 1_500
"""Rows of each side: with more, measuring would take more than a twentieth of a job that asks no model."""

FALSE_ALARMS = 0.005
"""Of all measures of one comparison together, where both sides are rows of one kind: half of what is promised, since permutations
are only nearly normal."""

_TOGETHER = 32


def compare(generated: Sequence[str], real: Sequence[str], *, vectors: Array | None = None) -> dict[str, Any]:
    """Every measure by name; empty where one side has fewer than MIN_ROWS texts, and without the measures of rows of equal length
    where fewer than MIN_ROWS are.

    Of each: `value`, relative to its mean when the rows of both sides are permuted; `low` and `high`, its 95 % interval;
    `warn` and `fail`, the thresholds; and `verdict`. `vectors` are unit embeddings of the generated texts and then the real ones.
    """
    if min(len(generated), len(real)) < MIN_ROWS:
        return {}
    rows = Rows(generated, real, vectors=vectors)
    compared = {"rows": len(rows.equal_numbers[0])} | dict.fromkeys(("matched", "blocks"), len(rows.equal_lengths[0]))
    return {m.name: _measured(m, rows, compared[m.compares]) for m in MEASURES if compared[m.compares] >= MIN_ROWS}


def _measured(measure: Measure, rows: Rows, compared: int) -> dict[str, Any]:
    """The standard error is that of random halves of both sides (delete-half jackknife, Shao and Wu, 1989; subsampling, Politis
    and Romano, 1994). A bootstrap would draw rows twice, and a row drawn twice looks like a duplicate.
    """
    sides, permutations = rows.sides[measure.compares], PERMUTATIONS
    if measure.few is not None:
        sides, permutations = sides.fewer(*measure.few), measure.few[0]
    values = _values(measure, rows, sides)
    raw, chance, halves = float(values[0]), values[1 : 1 + permutations], values[1 + permutations :]
    mean = float(chance.mean())
    value = measure.from_chance(raw, mean)
    spread = 1.96 * float(halves.std()) / (mean if measure.like_real and mean else 1.0)
    return {
        "value": round(value, 4),
        "low": round(value - spread, 4),
        "high": round(value + spread, 4),
        "warn": measure.warn,
        "fail": measure.fail,
        "rows": compared,
        "verdict": _verdict(measure, value, _is_beyond_chance(measure, raw, chance)),
        "meaning": measure.meaning,
    }


def _values(measure: Measure, rows: Rows, sides: Sides) -> Array:
    """Some subsets at a time, which bounds the memory."""
    starts = range(0, len(sides.ours), _TOGETHER)
    return np.concatenate([measure.of(rows, sides.part(start, start + _TOGETHER)) for start in starts]).astype(np.float64)


def _is_beyond_chance(measure: Measure, raw: float, chance: Array) -> bool:
    """Whether the permutations would hardly ever be as far on the narrower side: Student's prediction interval with Bonferroni's
    correction for the number of measures, and Cornish and Fisher's (1938) for a longer tail on that side.
    """
    quantile = float(stdtrit(len(chance) - 1, 1 - FALSE_ALARMS / len(MEASURES)))
    direction = 1 if measure.is_worse_above else -1
    deviation = max(float(chance.std(ddof=1)), 1e-9)
    skewness = float((((chance - chance.mean()) * direction / deviation) ** 3).mean())
    quantile += max(0.0, skewness) * (quantile**2 - 1) / 6
    return bool((raw - chance.mean()) * direction > quantile * deviation * np.sqrt(1 + 1 / len(chance)))


def _verdict(measure: Measure, value: float, is_beyond_chance: bool) -> str:
    if not is_beyond_chance:
        return "ok"
    return "fail" if measure.is_past(value, measure.fail) else "warn" if measure.is_past(value, measure.warn) else "ok"
