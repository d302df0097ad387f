"""95 % intervals: Wilson's for shares, and the percentile bootstrap for everything else."""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_ray.verify.intervals import wilson

Array = np.ndarray[Any, Any]

DRAWS = 1_000


def rate(wrong: int, rows: int) -> dict[str, Any]:
    """A share of rows with its interval, as the manifest has it."""
    low, high = wilson(wrong, rows)
    share = wrong / rows if rows else 0.0
    return {"rows": rows, "wrong": wrong, "rate": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def drawn_counts(rows: int, *, seed: int) -> Array:
    """How often each row is in each of DRAWS bootstrap samples, rows×DRAWS."""
    drawn = np.random.default_rng(seed).integers(0, rows, (DRAWS, rows))
    places = drawn + np.arange(DRAWS)[:, None] * rows
    counts = np.bincount(places.ravel(), minlength=DRAWS * rows).reshape(DRAWS, rows)
    return np.ascontiguousarray(counts.T, np.float32)


def bounds(values: Array) -> tuple[Array, Array]:
    """The 2.5th and 97.5th percentile over the draws, the last axis."""
    low, high = np.percentile(values, (2.5, 97.5), axis=-1)
    return low, high
