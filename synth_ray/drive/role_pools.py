"""The pools of roles beside the teacher's, as the driver sees them: their events, and when replicas change pools."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

from synth_ray.ask.teacher import Load
from synth_ray.drive.dispatch import Dispatcher
from synth_ray.drive.pool_sizer import Move, PoolSizer, PoolState
from synth_ray.job.document import Job
from synth_ray.meter.pools import PoolMeter
from synth_ray.meter.spending import Spending
from synth_ray.meter.tally import Tally
from synth_ray.workers.pool import Pool, ReplicaAnswered, ReplicaDraining, ReplicaLost, ReplicaPhase, ReplicaReady, RoleLoad

log = logging.getLogger(__name__)

_LAST_LOADS_S = 2.0


class RolePools:
    """Law: the replicas of all pools together never exceed `cluster.replicas` while they are moved: one ends before its successor
    in the other pool starts. Without that key the sizes stay.
    """

    def __init__(
        self, job: Job, *, pool: Pool, dispatcher: Dispatcher, tally: Tally, spending: Spending, meter: PoolMeter
    ) -> None:
        self._roles = list(job.pooled_models)
        self._pool, self._dispatcher = pool, dispatcher
        self._tally, self._spending, self._meter = tally, spending, meter
        self._sizer = PoolSizer(lambda: meter.now) if job.cluster.replicas is not None and self._roles else None
        self._starting: Counter[str] = Counter(dict.fromkeys(self._roles, job.cluster.judges))
        self._starting["teacher"] = job.cluster.first_teachers
        self._leaving: dict[int, str] = {}
        self._answered: Counter[int] = Counter()
        self._asking: Counter[int] = Counter()
        """What each teacher replica has asked of its own engines and of pools, and not been answered."""
        self._on_sizes()

    def on_ready(self, event: ReplicaReady) -> None:
        """A replica of any pool is up."""
        self._starting[event.role] = max(0, self._starting[event.role] - 1)
        facts = event.facts[event.role]
        self._tally.phases.pop(event.replica, None)
        log.info("replica %d is up: %.1f s%s", event.replica, facts.start_s, _phases_text(facts.start_phases))
        self._meter.on_ready(event.replica, event.role, facts)
        if event.role != "teacher":
            self._spending.on_ready(event.replica, facts.start_s)
            self._dispatcher.on_role_ready(event.role, facts)
            log.info("replica %d of %s is ready: %s", event.replica, event.role, dict(facts.engine_args))
            self._on_sizes()

    def on_told(self, event: RoleLoad | ReplicaPhase) -> None:
        """What a replica tells of itself, unasked."""
        if isinstance(event, RoleLoad):
            self._meter.on_load(event.replica, [event.load], event.answered)
        elif self._tally.phases.get(event.replica) != (event.role, event.phase):
            self._tally.phases[event.replica] = (event.role, event.phase)
            log.info("replica %d of %s is starting: %s", event.replica, event.role, event.phase)

    def hear_last_loads(self) -> None:
        """Wait for one more report of each role's replica: they report now and then, and the last may be of before the end."""
        silent = {number for role in self._roles for number in self._meter.up(role)}
        until = time.monotonic() + _LAST_LOADS_S
        while silent and time.monotonic() < until:
            for event in self._pool.events(_LAST_LOADS_S / 8):
                if isinstance(event, RoleLoad):
                    self.on_told(event)
                    silent.discard(event.replica)

    def on_answered(self, event: ReplicaAnswered) -> None:
        """A teacher replica finished requests."""
        self._answered[event.replica] += sum(len(rows.positions) for rows in event.answered)
        self._asking[event.replica] = sum(load.running + load.waiting for load in event.load.values())
        loads: list[Load] = [load for role, load in event.load.items() if role not in self._roles]
        self._meter.on_load(event.replica, loads, self._answered[event.replica])

    def on_starting(self) -> None:
        """A teacher replica starts, which the driver did not ask for."""
        self._starting["teacher"] += 1

    def on_lost(self, event: ReplicaLost) -> str:
        """A replica of any pool is gone. Returns why the run must stop; empty if it need not."""
        was_up = event.replica in self._meter.up(event.role)
        self._starting[event.role] = max(0, self._starting[event.role] + (event.replaced and not event.drained) - (not was_up))
        if event.replaced and (event.role == "teacher" or not event.drained):
            self._cancel_move(event.replica)  # it comes back in the pool it was to leave
        self._on_gone(event.replica)
        if event.role == "teacher":
            return ""
        self._spending.on_replica_gone(event.replica)
        self._tally.replicas_lost += not event.drained
        self._tally.pools_lost[event.role] += not event.drained
        self._on_sizes()
        if event.replaced or self._meter.up(event.role) or self._starting[event.role]:
            return ""
        return f"no replica of {event.role} is left and none may be replaced (limits.engine_replacements): {event.cause}"

    def on_released(self, replica: int) -> None:
        """A teacher replica has ended, because nothing is left for it: what was to start in its place does not."""
        self._cancel_move(replica)
        self._on_gone(replica)

    def release_all(self) -> None:
        """Nothing is left to ask: what is up of other pools ends with the run, and costs nothing from here on."""
        for role in self._roles:
            for number in self._meter.up(role):
                self._meter.on_gone(number)
                self._spending.on_replica_gone(number)

    def _cancel_move(self, replica: int) -> None:
        if (target := self._leaving.pop(replica, None)) is not None:
            self._starting[target] -= 1

    def _on_gone(self, replica: int) -> None:
        self._tally.phases.pop(replica, None)
        self._asking.pop(replica, None)
        self._meter.on_gone(replica)
        if (target := self._leaving.pop(replica, None)) is not None:
            self._start_in_place(target)

    def _start_in_place(self, target: str) -> None:
        self._tally.replicas_starting += target == "teacher"
        self._pool.start(target)

    def _on_sizes(self) -> None:
        self._dispatcher.pooled_sequences = sum(map(self._meter.sequences, self._roles))
        self._tally.pools = {role: len(self._meter.up(role)) for role in self._roles}
        self._tally.pools_starting = {role: self._starting[role] for role in self._roles}

    def resize(self, *, left: float | None, release: Callable[[int], None]) -> None:
        """Move replicas between the pools where that pays. `left` requests are to come; `release` ends a teacher replica."""
        if self._sizer is None:
            return
        for number in [n for n in self._leaving if self._dispatcher.is_idle(n)]:
            target = self._leaving.pop(number)
            release(number)
            self._start_in_place(target)
        requests = self._tally.requests_done
        move = self._sizer.advise(
            {role: self._state(role) for role in ("teacher", *self._roles)},
            requests=requests,
            in_flight=min(self._dispatcher.in_flight, sum(self._asking.values())),
            left=left,
            start_s=self._meter.start_s(),
        )
        if move is not None:
            self._move(move)

    def _state(self, role: str) -> PoolState:
        up = self._meter.up(role)
        changing = self._starting[role] + sum(number in self._leaving for number in up)
        return PoolState(len(up), changing, self._meter.used_s(role))

    def _move(self, move: Move) -> None:
        log.warning("moving %d replicas from the pool of %s to that of %s", move.replicas, move.origin, move.target)
        for number in self._meter.up(move.origin)[: move.replicas]:
            self._leaving[number] = move.target
            self._starting[move.target] += 1
            if move.origin == "teacher":
                self._dispatcher.on_draining(ReplicaDraining(number))
            else:
                self._pool.retire(number)
        self._on_sizes()


def _phases_text(phases: Mapping[str, float]) -> str:
    told = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases.items())
    return f" ({told})" if told else ""
