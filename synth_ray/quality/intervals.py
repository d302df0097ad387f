"""95 % intervals: Wilson's for shares, and the percentile bootstrap for everything else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DRAWS = 1_000
_Z_95 = 1.959963984540054


def wilson(n: int, of: int) -> tuple[float, float]:
    """The interval of a share n / of (Wilson, 1927); (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    share, z2 = n / of, _Z_95**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z_95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return max(0.0, centre - half) if n else 0.0, min(1.0, centre + half) if n < of else 1.0


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
