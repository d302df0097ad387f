"""One replica of a role's pool: an engine that answers the prompts of several recipes' processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from synth_ray.ask.engine_start import PLAIN_START, start_of
from synth_ray.ask.engines import open_engines
from synth_ray.ask.teacher import PLAIN_USE, Load, Prompt, Teacher, TeacherFacts
from synth_ray.errors import EngineDied, SynthRayError, TeacherError
from synth_ray.job.document import Job
from synth_ray.recipes.contract import Completion
from synth_ray.storage.job_files import open_output

Answered = tuple[int, list[Completion] | SynthRayError]
"""The number of a prompt at its client, and its answers or what it ended with."""

_COALESCE_S, _COALESCE_PROMPTS = 0.05, 64
"""Answers are collected for so many seconds, or until there are so many, and sent together: a message costs as much for one."""

_SILENT_S = 60.0
"""A client that has not been heard of for so long is gone: what it asked is cancelled. If it comes back, it is told."""


@dataclass(slots=True)
class _Client:
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    done: list[Answered] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0


class RoleServer:
    """Its asynchronous methods run on one event loop. A prompt that is submitted ends once in a `collect` of the same client,
    unless it is cancelled, or the client was silent for so long that it was forgotten: one that then comes back is told so by
    `collect`, and asks again by another name. `on_death` is called when the engine is gone: then no prompt will be answered any
    more.
    """

    def __init__(self, job: Job, role: str, *, on_death: Callable[[EngineDied], None]) -> None:
        self._job, self._role = job, role
        self._on_death = on_death
        self._clients: dict[str, _Client] = {}
        self._forgotten: set[str] = set()
        self._answered = 0
        self._teacher: Teacher | None = None
        self._engine: Teacher | None = None

    async def open(self, on_phase: Callable[[str], None] = PLAIN_START.on_phase) -> TeacherFacts:
        """Start the engine. `on_phase` hears what it is doing, see `EngineStart`."""
        model, storage = self._job.pooled_models[self._role], open_output(self._job.output)
        start = start_of(self._job, self._role, on_phase=on_phase)
        engines = await asyncio.to_thread(open_engines, {self._role: model}, storage, use=PLAIN_USE, start=start)
        opened = engines[self._role]
        self._teacher, self._engine = opened.teacher, opened.engine
        return opened.facts

    async def submit(self, client: str, prompts: Sequence[tuple[int, Prompt]]) -> None:
        if client in self._forgotten:
            return
        own = self._client(client)
        own.enough.clear()
        for number, prompt in prompts:
            own.tasks[number] = asyncio.create_task(self._answer(own, number, prompt))

    async def cancel(self, client: str, numbers: Sequence[int]) -> None:
        if client in self._forgotten:
            return
        own = self._client(client)
        for number in numbers:
            if task := own.tasks.pop(number, None):
                task.cancel()

    async def collect(self, client: str, wait_s: float) -> list[Answered] | None:
        """What has ended of the client's prompts; empty when nothing ended within `wait_s` seconds; None where the client was
        forgotten.
        """
        if client in self._forgotten:
            return None
        own = self._client(client)
        with suppress(TimeoutError):
            await asyncio.wait_for(own.news.wait(), wait_s)
            await asyncio.wait_for(own.enough.wait(), _COALESCE_S)
        answered, own.done = own.done, []
        own.news.clear()
        own.enough.clear()
        return answered

    def load(self) -> tuple[Load, int]:
        """How busy the engine is, and how many prompts it has answered."""
        return (self._teacher.load() if self._teacher is not None else Load()), self._answered

    async def close(self) -> None:
        for name in list(self._clients):
            self._forget(name)
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)

    def _client(self, name: str) -> _Client:
        own = self._clients.setdefault(name, _Client())
        own.heard_at = now = time.monotonic()
        for silent in [other for other, client in self._clients.items() if now - client.heard_at > _SILENT_S]:
            self._forget(silent)
        return own

    def _forget(self, name: str) -> None:
        own = self._clients.pop(name)
        if own.tasks or own.done:  # of one that waits for nothing, nothing is lost
            self._forgotten.add(name)
        for task in own.tasks.values():
            task.cancel()

    async def _answer(self, own: _Client, number: int, prompt: Prompt) -> None:
        if self._teacher is None:
            raise RuntimeError("submit before open")
        result: list[Completion] | SynthRayError
        try:
            result = await self._teacher.answer(prompt)
            self._answered += 1
        except SynthRayError as error:
            result = error
        except Exception as error:
            # Its message may quote a row: only the type goes on.
            result = TeacherError(type(error).__name__)
        own.done.append((number, result))
        own.tasks.pop(number, None)
        own.news.set()
        if not own.tasks or len(own.done) >= _COALESCE_PROMPTS:
            own.enough.set()
        if isinstance(result, EngineDied):
            self._on_death(result)
