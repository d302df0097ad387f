"""The teacher replicas on Ray: started, replaced, drained, and kept to the job's share of the cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray.ask.worker import JournalledAnswers
from synth_ray.cluster.actors import TeacherActor
from synth_ray.cluster.draining import DrainTracker
from synth_ray.cluster.ending import first_line, refusal_of
from synth_ray.cluster.head_room import KeptOffHead
from synth_ray.cluster.nodes import Nodes
from synth_ray.cluster.placement import end_replica, start_replica
from synth_ray.cluster.replacements import Replacements
from synth_ray.cluster.request_tuples import requests_to_tuples
from synth_ray.cluster.roles import PHASE_EVERY_S, Membership
from synth_ray.cluster.sharing import GIVEN_UP, Sharing
from synth_ray.cluster.watched_calls import WatchedCalls
from synth_ray.job.document import Job
from synth_ray.records import Request
from synth_ray.workers.pool import (
    MAX_ISOLATION_DEATHS,
    Event,
    ReplicaAnswered,
    ReplicaDraining,
    ReplicaLost,
    ReplicaPhase,
    ReplicaReady,
    ReplicaReturned,
    ReplicaStarting,
)

log = logging.getLogger(__name__)

_COLLECT_WAIT_S = 0.5
_BACKOFF_S = 1.0
_CLOSE_S = 10.0
_GIVES_WAY_S = 600.0
"""A replica that gives way to another job has as long for what it has begun as requests have."""


class RayTeachers:
    """`refs` are the calls whose results are to come.

    A lost replica is replaced after a pause that grows while none answers. A replica on a draining node finishes the requests it
    has started and returns the rest; its successor starts on another node at once and does not count as a replacement.
    `on_change` is called when replicas came or went.
    """

    def __init__(
        self,
        job: Job,
        *,
        nodes: Nodes,
        numbers: Iterator[int],
        replacements: Replacements,
        on_change: Callable[[], None],
    ) -> None:
        self._job, self._nodes, self._numbers = job, nodes, numbers
        self._replacements, self._on_change = replacements, on_change
        self.refs: dict[Any, tuple[str, Any]] = {}
        self._calls = WatchedCalls()
        self._replicas: dict[int, Any] = {}
        self._placed: set[int] = set()
        self._ready: set[int] = set()
        self._restarts_due: list[tuple[float, int]] = []
        self._consecutive_deaths = 0
        self._isolating: set[int] = set()
        self._closing: dict[Any, tuple[Any, Any]] = {}
        self._groups: dict[int, Any] = {}
        self._draining = DrainTracker(nodes.clock, nodes.draining)
        self._kept_off_head = KeptOffHead(job)
        self._sharing: Sharing | None = None

    def share(self) -> None:
        """Keep to the job's share of the cluster from now on: others may run there."""
        self._sharing = Sharing(self._job, self._nodes.clock)

    def start(self) -> None:
        self._count_wanted(1)
        self._start_replica(next(self._numbers))

    def placed(self) -> int:
        """Replicas that have their place, though their engines may still be starting."""
        return len(self._placed)

    def waiting(self) -> int:
        """Replicas that wait for a place."""
        return len(self._replicas.keys() - self._placed)

    def place_again(self) -> int:
        """See `KeptOffHead`. Returns how many started again."""
        moving = self._kept_off_head.may_move(self._replicas.keys() - self._placed)
        for number in moving:
            self._end(number)
            self._start_replica(number)
        return len(moving)

    def _staying(self) -> list[int]:
        return [number for number in self._replicas if number not in self._draining]

    def _count_wanted(self, change: int) -> None:
        if self._sharing is not None:
            self._sharing.wanted += change

    def _start_replica(self, replica: int) -> None:
        # A lost replica of the same number may have left calls whose errors come late.
        self.refs = {ref: call for ref, call in self.refs.items() if call[1] != replica}
        actor, self._groups[replica] = start_replica(TeacherActor, self._job)
        self._replicas[replica] = actor
        self._kept_off_head.note(replica, "teacher")
        self.refs[actor.node.remote()] = ("node", replica)
        self.refs[actor.open.remote()] = ("open", replica)
        self.refs[actor.phase.remote(PHASE_EVERY_S)] = ("phase", replica)

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None:
        # For a replica that is lost or draining nothing is submitted: the driver is about to get the event and asks elsewhere.
        if (actor := self._replicas.get(replica)) is not None and replica not in self._draining:
            self._draining.add_in_flight(replica, len(requests))
            self._calls.watch(actor.submit.remote(requests_to_tuples(requests), dict(journalled)), replica, actor)

    def withdraw(self, replica: int, limit: int) -> None:
        if (actor := self._replicas.get(replica)) is not None:
            self.refs[actor.withdraw.remote(limit)] = ("withdraw", replica)

    def release(self, replica: int) -> None:
        """The replica's process ends cleanly; its remaining calls are ignored. What other jobs hold is not wanted back."""
        actor = self._replicas.pop(replica, None)
        self._draining.forget(replica)
        self._placed.discard(replica)
        self._forget_client(replica)
        if self._sharing is not None:
            self._sharing.wanted = min(self._sharing.wanted - 1, len(self._staying()) + len(self._restarts_due))
        if actor is None:
            return
        is_up = ("open", replica) not in self.refs.values()
        self.refs = {ref: call for ref, call in self.refs.items() if call[1] != replica}
        if is_up:
            self._closing[actor.close.remote()] = (actor, self._groups.pop(replica))
        else:
            end_replica(actor, self._groups.pop(replica))

    def _forget_client(self, replica: int) -> None:
        if replica in self._ready:
            self._ready.discard(replica)
            self._on_change()

    def set_isolating(self, replica: int, *, on: bool) -> None:
        (self._isolating.add if on else self._isolating.discard)(replica)

    def drop_journal(self, chunk: int) -> None:
        for number, actor in self._replicas.items():
            self._calls.watch(actor.drop_journal.remote(chunk), number, actor)

    def set_pool(self, role: str, replicas: Membership, retired: Collection[int]) -> None:
        """Tell every replica that is up of the role's replicas."""
        told = [(number, self._replicas[number]) for number in self._ready if number in self._replicas]
        for number, actor in told:
            self._calls.watch(actor.set_pool.remote(role, replicas, retired, len(told)), number, actor)

    def _reap_closed(self, wait_s: float) -> None:
        """Wait until released replicas have written their journals, then end their processes, which frees their machines."""
        ended, _ = ray.wait(list(self._closing), num_returns=len(self._closing), timeout=wait_s)
        for ref in ended if wait_s == 0 else list(self._closing):
            end_replica(*self._closing.pop(ref))

    def tick(self) -> list[Event]:
        """Start what is due, and tell of replicas that leave or come for no end of their own. A silent head can start none."""
        if self._nodes.head.is_silent:
            return []
        self._replace_due()
        if self._closing:
            self._reap_closed(0)
        return [*self._lost_calls(), *self._handle_drains(), *self._keep_to_share()]

    def _lost_calls(self) -> list[Event]:
        """A replica that did not get a call has not got its requests: it is lost, though it may be up."""
        failures = self._calls.failures()
        return [self._on_death(number, error) for number, actor, error in failures if self._replicas.get(number) is actor]

    def events_of(self, ref: Any) -> list[Event]:
        """What the result of one of `refs` says."""
        kind, number = self.refs.pop(ref)
        if number not in self._replicas:
            return []  # it was drained and released before this call returned
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            return [refusal_of(number, error)]
        except RayError as error:
            # Its process or node is gone, or the node that held its reply: in either case the requests must be asked again.
            return [] if kind in ("withdraw", "node", "phase") else [self._on_death(number, error)]
        if kind == "drain":
            return [self._on_drained(number)]
        if kind == "node":
            self._placed.add(number)
            self._draining.on_placed(number, result)
            return []
        if kind == "phase":
            if number not in self._ready:
                self.refs[self._replicas[number].phase.remote(PHASE_EVERY_S)] = ("phase", number)
            return [ReplicaPhase(number, result)] if result and number not in self._ready else []
        if kind == "withdraw":
            self._draining.add_in_flight(number, -len(result))
            return [ReplicaReturned(number, result)]
        self.refs[self._replicas[number].collect.remote(_COLLECT_WAIT_S)] = ("collect", number)
        if kind == "open":
            self._draining.on_placed(number, self._nodes.node_of(result[1]))
            self._placed.add(number)
            self._ready.add(number)
            self._on_change()
            return [ReplicaReady(number, result[0])]
        answered, load = result
        self._draining.add_in_flight(number, -sum(len(rows.positions) for rows in answered))
        self._consecutive_deaths = 0 if answered else self._consecutive_deaths
        return [ReplicaAnswered(number, answered, load)]

    def _on_death(self, number: int, error: RayError) -> ReplicaLost:
        why = first_line(error)
        if number in self._draining:
            return self._on_drained(number)
        self._consecutive_deaths += 1
        if number not in self._isolating or self._consecutive_deaths > MAX_ISOLATION_DEATHS:
            self._replacements.take()
        self._end(number)
        replaced = self._replacements.are_left
        log.error("replica %d is gone (%s); %s", number, why, "replacing it" if replaced else "no replacement left")
        if replaced:
            self._restarts_due.append((self._nodes.clock() + _BACKOFF_S * 2 ** (self._consecutive_deaths - 1), number))
        else:
            self._count_wanted(-1)
        return ReplicaLost(number, why, replaced)

    def _handle_drains(self) -> list[Event]:
        noticed = self._draining.new_notices()
        for number in noticed:
            log.warning("replica %d: its node is being taken away; another starts elsewhere", number)
        for number in self._draining.due_to_end():
            actor = self._replicas[number]
            ended = actor.close.remote() if self._draining.gives_way(number) else actor.flush_for_drain.remote()
            self.refs[ended] = ("drain", number)
        return [*map(ReplicaDraining, noticed), *self._start_more(len(noticed))]

    def _start_more(self, replicas: int) -> list[Event]:
        started = [next(self._numbers) for _ in range(replicas)]
        for number in started:
            self._start_replica(number)
        return [*map(ReplicaStarting, started)]

    def _keep_to_share(self) -> list[Event]:
        """Start or give up replicas as the job's share of the cluster changes."""
        if self._sharing is None:
            return []
        staying = sorted(self._staying(), key=lambda number: (self._draining.in_flight(number), number))
        change = self._sharing.change(staying, placed=self._placed, starting=len(self._restarts_due))
        for number in change.leaving:
            self._draining.start(number, self._job.limits.request_deadline_s or _GIVES_WAY_S)
        ended = [self._on_drained(number) for number in change.cancelled]
        return [*ended, *map(ReplicaDraining, change.leaving), *self._start_more(change.starts)]

    def _on_drained(self, replica: int) -> ReplicaLost:
        gives_way = self._draining.gives_way(replica) or replica not in self._placed
        self._end(replica)
        cause = GIVEN_UP if gives_way else "its node is taken away"
        return ReplicaLost(replica, cause, replaced=True, drained=True, gave_way=gives_way)

    def _end(self, replica: int) -> None:
        self._draining.forget(replica)
        self._placed.discard(replica)
        self._forget_client(replica)
        self._isolating.discard(replica)
        # It may be alive but unreachable: two replicas of the same number must not both answer.
        end_replica(self._replicas.pop(replica), self._groups.pop(replica))

    def replace(self, replica: int, cause: str) -> list[Event]:
        """End one that stands still; where it is draining, its successor was started already."""
        if replica not in self._replicas:
            return []
        starting = [] if replica in self._draining else self._start_more(1)
        self._end(replica)
        return [*starting, ReplicaLost(replica, cause, replaced=True, drained=True)]

    def _replace_due(self) -> None:
        for due, number in [d for d in self._restarts_due if d[0] <= self._nodes.clock()]:
            self._restarts_due.remove((due, number))
            self._start_replica(number)

    def close(self) -> None:
        """End every replica, once it has written its journal."""
        for number in list(self._replicas):
            self.release(number)
        if self._sharing is not None:
            self._sharing.close()
        if self._closing:
            self._reap_closed(_CLOSE_S)
