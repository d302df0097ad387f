"""The seam to the workers: replicas that ask, stagers that stage. Calls never wait; results arrive as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import JournalledAnswers
from synth_ray.records import Request

if TYPE_CHECKING:  # numba is a second of processor time in every process of a replica
    from synth_ray.dedup.stores import Stores


@dataclass(frozen=True, slots=True)
class ReplicaReady:
    """A replica is up, with the facts of each role that has its engine there. `role` names the pool it belongs to: `teacher`, or
    that of a role whose engines are a pool of their own.
    """

    replica: int
    facts: Mapping[str, TeacherFacts]
    role: str = "teacher"


@dataclass(frozen=True, slots=True)
class ReplicaAnswered:
    """What a replica has finished since it last told, which may be nothing, and how busy it is."""

    replica: int
    answered: Sequence[AnsweredRows]
    load: Mapping[str, Load] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaReturned:
    """A replica returns requests it had not started, as (chunk, position); it will not answer them."""

    replica: int
    requests: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ReplicaDraining:
    """A replica finishes what it has started, and takes nothing more: its node is about to go, or other jobs need its place."""

    replica: int


@dataclass(frozen=True, slots=True)
class ReplicaStarting:
    """A teacher replica starts that the driver did not ask for: in place of one whose node is about to go, or because the job's
    share of the cluster has grown.
    """

    replica: int


@dataclass(frozen=True, slots=True)
class ReplicaPhase:
    """What a replica that starts is doing: see `ask.engine_start`."""

    replica: int
    phase: str
    role: str = "teacher"


@dataclass(frozen=True, slots=True)
class DriverDraining:
    """The node of the driver itself is about to go, in this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReplicaLost:
    """A replica is gone, with everything it had in flight. `replaced` says whether another is starting.

    `drained`: it, or its node, was taken away in order, so no request is suspected. `gave_way`: to another job of the cluster.
    """

    replica: int
    cause: str
    replaced: bool
    drained: bool = False
    gave_way: bool = False
    role: str = "teacher"


@dataclass(frozen=True, slots=True)
class RoleLoad:
    """How busy a replica of a role's pool is, and how many asks it has answered since it started."""

    replica: int
    load: Load
    answered: int


@dataclass(frozen=True, slots=True)
class AsksRefused:
    """The service refuses every ask of a replica, and would refuse another replica's: see `errors.ServiceRefused`."""

    replica: int
    cause: str


@dataclass(frozen=True, slots=True)
class ChunkCommitted:
    """A chunk is committed; from here on it is never asked again."""

    chunk: int


@dataclass(frozen=True, slots=True)
class StageFailed:
    """Staging failed, and no other worker could do better."""

    chunk: int
    cause: str


Event = (
    ReplicaReady
    | ReplicaAnswered
    | ReplicaReturned
    | ReplicaDraining
    | DriverDraining
    | ReplicaStarting
    | ReplicaPhase
    | ReplicaLost
    | RoleLoad
    | AsksRefused
    | ChunkCommitted
    | StageFailed
)


MAX_ISOLATION_DEATHS = 6
"""Consecutive deaths during isolation that do not count against `limits.engine_replacements`."""


class Pool(Protocol):
    """The workers of one run. `open` starts them; replicas announce themselves by ReplicaReady. Numbers of replicas are unique
    over all pools. Where roles have pools of their own (`Job.pooled_models`), every teacher replica is told of their replicas.

    `stage` takes the answered batches of a whole chunk and facts for its commit record. `events` waits until something happened
    or `wait_s` passed. `close` ends every process the pool started, and no other.
    """

    def open(self) -> None: ...

    def shards(self) -> Stores | None:
        """The memory of admission in shards, started; None where the driver keeps it itself. May be called before `open`."""
        ...

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None: ...

    def withdraw(self, replica: int, limit: int) -> None:
        """Ask the replica to return up to `limit` requests it has not started: answered by one ReplicaReturned, which may be
        empty.
        """
        ...

    def release(self, replica: int) -> None:
        """End this replica: it has nothing in flight and nothing is left for it. No event follows."""
        ...

    def start(self, role: str) -> None:
        """Start another replica: of the teacher's, or of a role's pool."""
        ...

    def retire(self, replica: int) -> None:
        """End this replica of a role's pool once it has answered what it was asked: answered by a ReplicaLost that is drained."""
        ...

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> None: ...

    def drop_journal(self, chunk: int) -> None:
        """Tell every replica to drop the journal of a committed chunk."""
        ...

    def stage_capacity(self) -> int:
        """How many more chunks `stage` takes now."""
        ...

    def stagers(self) -> Mapping[int, Sequence[int]]:
        """The chunks that each stager has, by its number."""
        ...

    def can_replace(self) -> bool:
        """Whether replicas and stagers can be replaced now. Where they cannot for long, `events` raises."""
        ...

    def replace(self, replica: int, cause: str) -> None:
        """End this replica of any pool, which makes nothing of what it has, and start another: answered by a ReplicaLost. That
        counts as no replacement. One of the teacher's is drained, and a ReplicaStarting tells of its successor.
        """
        ...

    def replace_stager(self, stager: int, cause: str) -> None:
        """End this stager, and start another. Its chunks are staged again."""
        ...

    def set_isolating(self, replica: int, *, on: bool) -> None:
        """Whether this replica's requests are poison suspects: its death then does not count as a replacement, up to
        MAX_ISOLATION_DEATHS in a row.
        """
        ...

    def events(self, wait_s: float) -> list[Event]: ...

    def close(self) -> None: ...
