"""One replica: its teachers, and the event loop on which the recipes of its requests run side by side."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import IGNORED_S
from synth_ray.ask.engine_start import PLAIN_START, start_of
from synth_ray.ask.engines import open_engines, unique_engines
from synth_ray.ask.journal import Journal
from synth_ray.ask.loop_watch import LoopWatch
from synth_ray.ask.pooled_teacher import Link, PooledTeacher
from synth_ray.ask.recipe_tasks import RecipeTasks
from synth_ray.ask.rows import AnsweredRows, rows_by_chunk
from synth_ray.ask.segments import Answers
from synth_ray.ask.teacher import Load, Teacher, TeacherFacts, TemplateUse
from synth_ray.ask.tool_calls import NO_TOOLS, ToolUse, open_tools
from synth_ray.ask.top_k import ready_models, refuse_mixed_tokenizers
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.records import Draft, Outcome, Reason, Request
from synth_ray.storage import Storage

log = logging.getLogger(__name__)

_MAX_PER_COLLECT = 2048

_COALESCE_S, _COALESCE_ROWS = 0.2, 64
"""Answers are collected for so many seconds, or until there are so many, and as many as requests at work, and sent together: a
message takes nearly as long for one row as for fifty, from the interpreter that the engine's steps need. Where answers are short
there are hundreds.
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
        self._thread = threading.Thread(target=self._run_loop, name="recipes", daemon=True)
        self._backlog: deque[tuple[Request, Answers]] = deque()
        self._tasks: dict[asyncio.Task[Any], Request] = {}
        self._recipe_tasks = RecipeTasks(self._loop)
        self._watch: LoopWatch | None = None
        self._is_blocked = False
        self._is_about_to_start = False
        self._engines: list[tuple[Teacher, int]] = []
        self._ended_by: EngineDied | ServiceRefused | None = None
        self._teachers: dict[str, Teacher] = {}
        self._tools: ToolUse = NO_TOOLS
        self._pools = {role: PooledTeacher(model, on_asked=self._on_asked) for role, model in job.pooled_models.items()}

    def open(self, on_phase: Callable[[str], None] = PLAIN_START.on_phase) -> dict[str, TeacherFacts]:
        """Start the engines and return the facts of each role that has its engine here. `on_phase` hears what a start is doing,
        from any thread.
        """
        # pyarrow imports pandas at its first array, which takes a third of a second: do it while the engine starts.
        threading.Thread(target=pa.array, args=([""],), name="pandas", daemon=True).start()
        recipe, options = recipe_of(self._job), options_of(self._job.recipe)
        use = TemplateUse.of(recipe, options)
        record_now = self._journal.record_now if self._journal is not None else None
        self._tools = open_tools(recipe, options, record_now)
        models = {role: model for role, model in ready_models(self._job).items() if role not in self._pools}
        engines = open_engines(models, self._storage, use=use, start=start_of(self._job, on_phase=on_phase))
        self._teachers = {role: engine.teacher for role, engine in engines.items()} | self._pools
        refuse_mixed_tokenizers(self._job, {role: engine.facts for role, engine in engines.items()})
        if self._journal is not None:
            self._journal.open()
        self._engines = [(engine.engine, engine.facts.max_running) for engine in unique_engines(engines)]
        recorder = {"record": self._journal.record} if self._journal is not None else {}
        self._asker = Asker.of(self._job, self._teachers, **recorder, tools=self._tools)
        self._thread.start()
        self._watch = LoopWatch(
            self._loop,
            make=recipe.make,
            deadline_s=self._job.limits.request_deadline_s,
            name_of=self._name_of,
            on_blocked=self._on_blocked,
        )
        self._watch.open(self._thread.ident or 0)
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
                request, journalled = self._backlog.popleft()
                task = self._recipe_tasks.start(request, self._run_request(request, journalled))
                self._tasks[task] = request
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
        self._tasks.pop(task, None)
        if self._backlog and not self._is_about_to_start:  # once for all that end in this turn of the loop
            self._is_about_to_start = True
            self._loop.call_soon(self._start_more)

    def _start_more(self) -> None:
        self._is_about_to_start = False
        if self._backlog and not self._ended_by:
            self._start_ready()

    async def _run_request(self, request: Request, journalled: Answers) -> None:
        own = asyncio.current_task()

        def give_up(outcome: Outcome) -> None:
            """The recipe does not end: its place goes to another request."""
            if self._tasks.pop(own, None) is not None:  # type: ignore[arg-type]
                self._done.put(outcome)
                self._start_ready()

        try:
            outcome = await self._asker.run(request, journalled, give_up)
        except (EngineDied, ServiceRefused) as end:
            self._done.put(end)
            return
        if own in self._tasks:
            self._done.put(outcome)

    def _run_loop(self) -> None:
        """Run the loop until it is stopped: a task that a recipe began may raise what ends a loop."""
        while not self._loop.is_closed():
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                log.warning("a task of a recipe raised %s; the run goes on", type(error).__name__)
            else:
                return

    def _name_of(self, task: asyncio.Task[Any] | None) -> str:
        request = self._recipe_tasks.request_of(task)
        return f"request {request.position} of chunk {request.chunk}" if request is not None else "a task of a recipe"

    def _on_blocked(self, task: asyncio.Task[Any] | None, text: str) -> None:
        """Its request fails, so that it is asked nowhere else; all others are asked again elsewhere."""
        self._is_blocked = True
        request = self._recipe_tasks.request_of(task)
        own = next((own for own, of in list(self._tasks.items()) if of is request), None)
        if request is not None and own is not None and self._tasks.pop(own, None) is not None:
            drafts = [Draft([], "", finish_reason="", reason=Reason.RECIPE_ERROR, detail=text) for _ in range(request.slots)]
            self._done.put(Outcome(request, drafts))
        self._done.put(EngineDied(f"a recipe {text}"))

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
        while self._tasks and not self._is_enough() and time.monotonic() < until and not self._ended_by:
            time.sleep(_COALESCE_S / 10)

    def _is_enough(self) -> bool:
        return self._done.qsize() >= max(_COALESCE_ROWS, len(self._tasks))

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
            self._thread.join(timeout=0 if self._is_blocked else 30)
        if self._watch is not None:
            self._watch.close()
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
        if tasks:
            await asyncio.wait(tasks, timeout=IGNORED_S)
        self._loop.stop()
