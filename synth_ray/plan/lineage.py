"""Which split a seed is in: one of a group that was placed goes where the group is, and one that would join two is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupSplit:
    """Where a lineage ended up. `lineage` names its whole group; `reserved` groups belong to real evaluation rows."""

    lineage: str
    split: str
    is_reserved: bool = False


class Lineages:
    """Law: lineages that were ever joined are in one split, and no placed lineage moves."""

    def __init__(self) -> None:
        self._places: dict[str, GroupSplit] = {}

    def place(self, lineage: str, near: Iterable[str], split: Callable[[], str], *, reserved: bool = False) -> GroupSplit | None:
        """The place of a lineage that is near others, all placed before; `split` draws one for a new group.

        None when it would join groups of two splits. A reserved lineage is never refused: it goes with the first.
        """
        known = [self._places[name] for name in dict.fromkeys((lineage, *near)) if name in self._places]
        if not reserved and len({(place.split, place.is_reserved) for place in known}) > 1:
            return next((place for place in known if place.is_reserved), None)
        group = known[0] if known else GroupSplit(lineage, split(), reserved)
        return self._places.setdefault(lineage, group)
