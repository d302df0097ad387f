"""The pool on Ray: starts a local Ray or joins a cluster, and turns object references into events."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

import pyarrow as pa
import ray

from synth_ray.ask.worker import JournalledAnswers
from synth_ray.cluster.capacity import CapacityWatch
from synth_ray.cluster.index import RayShards
from synth_ray.cluster.nodes import Nodes
from synth_ray.cluster.placement import shard_options
from synth_ray.cluster.ray_session import is_shared, start_ray
from synth_ray.cluster.replacements import Replacements
from synth_ray.cluster.roles import RayRoles
from synth_ray.cluster.stagers import RayStagers
from synth_ray.cluster.teachers import RayTeachers
from synth_ray.dedup.sharded import ShardedStores
from synth_ray.dedup.stores import Stores
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.records import Request
from synth_ray.workers.pool import DriverDraining, Event

log = logging.getLogger(__name__)


class RayPool:
    """See `workers.pool.Pool`."""

    def __init__(self, job: Job, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._started_ray = False
        self._shards: RayShards | None = None
        self._news: list[Event] = []
        self._nodes, numbers = Nodes(clock), count()
        self._capacity = CapacityWatch(job, clock)
        self._stagers = RayStagers(job, self._nodes)
        replacements = Replacements(job.limits.engine_replacements)
        shared: dict[str, Any] = {"nodes": self._nodes, "numbers": numbers, "on_change": self._tell_of_pools}
        self._teachers = RayTeachers(job, replacements=replacements, **shared)
        self._roles = RayRoles(job, may_replace=replacements.take, **shared)

    def open(self) -> None:
        self._start_ray()
        self._capacity.tell_at_start()
        if is_shared():
            self._teachers.share()
        # One stager first: replicas may wait for nodes that do not exist yet, and must not take its place. The others have no
        # work before the replicas answer, and must not take their places.
        self._stagers.open()
        for _ in range(self._job.cluster.first_teachers):
            self.start("teacher")
        for role in self._job.pooled_models:
            for _ in range(self._job.cluster.judges):
                self.start(role)

    def start(self, role: str) -> None:
        if role == "teacher":
            self._teachers.start()
        else:
            self._roles.start(role)

    def retire(self, replica: int) -> None:
        self._roles.retire(replica)

    def _tell_of_pools(self) -> None:
        for role in self._job.pooled_models:
            self._teachers.set_pool(role, self._roles.replicas(role), self._roles.retired)

    def shards(self) -> Stores | None:
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
        options = partial(shard_options, self._job)
        self._shards = RayShards(cluster.index_shards, folder=folder, nodes=self._nodes, options=options)
        return ShardedStores(self._shards).stores

    def _start_ray(self) -> None:
        self._started_ray = start_ray(self._job.cluster) or self._started_ray

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None:
        self._teachers.submit(replica, requests, journalled)

    def withdraw(self, replica: int, limit: int) -> None:
        self._teachers.withdraw(replica, limit)

    def release(self, replica: int) -> None:
        self._teachers.release(replica)

    def set_isolating(self, replica: int, *, on: bool) -> None:
        self._teachers.set_isolating(replica, on=on)

    def drop_journal(self, chunk: int) -> None:
        self._teachers.drop_journal(chunk)

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> None:
        self._stagers.stage((chunk, list(batches), dict(facts)))

    def stage_capacity(self) -> int:
        return self._stagers.capacity()

    def stagers(self) -> Mapping[int, Sequence[int]]:
        return self._stagers.holding()

    def can_replace(self) -> bool:
        return not self._nodes.head.is_silent  # a silent head ends no actor, and places none

    def replace(self, replica: int, cause: str) -> None:
        self._news += self._teachers.replace(replica, cause) or self._roles.replace(replica, cause)

    def replace_stager(self, stager: int, cause: str) -> None:
        self._stagers.replace(stager)

    def events(self, wait_s: float) -> list[Event]:
        if self._news:
            news, self._news = self._news, []
            return news
        if (left := self._nodes.draining.notice_to_driver()) is not None:
            return [DriverDraining(left)]
        if not self._nodes.head.is_silent:  # only the head knows what is free, and places and ends actors
            self._keep_placed()
        if changes := self._teachers.tick():
            return changes
        refs = [*self._teachers.refs, *self._roles.refs, *self._stagers.refs]
        if not refs:
            time.sleep(min(wait_s, 0.1))
            return []
        ready, _ = ray.wait(refs, num_returns=1, timeout=wait_s)
        if ready:
            more, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            ready = more or ready
        return [event for ref in ready for event in self._events_of(ref)]

    def _keep_placed(self) -> None:
        """Start what is due, and tell of what waits for a place."""
        waiting = self._roles.starting() + Counter(teacher=self._teachers.waiting(), stager=self._stagers.starting())
        placed = self._roles.placed() + Counter(teacher=self._teachers.placed(), stager=self._stagers.placed())
        if self._capacity.tell_again(waiting, placed):
            moved = self._stagers.place_again() + self._teachers.place_again() + self._roles.place_again()
            if moved:
                log.warning("nodes that actors waited for are gone; %d may stand on the head now, and start again", moved)
        if all(placed[role] for role in ("teacher", *self._job.pooled_models)):
            self._stagers.start_all()
        self._roles.tick()
        self._stagers.tick()

    def _events_of(self, ref: Any) -> list[Event]:
        if ref in self._roles.refs:
            return self._roles.events_of(ref)
        if ref in self._stagers.refs:
            return self._stagers.events_of(ref)
        return self._teachers.events_of(ref)

    def close(self) -> None:
        if not ray.is_initialized():
            return
        if not self._nodes.head.is_silent:  # without it no actor can be ended: each ends by itself
            self._end_actors()
        if self._started_ray:
            ray.shutdown()

    def _end_actors(self) -> None:
        self._teachers.close()
        self._roles.close(10)
        self._stagers.close()
        if self._shards is not None:
            self._shards.close()
