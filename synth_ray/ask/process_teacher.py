"""A teacher whose engine has a process of its own: its steps share no interpreter with recipes, answers and messages.

What is asked within one turn of the event loop travels together. docs/decisions/0014 has what that is worth.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from multiprocessing import Pipe

from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.ask.waiters import Waiters
from synth_ray.errors import TeacherError
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion

_CLOSE_S = 60
NOTHING: Mapping[str, str] = {}


class ProcessTeacher:
    """One engine in a process of its own. When that ends, every ask that waits and every later one raises EngineDead."""

    def __init__(self, model: Model, *, adapters: Sequence[str] = (), environment: Mapping[str, str] = NOTHING) -> None:
        """`environment` is what the engine's process has beside this one's."""
        self._environment = environment
        self._model, self._adapters = model, list(adapters)
        self._waiters = Waiters()
        self._outbox: list[tuple[int, Prompt | None]] = []
        self._lock = threading.Lock()
        self._numbers = count()  # several event loops may ask
        self._sent = self._taken = 0
        self._load = Load()
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> TeacherFacts:
        self._line, theirs = Pipe()
        command = [sys.executable, "-m", "synth_ray.ask.engine_process", str(theirs.fileno())]
        # What this process can import that one must too: Ray puts folders on the path without a word in the environment.
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        environment = {**os.environ, "PYTHONPATH": path, **self._environment}
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        try:
            self._line.send((self._model, self._adapters))
            told: TeacherFacts | Exception = self._line.recv()
        except (EOFError, OSError):
            raise TeacherError(f"models.teacher: wanted an engine, got its process {self._end()}; its log says why") from None
        if isinstance(told, Exception):
            raise told
        threading.Thread(target=self._listen, name="answers", daemon=True).start()
        return told

    async def answer(self, prompt: Prompt) -> list[Completion]:
        number = next(self._numbers)
        answer = self._waiters.add(number)
        self._post(number, prompt)
        try:
            return await answer
        except asyncio.CancelledError:
            if self._waiters.forget(number) is not None:
                self._post(number, None)
            raise

    def _post(self, number: int, prompt: Prompt | None) -> None:
        with self._lock:
            self._outbox.append((number, prompt))
            self._sent += prompt.n if prompt is not None else 0
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        with self._lock:
            items, self._outbox = self._outbox, []
            # On a broken line nothing is sent: who listens on it tells everyone who waits.
            with suppress(OSError):
                if items:
                    self._line.send(items)

    def load(self) -> Load:
        """As the engine last told; what is still on its way to it waits, too."""
        return replace(self._load, waiting=self._load.waiting + self._sent - self._taken)

    def close(self) -> None:
        if self._process is None:
            return
        with self._lock, suppress(OSError):
            self._line.send(None)
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # The thread that listens.

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._load, self._taken, ended = self._line.recv()
                self._waiters.hand_over(ended)
        self._waiters.bury(f"the engine's process was {self._end()}")

    def _end(self) -> str:
        """How the process ended. Its line is broken: it has ended, or is about to."""
        assert self._process is not None
        try:
            code = self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            return "out of reach"
        return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
