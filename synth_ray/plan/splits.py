"""Which split a lineage belongs to: a function of the lineage alone, or of its position in its stratum. It never changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

from synth_ray.records import SPLITS

_MAX_OFFSET = 1000
_ROUNDING = 1e-9


def split_of(lineage: str, fractions: Mapping[str, float], *, salt: str) -> str:
    """The split of a lineage. `fractions` are relative; a split without a share gets none."""
    shares = [(name, fractions.get(name, 0.0)) for name in SPLITS]
    total = sum(share for _, share in shares)
    place = int.from_bytes(blake2b(f"{salt}\0{lineage}".encode(), digest_size=8).digest(), "big") / 2**64 * total
    reached = 0.0
    for name, share in shares:
        reached += share
        if place < reached:
            return name
    return next(name for name, share in reversed(shares) if share > 0)


class StratifiedSplits:
    """Assigns splits in turn within each stratum, so that rare values are in every split too.

    Law: among the first n lineages of a stratum, for any n, each split has its share to within two. The order is Tijdeman's (The
    chairman assignment problem, 1980), which stays within one; each stratum starts at its own position in it, since otherwise
    every small stratum would go to the same split.
    """

    def __init__(self, fractions: Mapping[str, float], *, salt: str) -> None:
        total = sum(fractions.get(name, 0.0) for name in SPLITS)
        self._shares = {name: fractions[name] / total for name in SPLITS if fractions.get(name, 0.0) > 0}
        self._salt = salt
        self._counts: dict[str, Counter[str]] = {}

    def next_split(self, stratum: str) -> str:
        counts = self._counts.get(stratum)
        if counts is None:
            counts = self._counts[stratum] = Counter()
            name = blake2b(f"{self._salt}\0{stratum}".encode(), digest_size=8).digest()
            for _ in range(int.from_bytes(name, "big") % _MAX_OFFSET):
                self._choose_split(counts)
        return self._choose_split(counts)

    def _choose_split(self, counts: Counter[str]) -> str:
        n, tolerance = counts.total() + 1, 1 / max(1, 2 * len(self._shares) - 2)
        due = [name for name, share in self._shares.items() if share * n - counts[name] >= tolerance - _ROUNDING]
        chosen = (
            min(due, key=lambda name: (counts[name] + 1 - tolerance) / self._shares[name]) if due else next(iter(self._shares))
        )
        counts[chosen] += 1
        return chosen
