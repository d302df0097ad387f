"""The pool on Ray: starts a local Ray or joins a cluster, and turns object references into events."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray.ask.worker import JournalledAnswers
from synth_ray.cluster.actors import TeacherActor
from synth_ray.cluster.draining import DrainTracker
from synth_ray.cluster.ending import to_synth_ray_error
from synth_ray.cluster.index import RayShards
from synth_ray.cluster.placement import release_group, start_replica
from synth_ray.cluster.ray_session import start_ray
from synth_ray.cluster.request_tuples import requests_to_tuples
from synth_ray.cluster.roles import RayRoles
from synth_ray.cluster.stagers import RayStagers
from synth_ray.dedup.shards import ShardedTable
from synth_ray.errors import JobError, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.records import Request
from synth_ray.workers.pool import (
    MAX_ISOLATION_DEATHS,
    AsksRefused,
    Event,
    ReplicaAnswered,
    ReplicaDraining,
    ReplicaLost,
    ReplicaReady,
    ReplicaReturned,
)

log = logging.getLogger(__name__)

_COLLECT_WAIT_S = 0.5
_BACKOFF_S = 1.0


class RayPool:
    """See `workers.pool.Pool`.

    A lost replica is replaced after a pause that grows while none answers, `limits.engine_replacements` times in all. A replica
    on a draining node finishes the requests it has started and returns the rest; its successor starts on another node at once and
    does not count as a replacement.
    """

    def __init__(self, job: Job, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._clock = clock
        self._started_ray = False
        self._shards: RayShards | None = None
        self._replicas: dict[int, Any] = {}
        self._stagers = RayStagers(job)
        self._refs: dict[Any, tuple[str, Any]] = {}
        self._restarts_due: list[tuple[float, int]] = []
        self._replacements = 0
        self._consecutive_deaths = 0
        self._isolating: set[int] = set()
        self._closing: dict[Any, tuple[Any, Any]] = {}
        self._groups: dict[int, Any] = {}
        self._draining = DrainTracker(clock)
        self._numbers = count()
        self._ready: set[int] = set()
        self._roles = RayRoles(
            job,
            clock=clock,
            numbers=self._numbers,
            may_replace=self._may_replace,
            on_change=self._tell_of_pools,
        )

    def open(self) -> None:
        self._start_ray()
        # Stagers first: replicas may wait for nodes that do not exist yet, and must not take the stagers' places.
        self._stagers.open()
        for _ in range(self._job.cluster.first_teachers):
            self.start("teacher")
        for role in self._job.pooled_models:
            for _ in range(self._job.cluster.judges):
                self.start(role)

    def start(self, role: str) -> None:
        if role == "teacher":
            self._start_replica(next(self._numbers))
        else:
            self._roles.start(role)

    def retire(self, replica: int) -> None:
        self._roles.retire(replica)

    def _tell_of_pools(self) -> None:
        told = [self._replicas[number] for number in self._ready if number in self._replicas]
        for role in self._job.pooled_models:
            for actor in told:
                actor.set_pool.remote(role, self._roles.replicas(role), self._roles.retired, len(told))

    def _may_replace(self) -> bool:
        self._replacements += 1
        return self._replacements <= self._job.limits.engine_replacements

    def shards(self) -> ShardedTable | None:
        cluster = self._job.cluster
        if not cluster.index_shards:
            return None
        self._start_ray()
        nodes = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        if not cluster.index_folder and len(nodes) > 1:
            raise JobError(
                f"cluster.index_folder: wanted a folder that every node sees, got none and {len(nodes)} machines; "
                "name a shared folder, or set cluster.index_shards: 0"
            )
        folder = cluster.index_folder or tempfile.mkdtemp(prefix="synth-ray-index-")
        self._shards = RayShards(cluster.index_shards, folder=folder, cap=self._job.dedup.bucket_cap)
        return ShardedTable(self._shards)

    def _start_ray(self) -> None:
        self._started_ray = start_ray(self._job.cluster) or self._started_ray

    def _start_replica(self, replica: int) -> None:
        actor, self._groups[replica] = start_replica(TeacherActor, self._job)
        self._replicas[replica] = actor
        self._refs[actor.open.remote()] = ("open", replica)

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None:
        actor = self._replicas.get(replica)
        # For a replica that is lost or draining nothing is submitted: the driver is about to get the event and asks elsewhere.
        if actor is not None and replica not in self._draining:
            self._draining.add_in_flight(replica, len(requests))
            actor.submit.remote(requests_to_tuples(requests), dict(journalled))

    def withdraw(self, replica: int, limit: int) -> None:
        actor = self._replicas.get(replica)
        if actor is not None:
            self._refs[actor.withdraw.remote(limit)] = ("withdraw", replica)

    def release(self, replica: int) -> None:
        """The replica's process ends cleanly; its remaining calls are ignored."""
        actor = self._replicas.pop(replica, None)
        self._draining.forget(replica)
        self._forget_client(replica)
        if actor is None:
            return
        is_up = ("open", replica) not in self._refs.values()
        self._refs = {ref: call for ref, call in self._refs.items() if call[1] != replica}
        if is_up:
            self._closing[actor.close.remote()] = (actor, self._groups.pop(replica))
        else:
            self._kill(actor, self._groups.pop(replica))

    def _forget_client(self, replica: int) -> None:
        if replica in self._ready:
            self._ready.discard(replica)
            self._tell_of_pools()

    def _kill(self, actor: Any, group: Any) -> None:
        ray.kill(actor)
        release_group(group)

    def set_isolating(self, replica: int, *, on: bool) -> None:
        (self._isolating.add if on else self._isolating.discard)(replica)

    def drop_journal(self, chunk: int) -> None:
        for actor in self._replicas.values():
            actor.drop_journal.remote(chunk)

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> None:
        self._stagers.stage((chunk, list(batches), dict(facts)))

    def stage_capacity(self) -> int:
        return self._stagers.capacity()

    def _reap_closed(self, wait_s: float) -> None:
        """Wait until released replicas have written their journals, then end their processes, which frees their machines."""
        ended, _ = ray.wait(list(self._closing), num_returns=len(self._closing), timeout=wait_s)
        for ref in ended if wait_s == 0 else list(self._closing):
            self._kill(*self._closing.pop(ref))

    def events(self, wait_s: float) -> list[Event]:
        self._replace_due()
        if self._closing:
            self._reap_closed(0)
        self._roles.tick()
        if leaving := self._handle_drains():
            return leaving
        refs = [*self._refs, *self._roles.refs, *self._stagers.refs]
        if not refs:
            time.sleep(min(wait_s, 0.1))
            return []
        ready, _ = ray.wait(refs, num_returns=1, timeout=wait_s)
        if ready:
            more, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            ready = more or ready
        return [event for ref in ready for event in self._events_of(ref)]

    def _events_of(self, ref: Any) -> list[Event]:
        if ref in self._roles.refs:
            return self._roles.events_of(ref)
        if ref in self._stagers.refs:
            return self._stagers.events_of(ref)
        kind, number = self._refs.pop(ref)
        if number not in self._replicas:
            return []  # it was drained and released before this call returned
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, ServiceRefused):
                return [AsksRefused(number, str(error.cause))]
            raise to_synth_ray_error(error) from None
        except RayError as error:
            # Its process or node is gone, or the node that held its reply: in either case the requests must be asked again.
            return [] if kind == "withdraw" else [self._on_death(number, error)]
        if kind == "drain":
            return [self._on_drained(number)]
        if kind == "withdraw":
            self._draining.add_in_flight(number, -len(result))
            return [ReplicaReturned(number, result)]
        self._refs[self._replicas[number].collect.remote(_COLLECT_WAIT_S)] = ("collect", number)
        if kind == "open":
            self._draining.on_placed(number, result[1])
            self._ready.add(number)
            self._tell_of_pools()
            return [ReplicaReady(number, result[0])]
        answered, load = result
        self._draining.add_in_flight(number, -sum(len(rows.positions) for rows in answered))
        self._consecutive_deaths = 0 if answered else self._consecutive_deaths
        return [ReplicaAnswered(number, answered, load)] if answered else []

    def _on_death(self, number: int, error: RayError) -> ReplicaLost:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        if number in self._draining:
            return self._on_drained(number)
        self._draining.forget(number)
        self._forget_client(number)
        # It may be alive but unreachable: two replicas of the same number must not both answer.
        self._kill(self._replicas.pop(number), self._groups.pop(number))
        self._consecutive_deaths += 1
        if number not in self._isolating or self._consecutive_deaths > MAX_ISOLATION_DEATHS:
            self._may_replace()
        self._isolating.discard(number)
        replaced = self._replacements <= self._job.limits.engine_replacements
        log.error("replica %d is gone (%s); %s", number, why, "replacing it" if replaced else "no replacement left")
        if replaced:
            self._restarts_due.append((self._clock() + _BACKOFF_S * 2 ** (self._consecutive_deaths - 1), number))
        return ReplicaLost(number, why, replaced)

    def _handle_drains(self) -> list[Event]:
        noticed = self._draining.new_notices()
        for number in noticed:
            log.warning("replica %d: its node is being taken away; another starts elsewhere", number)
            self._start_replica(next(self._numbers))
        for number in self._draining.due_to_end():
            self._refs[self._replicas[number].flush_for_drain.remote()] = ("drain", number)
        return [ReplicaDraining(number) for number in noticed]

    def _on_drained(self, replica: int) -> ReplicaLost:
        self._draining.forget(replica)
        self._forget_client(replica)
        self._isolating.discard(replica)
        self._kill(self._replicas.pop(replica), self._groups.pop(replica))
        return ReplicaLost(replica, "its node is taken away", replaced=True, drained=True)

    def _replace_due(self) -> None:
        now = self._clock()
        for due, number in [d for d in self._restarts_due if d[0] <= now]:
            self._restarts_due.remove((due, number))
            self._start_replica(number)

    def close(self) -> None:
        if not ray.is_initialized():
            return
        for number in list(self._replicas):
            self.release(number)
        if self._closing:
            self._reap_closed(10)
        self._roles.close(10)
        self._stagers.close()
        if self._shards is not None:
            self._shards.close()
        if self._started_ray:
            ray.shutdown()
