"""The seam to whoever does the work: replicas that ask, workers that stage. Calls never wait; news comes as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import JournalledAnswers
from synth_ray.dedup.index import Shards
from synth_ray.records import Request


@dataclass(frozen=True, slots=True)
class ReplicaReady:
    """A replica is up: by role, what it is."""

    replica: int
    facts: Mapping[str, TeacherFacts]


@dataclass(frozen=True, slots=True)
class ReplicaAnswered:
    """A replica finished requests."""

    replica: int
    answered: Sequence[AnsweredRows]
    load: Mapping[str, Load] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaReturned:
    """A replica hands back requests it had not begun, by chunk and position; it will not answer them."""

    replica: int
    requests: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ReplicaDraining:
    """A replica's machine is about to be taken away: it answers what it has begun, and takes nothing more."""

    replica: int


@dataclass(frozen=True, slots=True)
class ReplicaLost:
    """A replica is gone, with everything it was asked. `replaced` says whether another is starting.

    `handed_back`: its machine was taken away in order, so nothing it was asked is to blame.
    """

    replica: int
    cause: str
    replaced: bool
    drained: bool = False


@dataclass(frozen=True, slots=True)
class ChunkStaged:
    """A chunk is committed; from here on it is never asked again."""

    chunk: int
    rows: int
    took_s: float


@dataclass(frozen=True, slots=True)
class StageFailed:
    """Staging broke; the driver may hand the chunk to another worker. `fatal` means no worker could do better."""

    chunk: int
    cause: str
    fatal: bool


Event = ReplicaReady | ReplicaAnswered | ReplicaReturned | ReplicaDraining | ReplicaLost | ChunkStaged | StageFailed


MAX_ISOLATION_DEATHS = 6
"""Deaths in a row, without an answer between them, after which a hunt for a request that kills engines excuses no more."""


class Pool(Protocol):
    """Workers of one run. `open` starts them; replicas announce themselves by TeacherReady.

    `stage` is given the answered batches of a whole chunk and what the commit record should say of it. `events`
    waits until something happened or `wait_s` passed. `close` ends every process the pool started, and no other.
    """

    def open(self) -> None: ...

    def shards(self) -> Shards | None:
        """The index's shards, started; None where the driver keeps the index itself. May be called before `open`."""
        ...

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None: ...

    def withdraw(self, replica: int, limit: int) -> None:
        """Ask the replica to hand back up to so many requests it has not begun: told by one TeacherReturned, be it empty."""
        ...

    def release(self, replica: int) -> None:
        """End this replica: it holds nothing and nothing is left for it. No event follows."""
        ...

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> None: ...

    def drop_journal(self, chunk: int) -> None:
        """Tell every replica that the chunk is committed: their journals drop it."""
        ...

    def stage_capacity(self) -> int:
        """How many more chunks may be handed to `stage` now."""
        ...

    def set_isolating(self, replica: int, *, on: bool) -> None:
        """Whether this replica is asked requests that are suspected of killing engines: its death then counts less."""
        ...

    def events(self, wait_s: float) -> list[Event]: ...

    def close(self) -> None: ...
