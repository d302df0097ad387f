"""Which split a lineage belongs to: a function of the lineage alone, or of its position in its stratum. It never changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

from synth_ray.records import SPLITS

_ROUNDING = 1e-9


def split_of(lineage: str, fractions: Mapping[str, float], *, salt: str) -> str:
    """The split of a lineage. `fractions` are relative; a split without a share gets none."""
    shares = [(name, fractions.get(name, 0.0)) for name in SPLITS]
    total = sum(share for _, share in shares)
    return _split_at(_draw(f"{salt}\0{lineage}") * total, shares)


def _draw(key: str) -> float:
    """A number of [0, 1) that the key alone decides."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64


def _split_at(place: float, shares: list[tuple[str, float]]) -> str:
    """The split whose share, laid end to end with the others, covers the place."""
    reached = 0.0
    for name, share in shares:
        reached += share
        if place < reached:
            return name
    return next(name for name, share in reversed(shares) if share > 0)


class StratifiedSplits:
    """Assigns splits by lot within each stratum, so that rare values are in every split too, in an order that no file has.

    Law: among the first n lineages of a stratum, for any n, each split has its share to within two. The lots depend on salt,
    stratum and place in the stratum alone: lineages that come later move no earlier one.

    A split that is x rows above its share draws with the probability share × (1 - x), so it never comes to two above. One that
    would be two below is taken without a lot; since the deviations of the three sum to 0, there is only one such at a time. The
    first lineage of a stratum goes to each split with the probability of its share.
    """

    def __init__(self, fractions: Mapping[str, float], *, salt: str) -> None:
        total = sum(fractions.get(name, 0.0) for name in SPLITS)
        self._shares = {name: fractions[name] / total for name in SPLITS if fractions.get(name, 0.0) > 0}
        self._salt = salt
        self._counts: dict[str, Counter[str]] = {}

    def next_split(self, stratum: str) -> str:
        counts = self._counts.setdefault(stratum, Counter())
        n = counts.total()
        above = {name: counts[name] - share * n for name, share in self._shares.items()}
        chosen = next((name for name, share in self._shares.items() if above[name] - share <= _ROUNDING - 2), None)
        if chosen is None:
            chances = [(name, share * max(0.0, 1 - above[name])) for name, share in self._shares.items()]
            lot = _draw(f"{self._salt}\0{n}\0{stratum}")
            chosen = _split_at(lot * sum(chance for _, chance in chances), chances)
        counts[chosen] += 1
        return chosen
