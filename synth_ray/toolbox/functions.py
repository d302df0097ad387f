"""Processes that run functions: as many as there are cores, started when they are needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from synth_ray.toolbox.child import is_readable
from synth_ray.toolbox.launch import PYTHON, environment_of, isolated_command, module_folders
from synth_ray.toolbox.programs import Program

_SPARE_S = 20.0
"""How much longer than its call a process may take: for its start and its imports. A call's own time is kept by the process."""
_LONGEST_ANSWER = 1 << 26


def no_begin() -> None:
    """Nothing is to be done before a call."""


class FunctionProcess:
    """One process, which answers one request at a time. A process that does not answer is killed, and the next request starts
    another.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._has_ended = False
        self._root: tempfile.TemporaryDirectory[str] | None = None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer; `{"failure": …}` where there is none."""
        process = self._started()
        if process is None:
            return {"failure": "the tools are closed"}
        assert process.stdin is not None
        line = b""
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = _line_of(process, time.monotonic() + seconds + _SPARE_S)
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            self.close()
            return {"failure": "its process ended" if not line else "its answer is too long"}
        return answer

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._starting:
            if self._process is None and not self._has_ended:
                self._root = tempfile.TemporaryDirectory(prefix="synth-ray-tool-")
                start = f"import sys; sys.path[:] = {module_folders()!r}; from synth_ray.toolbox.child import main; main()"
                self._process = subprocess.Popen(
                    isolated_command(self._program, [PYTHON, "-I", "-S", "-B", "-c", start], self._root.name),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment_of(self._program),
                    start_new_session=True,
                )
            return self._process

    def end(self) -> None:
        """Close it for ever: no process starts after this."""
        with self._starting:
            self._has_ended = True
        self.close()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # unsent input is not needed
                    pipe.close()
        if self._root is not None:
            self._root.cleanup()


def _line_of(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """One line of the process; what there is of it where it ends, says nothing until the deadline, or says too much."""
    assert process.stdout is not None
    pipe, line = process.stdout.fileno(), b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_ANSWER:
        piece = os.read(pipe, 1 << 16) if is_readable(pipe, deadline) else b""
        if not piece:
            return b""
        line += piece
    return line


class FunctionPool:
    """Thread-safe: each request waits for a process that is free."""

    def __init__(self, program: Program, size: int) -> None:
        self._program = program
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[FunctionProcess] = []
        self._all: list[FunctionProcess] = []
        self._is_closed = False

    def ask(self, request: dict[str, Any], seconds: float, begin: Callable[[], None] = no_begin) -> dict[str, Any]:
        with self._free:
            if self._is_closed:
                return {"failure": "the tools are closed"}
            begin()
            process = self._take()
            try:
                return process.ask(request, seconds)
            finally:
                with self._lock:
                    self._idle.append(process)

    def _take(self) -> FunctionProcess:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            process = FunctionProcess(self._program)
            if self._is_closed:
                process.end()
            self._all.append(process)
            return process

    def close(self) -> None:
        """Law: when it returns, no call begins any more."""
        with self._lock:
            self._is_closed = True
            for process in self._all:
                process.end()
