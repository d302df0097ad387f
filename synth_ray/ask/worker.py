"""One replica: its teachers, and the event loop on which the recipes of its requests run side by side."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

import pyarrow as pa

from synth_ray.ask.asker import Asker
from synth_ray.ask.engines import open_engines, unique_engines
from synth_ray.ask.journal import Answers, Journal
from synth_ray.ask.pooled_teacher import Link, PooledTeacher
from synth_ray.ask.rows import AnsweredRows, rows_by_chunk
from synth_ray.ask.teacher import Load, Teacher, TeacherFacts, TemplateUse
from synth_ray.ask.tool_calls import NO_TOOLS, ToolUse, open_tools
from synth_ray.ask.top_k import ready_models, refuse_mixed_tokenizers
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.records import Outcome, Request
from synth_ray.storage import Storage

_MAX_PER_COLLECT = 2048

_COALESCE_S, _COALESCE_ROWS = 0.2, 64
"""Answers are collected for so many seconds, or until there are so many, and sent together: a message takes as long for one row
as for fifty, from the interpreter that the engine's steps need.
"""

JournalledAnswers = Mapping[str, Answers]
NO_JOURNALLED_ANSWERS: JournalledAnswers = {}


class AskWorker:
    """Thread-safe: `submit` never waits, `collect` waits for at least one finished request.

    A request starts, and its deadline with it, once no engine has more sequences queued than it can run at once: enough for a
    step in which everything that runs ends. Requests that have not started can be withdrawn.

    An engine that dies, or a service that refuses every ask, ends the worker: once the finished requests are collected,
    `collect` raises EngineDied or ServiceRefused. Requests that were submitted and not collected must be asked again.
    """

    def __init__(self, job: Job, *, journal: Journal | None = None, storage: Storage | None = None) -> None:
        self._job = job
        self._storage = storage
        self._journal = journal
        self._done: queue.SimpleQueue[Outcome | EngineDied | ServiceRefused] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recipes", daemon=True)
        self._backlog: deque[tuple[Request, Answers]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._engines: list[tuple[Teacher, int]] = []
        self._ended_by: EngineDied | ServiceRefused | None = None
        self._teachers: dict[str, Teacher] = {}
        self._tools: ToolUse = NO_TOOLS
        self._pools = {role: PooledTeacher(model, on_asked=self._on_asked) for role, model in job.pooled_models.items()}

    def open(self) -> dict[str, TeacherFacts]:
        """Start the engines and return the facts of each role that has its engine here."""
        # pyarrow imports pandas at its first array, which takes a third of a second: do it while the engine starts.
        threading.Thread(target=pa.array, args=([""],), name="pandas", daemon=True).start()
        recipe, options = recipe_of(self._job), options_of(self._job.recipe)
        use = TemplateUse.of(recipe, options)
        record_now = self._journal.record_now if self._journal is not None else None
        self._tools = open_tools(recipe, options, record_now)
        models = {role: model for role, model in ready_models(self._job).items() if role not in self._pools}
        engines = open_engines(models, self._storage, use=use)
        self._teachers = {role: engine.teacher for role, engine in engines.items()} | self._pools
        refuse_mixed_tokenizers(self._job, {role: engine.facts for role, engine in engines.items()})
        if self._journal is not None:
            self._journal.open()
        self._engines = [(engine.engine, engine.facts.max_running) for engine in unique_engines(engines)]
        recorder = {"record": self._journal.record} if self._journal is not None else {}
        self._asker = Asker.of(self._job, self._teachers, **recorder, tools=self._tools)
        self._thread.start()
        return {role: engine.facts for role, engine in engines.items()}

    def submit(self, requests: Iterable[Request], journalled: JournalledAnswers = NO_JOURNALLED_ANSWERS) -> None:
        """Take requests. `journalled` holds answers of the journal, by request id."""
        self._loop.call_soon_threadsafe(self._enqueue, list(requests), journalled)

    def set_pool(self, role: str, replicas: Mapping[int, Callable[[], Link]], *, retired: Collection[int], clients: int) -> None:
        """The replicas of a pool have changed: see `PooledTeacher.set_replicas`. No request starts while a pool has none."""

        def change() -> None:
            self._pools[role].set_replicas(replicas, retired=retired, clients=clients)
            self._start_ready()

        with suppress(RuntimeError):  # the loop is closed: the worker has ended
            self._loop.call_soon_threadsafe(change)

    def withdraw(self, limit: int) -> list[tuple[int, int]]:
        """Give back up to `limit` requests that have not started, the last submitted first: their chunks and positions."""
        back: list[Request] = []
        with suppress(IndexError):  # the event loop may start the last one meanwhile; a deque's ends are thread-safe
            while len(back) < limit:
                back.append(self._backlog.pop()[0])
        return [(request.chunk, request.position) for request in back]

    def drop_journal(self, chunk: int) -> None:
        """Drop what the journal holds of a committed chunk."""
        if self._journal is not None:
            self._journal.drop(chunk)

    def _enqueue(self, requests: list[Request], journalled: JournalledAnswers) -> None:
        self._backlog.extend((request, journalled.get(request.id, {})) for request in requests)
        self._start_ready()

    def _start_ready(self) -> None:
        with suppress(IndexError):
            for _ in range(min(len(self._backlog), self._free_capacity())):
                task = self._loop.create_task(self._run_request(*self._backlog.popleft()))
                self._tasks.add(task)
                task.add_done_callback(self._on_task_done)

    def _free_capacity(self) -> int:
        """How many requests may start now. With none running one always may: the next starts when a request ends. A request that
        waits for a pool leaves its place at the engines of this process to another.
        """
        pools = self._pools.values()
        if not all(pool.is_up for pool in pools):
            return 0  # the request's deadline would run while the pool starts
        loads = [(teacher.load(), max_running) for teacher, max_running in self._engines]
        loads += [(pool.load(), pool.max_running) for pool in pools]
        asking = sum(load.running + load.waiting for load, _ in loads)
        about_to_ask = max(0, len(self._tasks) - asking)
        return max(min(max_running - load.waiting for load, max_running in loads) - about_to_ask, 0 if self._tasks else 1)

    def _on_asked(self) -> None:
        """A recipe turns to a pool, and asks nothing of this process's engines meanwhile."""
        if self._backlog and not self._ended_by:
            self._start_ready()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._backlog and not self._ended_by:
            self._start_ready()

    async def _run_request(self, request: Request, journalled: Answers) -> None:
        try:
            self._done.put(await self._asker.run(request, journalled))
        except (EngineDied, ServiceRefused) as end:
            self._done.put(end)

    def collect(self, wait_s: float) -> list[AnsweredRows]:
        """Finished requests, by chunk; empty when none finished within `wait_s` seconds."""
        outcomes: list[Outcome] = []
        try:
            item = self._done.get(timeout=0 if self._ended_by else wait_s)
            self._coalesce()
            while True:
                if isinstance(item, (EngineDied, ServiceRefused)):
                    self._ended_by = item
                else:
                    outcomes.append(item)
                if len(outcomes) == _MAX_PER_COLLECT:
                    break
                item = self._done.get_nowait()
        except queue.Empty:
            pass
        if self._ended_by is not None and not outcomes:
            raise self._ended_by
        return rows_by_chunk(outcomes)

    def _coalesce(self) -> None:
        until = time.monotonic() + _COALESCE_S
        while self._tasks and self._done.qsize() < _COALESCE_ROWS and time.monotonic() < until and not self._ended_by:
            time.sleep(_COALESCE_S / 10)

    def flush(self) -> None:
        """Write the journal's buffer: for a process that is about to end."""
        if self._journal is not None:
            self._journal.flush()

    def load(self) -> dict[str, Load]:
        """How busy the teacher of each role is."""
        return {role: teacher.load() for role, teacher in self._teachers.items()}

    def close(self) -> None:
        """Recipes end first: an engine that closes would let them go on, and call tools. When it returns, no call of a tool
        begins any more, and the journal holds all that had begun.
        """
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop)
            self._thread.join(timeout=30)
        self._tools.close()
        for engine, _ in self._engines:
            engine.close()
        if self._journal is not None:
            self._journal.close()

    async def _shut_down(self) -> None:
        """Cancel recipes that still wait, and messages to pools: the interpreter's exit would tear them down half-way."""
        self._backlog.clear()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop.stop()
