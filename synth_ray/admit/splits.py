"""Which split a lineage belongs to: a function of the lineage alone, so that it never moves."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from synth_ray.records import SPLITS


def split_of(lineage: str, fractions: Mapping[str, float], *, salt: str) -> str:
    """The split of a lineage. `fractions` are relative shares; a split without a share gets nothing."""
    shares = [(name, fractions.get(name, 0.0)) for name in SPLITS]
    whole = sum(share for _, share in shares)
    place = int.from_bytes(blake2b(f"{salt}\0{lineage}".encode(), digest_size=8).digest(), "big") / 2**64 * whole
    reached = 0.0
    for name, share in shares:
        reached += share
        if place < reached:
            return name
    return next(name for name, share in reversed(shares) if share > 0)
