"""The parameters of MinHash and LSH, taken from datasketch at run time. The only file that imports datasketch.

datasketch is the definition: its `MinHash` draws the permutations, its `MinHashLSH` chooses the banding. It is imported where
it is first needed, because it brings scipy: 0.2 to 0.4 s and 45 MB in each process.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from synth_ray.dedup.hashing import U32, Array
from synth_ray.errors import SynthRayError
from synth_ray.job.dedup import Dedup

SCHEME = "affine32"
WEIGHTS = (0.001, 0.999)
"""Weights of a false positive and a false negative for `MinHashLSH`: candidates are verified, so a false positive costs only
time.

At threshold 0.8 with 128 permutations, false-positive weights from 0.0004 to 0.0024 all give 21 × 6; this is the middle.
"""
HIGHEST_THRESHOLD = 0.99
"""Higher thresholds use the banding of this one: at 1 `MinHashLSH` would choose a single band, and refuses it."""


class Banding(NamedTuple):
    """Bands of a signature, and permutations per band."""

    bands: int
    rows_per_band: int


def permutations(count: int, seed: int) -> tuple[Array, Array]:
    """Multipliers (odd) and offsets, uint32, of `datasketch.MinHash(num_perm=count, seed=seed, scheme="affine32")`.

    Raises SynthRayError where the installed datasketch does not have them in this form.
    """
    from datasketch import MinHash

    pair = getattr(MinHash(num_perm=count, seed=seed, scheme=SCHEME), "permutations", None)
    if not isinstance(pair, np.ndarray) or pair.dtype != U32 or pair.shape != (2, count):
        got = f"{pair.dtype} of shape {pair.shape}" if isinstance(pair, np.ndarray) else type(pair).__name__
        raise SynthRayError(
            f"datasketch {version('datasketch')}: wanted MinHash.permutations as uint32 of shape (2, {count}), got {got}; "
            "install the version of requirements/cpu.lock"
        )
    return pair[0].copy(), pair[1].copy()


@lru_cache(maxsize=64)
def choose_banding(threshold: float, count: int) -> Banding:
    """The banding that `datasketch.MinHashLSH` chooses for a Jaccard threshold and `count` permutations, with WEIGHTS.

    Takes 0.03 s for 128 permutations, 0.1 s for 256. Raises SynthRayError where the installed datasketch does not report it.
    """
    from datasketch import MinHashLSH

    chosen = MinHashLSH(threshold=min(threshold, HIGHEST_THRESHOLD), num_perm=count, weights=WEIGHTS)
    bands, rows = getattr(chosen, "b", None), getattr(chosen, "r", None)
    if not isinstance(bands, int) or not isinstance(rows, int):
        raise SynthRayError(
            f"datasketch {version('datasketch')}: wanted MinHashLSH.b and .r as numbers, got {bands!r} and {rows!r}; install the "
            "version of requirements/cpu.lock"
        )
    return Banding(bands, rows)


def banding_of(dedup: Dedup) -> Banding:
    """The job's banding: its own numbers; with one of them given, as many of the other as the permutations allow; else
    datasketch's.
    """
    bands, rows = dedup.bands, dedup.rows_per_band
    if bands is None and rows is None:
        return choose_banding(dedup.threshold, dedup.permutations)
    if bands is None:
        assert rows is not None
        return Banding(dedup.permutations // rows, rows)
    return Banding(bands, dedup.permutations // bands if rows is None else rows)


def resolve_banding(dedup: Dedup) -> Dedup:
    """The section with its banding resolved to numbers, which digests, staged chunks and snapshots are made with."""
    return dedup.model_copy(update=banding_of(dedup)._asdict())


def recall(banding: Banding, similarity: float) -> float:
    """Probability that two texts of this Jaccard similarity share a band, and so are compared exactly."""
    return 1.0 - (1.0 - similarity**banding.rows_per_band) ** banding.bands
