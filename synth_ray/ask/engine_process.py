"""What runs in an engine's own process: `python -m synth_ray.ask.engine_process DESCRIPTOR`, started by `process_teacher`.

Down the line come a model, then lists of asks (number, prompt) and cancellations (number, None), then None. Up go the
facts, or why there are none, then messages: how busy the engine is, how many completions it was asked for so far, and what
has ended since the last one. When the line breaks, whoever asked is gone, and so is this process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from synth_ray import heap
from synth_ray.ask.engines import teacher_here
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.errors import SynthRayError, TeacherError

BEAT_S = 0.25
"""How old the last word of how busy the engine is may be."""


def serve(line: Connection) -> None:
    model, adapters = line.recv()
    teacher = teacher_here(model, adapters=adapters)
    try:
        facts = teacher.open()
    except SynthRayError as error:
        line.send(error)
        return
    heap.settle()
    line.send(facts)
    asyncio.run(_Desk(line, teacher).serve())


class _Desk:
    """Asks come in on a thread of their own; answers that end together leave together."""

    def __init__(self, line: Connection, teacher: Teacher) -> None:
        self._line, self._teacher = line, teacher
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ended: list[tuple[int, Any]] = []
        self._taken = 0

    async def serve(self) -> None:
        self._loop, self._closed = asyncio.get_running_loop(), asyncio.Event()
        threading.Thread(target=self._listen, name="asks", daemon=True).start()
        self._beat()
        await self._closed.wait()
        await asyncio.to_thread(self._teacher.close)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._send()

    def _listen(self) -> None:
        try:
            while (items := self._line.recv()) is not None:
                self._loop.call_soon_threadsafe(self._take, items)
        except (EOFError, OSError):
            os._exit(0)
        self._loop.call_soon_threadsafe(self._closed.set)

    def _take(self, items: list[tuple[int, Prompt | None]]) -> None:
        for number, prompt in items:
            if prompt is not None:
                self._taken += prompt.n
                self._tasks[number] = self._loop.create_task(self._answer(number, prompt))
            elif number in self._tasks:
                self._tasks[number].cancel()

    async def _answer(self, number: int, prompt: Prompt) -> None:
        try:
            result: Any = await self._teacher.answer(prompt)
        except SynthRayError as error:
            result = error
        except Exception as error:
            result = TeacherError(f"{type(error).__name__}: {str(error)[:300]}")  # errors of others may not travel
        finally:
            del self._tasks[number]
        if not self._ended:
            self._loop.call_soon(self._send)
        self._ended.append((number, result))

    def _beat(self) -> None:
        self._send()
        self._loop.call_later(BEAT_S, self._beat)

    def _send(self) -> None:
        ended, self._ended = self._ended, []
        try:
            self._line.send((self._teacher.load(), self._taken, ended))
        except OSError:
            os._exit(0)


if __name__ == "__main__":
    # A terminal's Ctrl-C and a scheduler's notice reach every process of a group: when to stop is the run's to say, and when it
    # ends this ends. A handler that does nothing, for one that is told to ignore them is inherited by an engine's own workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    serve(Connection(int(sys.argv[1])))
