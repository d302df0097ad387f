"""The pools of roles on Ray: one asynchronous actor per engine, which the teacher replicas call without the driver between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray import gc_tuning
from synth_ray.ask.role_link import Call
from synth_ray.ask.role_server import Answered, RoleServer
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.cluster.draining import DrainTracker
from synth_ray.cluster.ending import end_process, first_line, refusal_of, to_synth_ray_error
from synth_ray.cluster.head_room import KeptOffHead
from synth_ray.cluster.nodes import Nodes
from synth_ray.cluster.placement import start_role
from synth_ray.cluster.versions import Origin, origin_here
from synth_ray.errors import EngineDied
from synth_ray.job.document import Job
from synth_ray.workers.pool import Event, ReplicaLost, ReplicaPhase, ReplicaReady, RoleLoad

log = logging.getLogger(__name__)

PHASE_EVERY_S = 1.0
_LOAD_EVERY_S = 0.5
_BACKOFF_S = 1.0
RETIRED = "retired: its place goes to another pool, or its node is taken away"

Membership = dict[int, tuple[Any, int]]
"""The replicas of a role that are up: the actor of each and how many sequences it runs at once."""


class RoleActor:
    """One replica of a role's pool."""

    def __init__(self, job: Job, role: str) -> None:
        self._role, self._phase = role, ""
        self._server = RoleServer(job, role, on_death=lambda death: end_process(str(death)))

    async def open(self) -> tuple[dict[str, TeacherFacts], Origin]:
        """The facts of the role, and where this replica runs."""
        facts = await self._server.open(self._enter)
        gc_tuning.freeze_startup_objects()
        return {self._role: facts}, origin_here()

    def _enter(self, phase: str) -> None:
        self._phase = phase

    async def phase(self, wait_s: float) -> str:
        """See `TeacherActor.phase`."""
        await asyncio.sleep(wait_s)
        return self._phase

    async def submit(self, client: str, prompts: Sequence[tuple[int, Prompt]]) -> None:
        await self._server.submit(client, prompts)

    async def cancel(self, client: str, numbers: Sequence[int]) -> None:
        await self._server.cancel(client, numbers)

    async def collect(self, client: str, wait_s: float) -> list[Answered] | None:
        return await self._server.collect(client, wait_s)

    async def load(self, wait_s: float) -> tuple[Load, int]:
        """See `RoleServer.load`, after a wait."""
        await asyncio.sleep(wait_s)
        return self._server.load()

    async def close(self) -> None:
        await self._server.close()


def call_of(actor: Any) -> Call:
    """See `role_link.Call`: the actor is gone where Ray says so, and where the node is that held its reply."""

    async def call(method: str, *arguments: Any) -> Any:
        try:
            return await getattr(actor, method).remote(*arguments)
        except RayTaskError as error:
            raise to_synth_ray_error(error) from None
        except RayError as error:
            raise EngineDied(type(error).__name__) from None

    return call


class RayRoles:
    """The replicas of all roles' pools, as the driver sees them. `refs` are the calls whose results are to come.

    A lost replica is replaced, by one with a number of its own, as often as `may_replace` says. One whose node is draining is
    retired, and its successor starts at once. `on_change` is called when replicas came or went.
    """

    def __init__(
        self,
        job: Job,
        *,
        nodes: Nodes,
        numbers: Iterator[int],
        may_replace: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._job, self._nodes, self._clock, self._numbers = job, nodes, nodes.clock, numbers
        self._may_replace, self._on_change = may_replace, on_change
        self.refs: dict[Any, tuple[str, int]] = {}
        self.retired: set[int] = set()
        self._actors: dict[int, tuple[str, Any]] = {}
        self._placed: set[int] = set()
        self._kept_off_head = KeptOffHead(job)
        self._max_running: dict[int, int] = {}
        self._draining = DrainTracker(nodes.clock, nodes.draining)
        self._consecutive_deaths = 0
        self._due: list[tuple[float, str]] = []

    def start(self, role: str) -> None:
        number = next(self._numbers)
        actor = start_role(RoleActor, self._job, role)
        self._actors[number] = (role, actor)
        self._kept_off_head.note(number, role)
        self.refs[actor.open.remote()] = ("open", number)
        self.refs[actor.phase.remote(PHASE_EVERY_S)] = ("phase", number)

    def replicas(self, role: str) -> Membership:
        return {
            number: (self._actors[number][1], running)
            for number, running in self._max_running.items()
            if self._actors[number][0] == role and number not in self.retired
        }

    def starting(self) -> Counter[str]:
        """The replicas of each role that are not up yet."""
        return Counter(self._actors[number][0] for kind, number in self.refs.values() if kind == "open")

    def placed(self) -> Counter[str]:
        """The replicas of each role that are up, those that leave included."""
        return Counter(self._actors[number][0] for number in self._max_running)

    def place_again(self) -> int:
        """See `KeptOffHead`. Returns how many started again."""
        moving = self._kept_off_head.may_move(self._actors.keys() - self._placed)
        for number in moving:
            self.refs = {ref: call for ref, call in self.refs.items() if call[1] != number}
            self.start(self._end(number))
        return len(moving)

    def retire(self, number: int) -> None:
        """It gets no more prompts, and ends once it has answered what it has."""
        if number in self._max_running and number not in self.retired:
            self.retired.add(number)
            self._on_change()

    def replace(self, number: int, cause: str) -> list[Event]:
        """End one that stands still. Another starts, which counts as no replacement; one that was retired has its successor."""
        if number not in self._actors:
            return []
        has_successor = number in self.retired
        self.retired.add(number)  # nothing that it was asked is suspected
        self._on_change()
        role = self._end(number)
        if not has_successor:
            self.start(role)
        return [ReplicaLost(number, cause, replaced=True, drained=has_successor, role=role)]

    def tick(self) -> None:
        """Start what is due, and replace what is on draining nodes."""
        for due in [due for due in self._due if due[0] <= self._clock()]:
            self._due.remove(due)
            self.start(due[1])
        for number in self._draining.new_notices():
            if number not in self.retired:
                role = self._actors[number][0]
                log.warning("replica %d of %s: its node is being taken away; another starts elsewhere", number, role)
                self.retire(number)
                self.start(role)

    def events_of(self, ref: Any) -> list[Event]:
        """What the result of one of `refs` says."""
        kind, number = self.refs.pop(ref)
        if number not in self._actors:
            return []
        role, actor = self._actors[number]
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            return [refusal_of(number, error)]
        except RayError as error:
            return [] if kind == "phase" else [self._on_gone(number, first_line(error))]
        self._placed.add(number)
        if kind == "phase":
            return self._on_phase(number, result)
        if kind == "close":
            return [self._on_gone(number, RETIRED)]
        if kind == "open":
            facts, origin = result
            self._draining.on_placed(number, self._nodes.node_of(origin))
            self._max_running[number] = facts[role].max_running
            self._on_change()
            self._poll(number)
            return [ReplicaReady(number, facts, role)]
        load, answered = result
        self._consecutive_deaths = 0 if answered else self._consecutive_deaths
        if number in self.retired and not (load.running or load.waiting):
            self.refs[actor.close.remote()] = ("close", number)
        else:
            self._poll(number)
        return [RoleLoad(number, load, answered)]

    def _on_phase(self, number: int, phase: str) -> list[Event]:
        if number in self._max_running:
            return []
        role, actor = self._actors[number]
        self.refs[actor.phase.remote(PHASE_EVERY_S)] = ("phase", number)
        return [ReplicaPhase(number, phase, role)] if phase else []

    def _poll(self, number: int) -> None:
        self.refs[self._actors[number][1].load.remote(_LOAD_EVERY_S)] = ("load", number)

    def _on_gone(self, number: int, cause: str) -> ReplicaLost:
        role = self._end(number)
        if number in self.retired:
            return ReplicaLost(number, cause, replaced=True, drained=True, role=role)
        self._on_change()
        self._consecutive_deaths += 1
        replaced = self._may_replace()
        log.error("replica %d of %s is gone (%s); %s", number, role, cause, "replacing it" if replaced else "none is left")
        if replaced:
            self._due.append((self._clock() + _BACKOFF_S * 2 ** (self._consecutive_deaths - 1), role))
        return ReplicaLost(number, cause, replaced, role=role)

    def _end(self, number: int) -> str:
        """Returns its role."""
        role, actor = self._actors.pop(number)
        self._placed.discard(number)
        self._max_running.pop(number, None)
        self._draining.forget(number)
        ray.kill(actor)  # it may be alive but unreachable
        return role

    def close(self, wait_s: float) -> None:
        """End every engine, then its process."""
        until = time.monotonic() + wait_s
        closing = [self._actors[number][1].close.remote() for number in self._max_running]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=max(0.0, until - time.monotonic()))
        for _, actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
