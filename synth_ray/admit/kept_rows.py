"""What admission remembers of the rows that it kept."""

from __future__ import annotations

from dataclasses import dataclass

from synth_ray.admit.guard import SplitLeakGuard
from synth_ray.admit.labels import LabelConflicts
from synth_ray.dedup.index import Index
from synth_ray.dedup.stores import Stores
from synth_ray.job.dedup import Dedup


@dataclass(frozen=True, slots=True)
class KeptRows:
    """The duplicate index, the split-leak guard over the same stores, and for labelled rows their labels."""

    index: Index
    guard: SplitLeakGuard
    labels: LabelConflicts | None = None

    @classmethod
    def empty(cls, dedup: Dedup, stores: Stores | None = None, *, fills: bool = True, asks: bool = True) -> KeptRows:
        """Without a row yet. `stores` is where they will be; `fills` and `asks` are the guard's."""
        index = Index(dedup, stores=stores)
        return cls(index, SplitLeakGuard(index.stores, fills=fills, asks=asks))
