"""The counts of a run: the numbers behind the progress line, the limits and the manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts that add up: `accepted + rejected + failed` is the slots of the admitted chunks, and `committed_tokens` is what they
    cost. `tokens` is what this run has spent, committed or not.
    """

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    pii: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    committed_tokens: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    requests_done: int = 0
    replicas: int = 0
    replicas_lost: int = 0
    chunks_planned: int = 0
    chunks_admitted: int = 0
    in_flight: int = 0
    index_bytes: int = 0
    buffered_bytes: int = 0

    @property
    def slots(self) -> int:
        """Slots of the admitted chunks."""
        return self.accepted + self.rejected.total() + self.failed.total()
