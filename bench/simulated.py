"""Replicas in simulated time under the real driver, to measure what an order or a routing is worth.

In one step a replica generates one token of each running sequence. It runs up to `slots` sequences; further requests wait in its
own queue, and the first `slots` of them cannot be withdrawn, as a real worker has begun them. Nothing depends on machine speed.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from synth_ray.ask.rows import rows_by_chunk
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import JournalledAnswers
from synth_ray.drive.driver import Driver
from synth_ray.drive.hooks import Hooks, Meters
from synth_ray.drive.window import Window
from synth_ray.job.load import job_from
from synth_ray.meter.spending import Spending
from synth_ray.meter.tally import Tally
from synth_ray.meter.throughput import Throughput
from synth_ray.records import Draft, Outcome, Request, Seed
from synth_ray.workers.pool import ChunkCommitted, Event, ReplicaAnswered, ReplicaReady, ReplicaReturned

STEPS_A_TURN = 4  # decode steps per driver turn: a tenth of a second at 25 ms a step


@dataclass
class SimulatedReplica:
    slots: int
    cache_tokens: int = 1 << 60
    speed: int = 1
    queue: deque[Request] = field(default_factory=deque)
    running: dict[str, tuple[Request, int]] = field(default_factory=dict)
    cache: OrderedDict[str, int] = field(default_factory=OrderedDict)
    steps: int = 0
    running_sum: int = 0
    before_tail: tuple[int, int] = (0, 0)
    prompt: int = 0
    cached: int = 0

    def step(self, length: Callable[[Request], int]) -> list[Request]:
        while self.queue and len(self.running) < self.slots:
            request = self.queue.popleft()
            self.running[request.id] = (request, length(request))
            self._prefill(request)
        if self.running:
            self.steps += 1
            self.running_sum += len(self.running)
        ended = [request for request, left in self.running.values() if left <= 1]
        self.running = {name: (request, left - 1) for name, (request, left) in self.running.items() if left > 1}
        return ended

    def _prefill(self, request: Request) -> None:
        """Take the prefix from the cache, or compute and cache it and evict the least recently used."""
        name, shared = request.seed.fields.get("prefix", ""), int(request.seed.fields.get("prefix_tokens", 0))
        self.prompt += shared + 40
        if name in self.cache:
            self.cached += shared
        self.cache[name] = shared
        self.cache.move_to_end(name)
        while sum(self.cache.values()) > self.cache_tokens and len(self.cache) > 1:
            self.cache.popitem(last=False)


class SimulatedPool:
    """A `workers.pool.Pool` in simulated time. `joins` is the step at which each replica becomes ready."""

    def __init__(self, replicas: Sequence[SimulatedReplica], length: Callable[[Request], int], joins: Sequence[int] = ()) -> None:
        self.replicas = list(replicas)
        self.joins = list(joins) or [0] * len(self.replicas)
        self.length = length
        self.steps = 0
        self.ended_at: list[int] = []
        self.released: dict[int, int] = {}
        self._ready: set[int] = set()
        self._events: list[Event] = []

    def open(self) -> None: ...

    def close(self) -> None: ...

    def shards(self) -> None: ...

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None:
        self.replicas[replica].queue.extend(requests)

    def withdraw(self, replica: int, limit: int) -> None:
        queue, slots = self.replicas[replica].queue, self.replicas[replica].slots
        withdrawn = [queue.pop() for _ in range(min(limit, max(0, len(queue) - slots)))]
        self._events.append(ReplicaReturned(replica, [(r.chunk, r.position) for r in withdrawn]))

    def release(self, replica: int) -> None:
        self.released[replica] = self.steps

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> None:
        self._events.append(ChunkCommitted(chunk))

    def stage_capacity(self) -> int:
        return 8

    def stagers(self) -> dict[int, Sequence[int]]:
        return {}

    def can_replace(self) -> bool:
        return True

    def replace(self, replica: int, cause: str) -> None: ...

    def replace_stager(self, stager: int, cause: str) -> None: ...

    def drop_journal(self, chunk: int) -> None: ...

    def set_isolating(self, replica: int, *, on: bool) -> None: ...

    def events(self, wait_s: float) -> list[Event]:
        events, self._events = self._events, []
        for number, replica in enumerate(self.replicas):
            if number not in self._ready and self.steps >= self.joins[number]:
                self._ready.add(number)
                facts = TeacherFacts("simulated", "", "", max_running=replica.slots, max_model_len=1 << 20)
                events.append(ReplicaReady(number, {"teacher": facts}))
        if events:
            return events
        for _ in range(STEPS_A_TURN):
            self.steps += 1
            for number in self._ready:
                for _ in range(self.replicas[number].speed):
                    self._step(number, events)
        return events

    def _step(self, number: int, events: list[Event]) -> None:
        replica = self.replicas[number]
        if replica.queue:
            replica.before_tail = (replica.steps, replica.running_sum)
        ended = replica.step(self.length)
        if ended:
            self.ended_at += [self.steps] * len(ended)
            outcomes = [Outcome(r, [Draft([], "x", completion_tokens=self.length(r))]) for r in ended]
            load = Load(len(replica.running), len(replica.queue), replica.steps, replica.running_sum)
            events.append(ReplicaAnswered(number, rows_by_chunk(outcomes), {"teacher": load}))


class FixedSchedule:
    """A `prepare.schedule.Schedule`: one request per seed, `chunk` of them in each chunk."""

    def __init__(self, seeds: Sequence[Seed], *, chunk: int) -> None:
        self._seeds, self._chunk = seeds, chunk

    def next_requests(self, chunk: int) -> list[Request]:
        start = chunk * self._chunk
        seeds = self._seeds[start : start + self._chunk]
        return [Request(f"r{start + i}", chunk, i, seed, slots=1) for i, seed in enumerate(seeds)]


def seed(number: int, **fields: Any) -> Seed:
    return Seed(id=f"s{number}", lineage=f"s{number}", split="train", fields=fields)


def simulate(
    seeds: Sequence[Seed],
    replicas: Sequence[SimulatedReplica],
    length: Callable[[Request], int],
    *,
    chunk: int = 1024,
    joins: Sequence[int] = (),
    **cluster: Any,
) -> tuple[SimulatedPool, Driver]:
    """Run the driver on these seeds until it ends; `pool.steps` is the time it took."""
    pool = SimulatedPool(replicas, length, joins)
    job = job_from(
        {
            "name": "simulated",
            "seeds": "none.jsonl",
            "models": {"teacher": {"engine": "scripted"}},
            "recipe": "distill",
            "output": "none",
            "cluster": cluster,
        }
    )
    driver = Driver(
        job,
        schedule=FixedSchedule(seeds, chunk=chunk),
        pool=pool,
        window=Window(size=job.plan.window_chunks),
        hooks=Hooks(admit=lambda _: None),
        meters=Meters(Tally(), Spending(job.budget, time.monotonic), Throughput(job.cluster, time.monotonic)),
    )
    driver.run()
    return pool, driver
