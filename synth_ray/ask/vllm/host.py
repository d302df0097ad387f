"""Where a teacher's engine runs: in a process of its own, or on a thread of this one. Either is asked over a line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Protocol

from synth_ray.ask.teacher import TeacherFacts
from synth_ray.errors import TeacherError
from synth_ray.job.models import Model

_EXIT_TIMEOUT_S = 60
NO_VARIABLES: Mapping[str, str] = {}

StartedEngine = tuple[Connection, TeacherFacts, dict[str, Any]]
"""The line to an engine that is up, what it is, and its tokenizer's names."""


class EngineHost(Protocol):
    """`open` once. `ended` waits for the end of an engine whose line broke, and says how it came. `close`: it was told to."""

    def open(self, model: Model, adapters: Sequence[str]) -> StartedEngine: ...

    def wait_exit_reason(self) -> str: ...

    def close(self) -> None: ...


class ProcessHost:
    """The engine's steps share no interpreter with anything. docs/decisions/0014 and 0016 have what that is worth."""

    def __init__(self, environment: Mapping[str, str] = NO_VARIABLES) -> None:
        """`environment` is what the engine's process has beside this one's."""
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, model: Model, adapters: Sequence[str]) -> StartedEngine:
        connection, child_end = Pipe()
        command = [sys.executable, "-m", "synth_ray.ask.vllm.loop", str(child_end.fileno())]
        # What this process can import that one must too: Ray puts folders on the path without a word in the environment.
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        environment = {**os.environ, "PYTHONPATH": path, **self._environment}
        self._process = subprocess.Popen(command, pass_fds=[child_end.fileno()], env=environment)
        child_end.close()
        try:
            connection.send((model, list(adapters)))
            reply = connection.recv()
        except (EOFError, OSError):
            raise TeacherError(f"models.teacher: wanted an engine, got {self.wait_exit_reason()}; its log says why") from None
        if isinstance(reply, Exception):
            raise reply
        return connection, *reply

    def wait_exit_reason(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "its process out of reach"
        return f"its process {f'killed by signal {-code}' if code < 0 else f'ended with code {code}'}"

    def close(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ThreadHost:
    """For an engine that can only be where its caller is: one whose workers are Ray's is found by them from an actor only."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def open(self, model: Model, adapters: Sequence[str]) -> StartedEngine:
        from synth_ray.ask.vllm.engine import VllmEngine
        from synth_ray.ask.vllm.loop import EngineLoop

        engine = VllmEngine(model, adapters)
        connection, child_end = Pipe()

        def run() -> None:
            with child_end:
                EngineLoop(child_end, engine).run()

        self._thread = threading.Thread(target=run, name="vllm-engine", daemon=True)
        self._thread.start()
        return connection, engine.facts(), engine.tokenizer_args()

    def wait_exit_reason(self) -> str:
        return "its thread ended"

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join(_EXIT_TIMEOUT_S)
