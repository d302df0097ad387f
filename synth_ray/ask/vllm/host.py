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

_CLOSE_S = 60
NOTHING: Mapping[str, str] = {}

Opened = tuple[Connection, TeacherFacts, dict[str, Any]]
"""The line to an engine that is up, what it is, and its tokenizer's names."""


class EngineHost(Protocol):
    """`open` once. `ended` waits for the end of an engine whose line broke, and says how it came. `close`: it was told to."""

    def open(self, model: Model, adapters: Sequence[str]) -> Opened: ...

    def ended(self) -> str: ...

    def close(self) -> None: ...


class OwnProcess:
    """The engine's steps share no interpreter with anything. docs/decisions/0014 and 0016 have what that is worth."""

    def __init__(self, environment: Mapping[str, str] = NOTHING) -> None:
        """`environment` is what the engine's process has beside this one's."""
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, model: Model, adapters: Sequence[str]) -> Opened:
        line, theirs = Pipe()
        command = [sys.executable, "-m", "synth_ray.ask.vllm.loop", str(theirs.fileno())]
        # What this process can import that one must too: Ray puts folders on the path without a word in the environment.
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        environment = {**os.environ, "PYTHONPATH": path, **self._environment}
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        try:
            line.send((model, list(adapters)))
            told = line.recv()
        except (EOFError, OSError):
            raise TeacherError(f"models.teacher: wanted an engine, got {self.ended()}; its log says why") from None
        if isinstance(told, Exception):
            raise told
        return line, *told

    def ended(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            return "its process out of reach"
        return f"its process {f'killed by signal {-code}' if code < 0 else f'ended with code {code}'}"

    def close(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class OwnThread:
    """For an engine that can only be where its caller is: one whose workers are Ray's is found by them from an actor only."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def open(self, model: Model, adapters: Sequence[str]) -> Opened:
        from synth_ray.ask.vllm.engine import VllmEngine
        from synth_ray.ask.vllm.loop import EngineLoop

        engine = VllmEngine(model, adapters)
        line, theirs = Pipe()

        def run() -> None:
            with theirs:
                EngineLoop(theirs, engine).run()

        self._thread = threading.Thread(target=run, name="vllm-engine", daemon=True)
        self._thread.start()
        return line, engine.facts(), engine.tokenizer_names()

    def ended(self) -> str:
        return "its thread ended"

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
