"""The pools of roles without a cluster: each replica is an engine with an event loop on a thread of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from synth_ray.ask.deadline import IGNORED_S
from synth_ray.ask.engine_start import PLAIN_START
from synth_ray.ask.pooled_teacher import Link
from synth_ray.ask.role_link import RoleLink
from synth_ray.ask.role_server import RoleServer
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.workers.pool import AsksRefused, Event, ReplicaLost, ReplicaPhase, ReplicaReady, RoleLoad

_IDLE_POLL_S = 0.1
_LOAD_EVERY_S = 0.5
_CLOSE_S = 30.0
RETIRED = "retired: its place goes to another pool, or nothing is left for it"


class LocalRole:
    """One replica. Thread-safe."""

    def __init__(self, job: Job, role: str, *, on_death: Callable[[EngineDied], None]) -> None:
        self.role = role
        self.facts: TeacherFacts | None = None
        self._on_death = on_death
        self._end: EngineDied | None = None
        self._is_closing = False
        self._loop = asyncio.new_event_loop()
        self._server = RoleServer(job, role, on_death=self._die)
        self._calls: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"{role} engine", daemon=True)

    def open(self, on_phase: Callable[[str], None] = PLAIN_START.on_phase) -> TeacherFacts:
        """`on_phase` hears what the engine is doing while it starts."""
        self._thread.start()
        self.facts = self._submit(self._server.open(on_phase)).result()
        return self.facts

    def link(self) -> Link:
        return RoleLink(self.call, max_running=self.facts.max_running if self.facts else 1)

    async def call(self, method: str, *arguments: Any) -> Any:
        """See `role_link.Call`."""
        if self._end is not None:
            raise self._end
        try:
            return await asyncio.wrap_future(self._submit(getattr(self._server, method)(*arguments)))
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._end is None or (caller is not None and caller.cancelling()):
                raise
            raise self._end from None

    def load(self) -> tuple[Load, int]:
        return self._server.load()

    def close(self, cause: str) -> None:
        """Calls under way end with EngineDied. An engine that does not end in _CLOSE_S is left to itself: its thread cannot be
        ended, and ends with the process. A second call waits for what the first has asked for.
        """
        until = time.monotonic() + _CLOSE_S
        if self._thread.is_alive() and not self._is_closing:
            self._is_closing = True
            self._end = self._end or EngineDied(cause)
            self._cancel_calls()  # here: the loop may be the one that stands still
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(_CLOSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.is_alive():
            self._thread.join(timeout=max(0.0, until - time.monotonic()))

    async def _shut_down(self) -> None:
        await self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=IGNORED_S)

    def _submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def _die(self, death: EngineDied) -> None:
        if self._end is None:
            self._end = death
            self._cancel_calls()
            self._on_death(death)

    def _cancel_calls(self) -> None:
        for future in list(self._calls):
            future.cancel()


class LocalRoles:
    """The replicas of all roles' pools. `put` takes events; `may_replace` is asked at each death; `on_change` is called when
    replicas came or went. `close` ends all of them side by side, and waits no longer than for one.
    """

    def __init__(
        self,
        job: Job,
        *,
        numbers: Iterator[int],
        put: Callable[[Event | BaseException], None],
        may_replace: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._job, self._numbers = job, numbers
        self._put, self._may_replace, self._on_change = put, may_replace, on_change
        self._up: dict[int, LocalRole] = {}
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._loads_at = 0.0
        self.retired: set[int] = set()

    def start(self, role: str) -> None:
        self._spawn(self._run, role, next(self._numbers))

    def replicas(self, role: str) -> dict[int, Callable[[], Link]]:
        """How to reach each replica of the role that is up."""
        return {number: r.link for number, r in list(self._up.items()) if r.role == role and number not in self.retired}

    def retire(self, number: int) -> None:
        if number in self._up:
            self.retired.add(number)
            self._on_change()
            self._spawn(self._end_when_idle, number)

    def replace(self, number: int, cause: str) -> None:
        """End this replica, which answers nothing any more, and start another, which counts as no replacement."""
        has_successor = number in self.retired
        self.retired.add(number)  # nothing that it was asked is suspected
        if (role := self._end(number, cause)) is not None:
            self._put(ReplicaLost(number, cause, replaced=True, drained=has_successor, role=role))
            if not has_successor:
                self.start(role)

    def loads(self) -> list[Event]:
        """How busy each replica is; empty when that was told just now."""
        now = time.monotonic()
        if now - self._loads_at < _LOAD_EVERY_S:
            return []
        self._loads_at = now
        return [RoleLoad(number, *replica.load()) for number, replica in list(self._up.items())]

    def close(self) -> None:
        self._closing.set()
        for number in list(self._up):
            self._spawn(self._up.pop(number).close, "the run has ended")
        until = time.monotonic() + 2 * _CLOSE_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        def forward_errors() -> None:
            try:
                target(*arguments)
            except BaseException as error:
                # A thread's error is the run's error: the pool raises it in the driver.
                self._put(error)

        self._threads.append(threading.Thread(target=forward_errors, daemon=True))
        self._threads[-1].start()

    def _run(self, role: str, number: int) -> None:
        replica = LocalRole(self._job, role, on_death=partial(self._on_death, number))
        try:
            facts = replica.open(lambda phase: self._put(ReplicaPhase(number, phase, role)))
        except ServiceRefused as refusal:
            self._put(AsksRefused(number, str(refusal)))
            return
        except EngineDied as death:
            self._lose(number, role, str(death))
            return
        if self._closing.is_set():
            replica.close("the run has ended")
            return
        self._up[number] = replica
        self._put(ReplicaReady(number, {role: facts}, role))
        self._on_change()

    def _on_death(self, number: int, death: EngineDied) -> None:
        if (role := self._end(number, str(death))) is not None:
            self._lose(number, role, str(death))

    def _end(self, number: int, cause: str) -> str | None:
        """Returns its role; None where it is not up, or everything ends."""
        replica = self._up.pop(number, None)
        if replica is None or self._closing.is_set():
            return None
        self._on_change()
        self._spawn(replica.close, cause)  # not here: this may be the replica's own thread
        return replica.role

    def _lose(self, number: int, role: str, cause: str) -> None:
        is_retired = number in self.retired
        replaced = not is_retired and self._may_replace()
        self._put(ReplicaLost(number, cause, replaced or is_retired, drained=is_retired, role=role))
        if replaced:
            self.start(role)

    def _end_when_idle(self, number: int) -> None:
        while (replica := self._up.get(number)) is not None and not self._closing.is_set():
            load, _ = replica.load()
            if not (load.running or load.waiting):
                self._up.pop(number, None)
                replica.close(RETIRED)
                self._put(ReplicaLost(number, RETIRED, replaced=True, drained=True, role=replica.role))
                return
            self._closing.wait(_IDLE_POLL_S)
