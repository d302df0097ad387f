"""How many lost replicas a run replaces."""

from __future__ import annotations


class Replacements:
    """Replicas that were lost and replaced, of all pools: at most `limits.engine_replacements`."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0

    @property
    def are_left(self) -> bool:
        return self._used <= self._limit

    def take(self) -> bool:
        """Count one; returns whether there was one left."""
        self._used += 1
        return self.are_left
