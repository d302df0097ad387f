"""Runs an engine in a subprocess or on a thread; both are reached through a `multiprocessing.Pipe`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Protocol

from synth_ray.ask.engine_start import IMPORTS, PLAIN_START, EngineStart, PhaseClock
from synth_ray.ask.teacher import TeacherFacts
from synth_ray.child_process import child_environment, how_it_ended
from synth_ray.errors import TeacherError
from synth_ray.job.models import Model

_EXIT_TIMEOUT_S = 60
NO_VARIABLES: Mapping[str, str] = {}

StartedEngine = tuple[Connection, TeacherFacts, dict[str, Any]]
"""The connection to a started engine, its facts with the seconds of its start's phases, and its tokenizer's arguments."""


class EngineHost(Protocol):
    """`open` once. `wait_exit_reason` waits for an engine whose connection broke and describes how it ended. `close` after it was
    told to stop.
    """

    def open(self, model: Model, adapters: Sequence[str]) -> StartedEngine: ...

    def wait_exit_reason(self) -> str: ...

    def close(self) -> None: ...


_NUMBA = {"NUMBA_THREADING_LAYER": "workqueue"}
"""vLLM drafts n-grams with numba, whose OpenMP layer would set PyTorch's threads in the same process to one for each core,
whatever OMP_NUM_THREADS says: on two busy cores a step took seventeen times the processor time.
"""


class ProcessHost:
    """The engine in a subprocess: its steps share no Python interpreter with anything. For the gain see docs/decisions/0014 and
    0016.
    """

    def __init__(self, environment: Mapping[str, str] = NO_VARIABLES, start: EngineStart = PLAIN_START) -> None:
        """`environment`: variables of the engine's process in addition to this process's own."""
        self._environment, self._start = environment, start
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, model: Model, adapters: Sequence[str]) -> StartedEngine:
        clock = PhaseClock(self._start.on_phase)
        clock.enter(IMPORTS)
        connection, child_end = Pipe()
        command = [sys.executable, "-m", "synth_ray.ask.vllm.loop", str(child_end.fileno())]
        environment = _NUMBA | child_environment(**self._environment)
        self._process = subprocess.Popen(command, pass_fds=[child_end.fileno()], env=environment)
        child_end.close()
        try:
            connection.send((model, list(adapters), self._start.compile_cache))
            while isinstance(reply := connection.recv(), str):
                clock.enter(reply)
        except (EOFError, OSError):
            raise TeacherError(f"models.teacher: wanted an engine, got {self.wait_exit_reason()}; its log says why") from None
        if isinstance(reply, Exception):
            raise reply
        facts, names = reply
        return connection, replace(facts, start_phases=clock.seconds()), names

    def wait_exit_reason(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "its process out of reach"
        return f"its process {how_it_ended(code)}"

    def close(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ThreadHost:
    """The engine on a thread of this process: for one whose workers Ray starts, because Ray finds them from an actor only."""

    def __init__(self, start: EngineStart = PLAIN_START) -> None:
        self._start = start
        self._thread: threading.Thread | None = None

    def open(self, model: Model, adapters: Sequence[str]) -> StartedEngine:
        from synth_ray.ask.vllm.loop import EngineLoop, start_engine

        clock = PhaseClock(self._start.on_phase)
        clock.enter(IMPORTS)
        engine = start_engine(model, adapters, replace(self._start, on_phase=clock.enter))
        connection, child_end = Pipe()

        def run() -> None:
            with child_end:
                EngineLoop(child_end, engine).run()

        self._thread = threading.Thread(target=run, name="vllm-engine", daemon=True)
        self._thread.start()
        return connection, replace(engine.facts(), start_phases=clock.seconds()), engine.tokenizer_args()

    def wait_exit_reason(self) -> str:
        return "its thread ended"

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join(_EXIT_TIMEOUT_S)
