"""Counts how slots ended, by split, class, teacher and recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from synth_ray.quality.value_counts import MAX_VALUES, NONE, Array, ValueCounts, Values
from synth_ray.records import Verdict

SHOWN_VALUES = 200

Outcome = tuple[str, str]
"""(verdict, reason); an accepted row has an empty reason."""


class FunnelCounts:
    """Law: every dimension adds up to the slots that were counted; the result does not depend on their order.

    Up to MAX_VALUES distinct values of a dimension are counted each; of more, as many are drawn by their hashes and the others
    are counted together. The SHOWN_VALUES most frequent are shown, the rest under "(other)"; a slot without a value is "(none)".
    """

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self._max_values = max_values
        self._dimensions: dict[str, ValueCounts] = {}

    def add(self, dimension: str, values: Values, outcomes: Array, names: Sequence[Outcome]) -> None:
        """A value of one dimension for each slot, null for none, and how the slot ended: a position in `names`."""
        counts = self._dimensions.setdefault(dimension, ValueCounts(self._max_values))
        counts.add_all(values, outcomes, names, missing=NONE)

    def merge(self, other: FunnelCounts) -> None:
        for dimension, counts in other._dimensions.items():
            self._dimensions.setdefault(dimension, ValueCounts(self._max_values)).merge(counts)

    def summary(self) -> dict[str, list[dict[str, Any]]]:
        """The manifest's `funnel`."""
        return {
            dimension: [_entry(value, outcomes) for value, outcomes in counts.commonest(SHOWN_VALUES)]
            for dimension, counts in self._dimensions.items()
        }


def _entry(value: str, outcomes: Counter[Outcome]) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": value, "accepted": 0, "rejected": {}, "failed": {}}
    for (verdict, reason), n in sorted(outcomes.items()):
        if verdict == Verdict.ACCEPTED.value:
            entry["accepted"] += n
        else:
            entry[verdict][reason] = n
    return entry
