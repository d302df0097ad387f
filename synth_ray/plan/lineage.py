"""The split of each lineage: a lineage near a placed group joins it; one near groups of different splits is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupSplit:
    """The split of a lineage. `lineage` names its whole group; a group with `is_reserved` belongs to real evaluation rows."""

    lineage: str
    split: str
    is_reserved: bool = False


class Lineages:
    """Law: lineages that were ever joined are in one split, and a placed lineage never moves."""

    def __init__(self) -> None:
        self._places: dict[str, GroupSplit] = {}

    def place(self, lineage: str, near: Iterable[str], split: Callable[[], str], *, reserved: bool = False) -> GroupSplit | None:
        """Place a lineage and return its group. `near` are similar lineages; `split` draws the split of a new group.

        A lineage near groups of different splits is not placed: returns the reserved group among them, else None. A reserved
        lineage is always placed: it joins the first group.
        """
        known = [self._places[name] for name in dict.fromkeys((lineage, *near)) if name in self._places]
        if not reserved and len({(place.split, place.is_reserved) for place in known}) > 1:
            return next((place for place in known if place.is_reserved), None)
        group = known[0] if known else GroupSplit(lineage, split(), reserved)
        return self._places.setdefault(lineage, group)
