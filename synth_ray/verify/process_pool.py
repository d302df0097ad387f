"""A few long-lived processes that answer questions, each killed and replaced where it does not answer in time.

Law: a question ends within `seconds` with an answer or VerifierFailed, whatever the process does; no answer is taken for that
of an earlier question. Questions and answers are lines of JSON; the first line of a process says that it is ready, or why it
cannot be.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import secrets
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from synth_ray.verify.sandbox import kill
from synth_ray.verify.verdict import VerifierFailed

_STARTS_WITHIN_S = 120.0
_LONGEST_LINE = 1 << 20

Start = Callable[[ExitStack], subprocess.Popen[bytes]]
"""Starts a process; what it needs (a folder) is left to the stack, which is closed after the process was killed."""


class ProcessPool:
    """At most `size` processes, started when they are first needed. Any number of threads may ask."""

    def __init__(self, start: Start, *, seconds: float, size: int) -> None:
        self._start, self._seconds = start, seconds
        self._free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(None)
        self._all: set[_Process] = set()
        atexit.register(self.close)

    def ask(self, question: Any) -> Any:
        """The answer. Raises VerifierFailed where there is none in time, or the process ended. Waits for a free process."""
        process = self._free.get()
        try:
            process = process or self._started()
            return process.ask(question, self._seconds)
        except VerifierFailed:
            if process is not None:
                self._all.discard(process)
                process.close()
            process = None
            raise
        finally:
            self._free.put(process)

    def start_one(self) -> None:
        """Start a process, to see that it can be. Raises VerifierFailed."""
        self._free.get()
        self._free.put(self._started())

    def _started(self) -> _Process:
        process = _Process(self._start)
        self._all.add(process)
        return process

    def close(self) -> None:
        """Kill all processes. A later question starts new ones."""
        for process in list(self._all):
            process.close()
        self._all.clear()


class _Process:
    def __init__(self, start: Start) -> None:
        self._stack = ExitStack()
        self._process = start(self._stack)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        try:
            ready = self._line(time.monotonic() + _STARTS_WITHIN_S)
            if ready != {"ready": True}:
                raise VerifierFailed(
                    str(ready.get("error", "did not start"))[:300] if isinstance(ready, dict) else "did not start"
                )
        except VerifierFailed:
            self.close()
            raise

    def ask(self, question: Any, seconds: float) -> Any:
        number = secrets.token_hex(8)
        line = json.dumps([number, question]).encode() + b"\n"
        deadline = time.monotonic() + seconds
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError:
            raise VerifierFailed("the process ended") from None
        answer = self._line(deadline)
        if not isinstance(answer, list) or len(answer) != 2 or answer[0] != number:
            raise VerifierFailed("answered what is no answer")
        return answer[1]

    def _line(self, deadline: float) -> Any:
        """The next line. Nothing may be behind it: one question has one answer."""
        assert self._process.stdout is not None
        read = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not read.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise VerifierFailed("no verdict in time")
                piece = self._process.stdout.read(1 << 16)
                if not piece or len(read) > _LONGEST_LINE:
                    raise VerifierFailed("the process ended" if not piece else "answered too much")
                read += piece
        try:
            return json.loads(read)
        except (ValueError, RecursionError):
            raise VerifierFailed("answered what is no answer") from None

    def close(self) -> None:
        kill(self._process)
        self._stack.close()
