"""The counts of a run: the numbers behind the progress line, the limits and the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

Cause = tuple[str, str]
"""Reason and detail of a slot that failed."""

PUBLISHING = "publishing the dataset"
"""The stage in which the last files, the card and the report are written."""

_MAX_CAUSES = 100


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """A replica at one moment: sequences that run and wait in its engine, and the tokens it has generated since it started."""

    role: str
    running: int
    waiting: int
    completion_tokens: int = 0


@dataclass(slots=True)
class Tally:
    """Counts that add up: `accepted + rejected + failed` is the slots of the admitted chunks, and `committed_tokens` is what they
    cost. `tokens` is what this run has spent, committed or not.

    What is wanted: `requests_planned` of a plan of fixed length, or `rows_wanted` of one that goes on to a target; None where it
    is not known. `requests_done` and `slots_done` were answered in this run. Earlier runs of the output committed
    `requests_earlier`; `slots_earlier` are the slots of those among the admitted chunks. `usd` and `replica_s` are of
    all runs; `usd` is None where the job names no price. `replicas` are the teacher's; `pools` are those of roles with pools of
    their own, of which `pools_starting` and `pools_lost` are not up yet, or no more; `replicas_lost` has those as well. `phases`
    tell of the replicas that start, by number, their role and what they are doing, where it is known (`ask.engine_start`).
    Chunks: `chunks_earlier` were committed by earlier runs; `chunks_planned` and `chunks_committed` are this run's, and
    `chunks_admitted` are of all. `queued` requests are planned, and no replica has them. `seconds` say where this run's time
    went (`waits.Wait`). `stage` is what the run does once everything is admitted, empty before. `KEEPS`: counts of the admitted
    chunks.
    """

    KEEPS: ClassVar[tuple[str, ...]] = (
        "accepted",
        "rejected",
        "failed",
        "failure_causes",
        "pii",
        "committed_tokens",
        "attempts",
    )

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    failure_causes: Counter[Cause] = field(default_factory=Counter)
    pii: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    committed_tokens: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    stage: str = ""
    requests_planned: int | None = None
    requests_earlier: int = 0
    requests_done: int = 0
    rows_wanted: int | None = None
    slots_done: int = 0
    slots_earlier: int = 0
    usd: float | None = None
    replica_s: float = 0.0
    replicas: int = 0
    replicas_starting: int = 0
    replicas_lost: int = 0
    phases: dict[int, tuple[str, str]] = field(default_factory=dict)
    pools: dict[str, int] = field(default_factory=dict)
    pools_starting: dict[str, int] = field(default_factory=dict)
    pools_lost: Counter[str] = field(default_factory=Counter)
    replica_loads: dict[int, ReplicaLoad] = field(default_factory=dict)
    chunks_earlier: int = 0
    chunks_planned: int = 0
    chunks_committed: int = 0
    chunks_admitted: int = 0
    in_flight: int = 0
    queued: int = 0
    seconds: Counter[str] = field(default_factory=Counter)
    index_bytes: int = 0
    buffered_bytes: int = 0

    @property
    def slots(self) -> int:
        """Slots of the admitted chunks."""
        return self.accepted + self.rejected.total() + self.failed.total()


def count_causes(causes: Counter[Cause], more: Iterable[Cause] | dict[Cause, int]) -> None:
    """Count more failures. Their details are few in practice; where each has its own, the first hundred stand for all."""
    if len(causes) < _MAX_CAUSES:
        causes.update(more)


def commonest(causes: Counter[Cause]) -> str:
    """The commonest cause, as 'engine_error (HTTP 400)'."""
    reason, detail = max(causes, key=lambda cause: (causes[cause], cause))
    return f"{reason} ({detail})" if detail else reason
