"""How busy the replicas of each pool are, and what each has answered: for the sizes of pools, and for the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.meter.tally import ReplicaLoad


@dataclass(slots=True)
class PooledReplica:
    """One replica from its start to its end. `used_s` are seconds in which it ran all it can, or as many parts of them: two
    seconds at half count as one.
    """

    role: str
    facts: TeacherFacts
    ready_s: float
    seen_s: float
    ended_s: float | None = None
    used_s: float = 0.0
    usage: float = 0.0
    running: int = 0
    waiting: int = 0
    answered: int = 0


class PoolMeter:
    """Fed by the driver. Seconds are of its clock, since `begin`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = 0.0
        self._replicas: dict[int, PooledReplica] = {}
        self._ended: list[tuple[int, PooledReplica]] = []

    def begin(self) -> None:
        self._began = self._clock()

    @property
    def now(self) -> float:
        return self._clock() - self._began

    def on_ready(self, number: int, role: str, facts: TeacherFacts) -> None:
        self._replicas[number] = PooledReplica(role, facts, self.now, self.now)

    def on_load(self, number: int, loads: Sequence[Load], answered: int) -> None:
        """`loads` are of the engines in the replica; the busiest counts. `answered` is the number of asks since it started."""
        if replica := self._replicas.get(number):
            _use_until(replica, self.now)
            replica.running, replica.waiting = sum(load.running for load in loads), sum(load.waiting for load in loads)
            replica.usage = max((_usage(load, replica.facts.max_running) for load in loads), default=0.0)
            replica.answered = answered

    def on_gone(self, number: int) -> None:
        if replica := self._replicas.pop(number, None):
            _use_until(replica, self.now)
            replica.ended_s = self.now
            self._ended.append((number, replica))

    def replica_loads(self) -> dict[int, ReplicaLoad]:
        """Those that are up, by number."""
        return {number: ReplicaLoad(of.role, of.running, of.waiting) for number, of in self._replicas.items()}

    def up(self, role: str) -> list[int]:
        """The replicas of the role that are up, the least busy first."""
        up = [number for number, replica in self._replicas.items() if replica.role == role]
        return sorted(up, key=lambda number: self._replicas[number].usage)

    def sequences(self, role: str) -> int:
        """Sequences that the replicas of the role run at once."""
        return sum(replica.facts.max_running for replica in self._replicas.values() if replica.role == role)

    def used_s(self, role: str) -> float:
        """Replica-seconds in use so far."""
        now = self.now
        for replica in self._replicas.values():
            _use_until(replica, now)
        return sum(replica.used_s for _, replica in self._all() if replica.role == role)

    def start_s(self) -> float:
        """The longest start of any replica so far, in seconds."""
        return max((replica.facts.start_s for _, replica in self._all()), default=0.0)

    def _all(self) -> list[tuple[int, PooledReplica]]:
        return [*self._ended, *self._replicas.items()]

    def summary(self) -> dict[str, list[dict[str, Any]]]:
        """The replicas of each pool but the teacher's, for the manifest."""
        roles: dict[str, list[dict[str, Any]]] = {}
        for number, replica in sorted(self._all(), key=itemgetter(0)):
            if replica.role == "teacher":
                continue
            up = (replica.ended_s if replica.ended_s is not None else self.now) - replica.ready_s
            roles.setdefault(replica.role, []).append(
                {
                    "replica": number,
                    "start_s": round(replica.facts.start_s, 1),
                    "up_s": round(up, 1),
                    "asks": replica.answered,
                    "occupancy": round(replica.used_s / up, 4) if up > 0 else 0.0,
                }
            )
        return roles


def _usage(load: Load, max_running: int) -> float:
    """The share in use of what the engine can run: all of it where sequences wait, whatever keeps them from running."""
    return 1.0 if load.waiting else min(1.0, load.running / max(1, max_running))


def _use_until(replica: PooledReplica, now: float) -> None:
    replica.used_s += (now - replica.seen_s) * replica.usage
    replica.seen_s = now
