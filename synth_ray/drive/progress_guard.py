"""When a run makes no progress though there is work: pure, and told the time by its clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum

_MOST_BETWEEN_LOOKS_S = 30.0
"""What counts at most of the time between two looks: in a longer one the driver itself was busy, or its process was stopped."""


class Stall(Enum):
    """What to do about holders of work that make nothing of it."""

    NONE = "nothing"
    REPLACE = "replace them"
    STOP = "stop"


class ProgressGuard:
    """Law: a stall is `patience_s` without progress in which, at each look, someone held work. The first is answered by replacing
    who holds it; one that follows without any progress between, or comes when `replacements` were used, by a stop.
    """

    def __init__(self, clock: Callable[[], float], *, replacements: int) -> None:
        self._clock, self._replacements = clock, replacements
        self._seen: Hashable = None
        self._looked_at = clock()
        self._has_replaced = False
        self.silent_s = 0.0
        """How long there was work, and no progress."""

    def look(self, progress: Hashable, *, is_held: bool, patience_s: float) -> Stall:
        """`progress`: counts that change with every piece of work that ends. Without patience (0) nothing is ever a stall."""
        now = self._clock()
        since, self._looked_at = min(now - self._looked_at, _MOST_BETWEEN_LOOKS_S), now
        if progress != self._seen:
            self._seen, self._has_replaced, self.silent_s = progress, False, 0.0
            return Stall.NONE
        self.silent_s = self.silent_s + since if is_held else 0.0
        if not patience_s or self.silent_s < patience_s:
            return Stall.NONE
        self.silent_s = 0.0
        if self._has_replaced or not self._replacements:
            return Stall.STOP
        self._has_replaced, self._replacements = True, self._replacements - 1
        return Stall.REPLACE
