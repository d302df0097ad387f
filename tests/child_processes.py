"""Child processes of tests. Whoever waits for one waits for a bounded time, and one that has used it up is killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench.processes import tree

Process = subprocess.Popen[str] | subprocess.Popen[bytes]


def line_of(process: Process, *, having: str = "", seconds: float = 300.0) -> str:
    """The next line that it says, of those that have the words `having`, without its newline.

    It says it on its stdout or, where that is no pipe, on its stderr, which nothing else may have read. Where it ends first, or
    so many seconds are over, it is killed, and the RuntimeError has what it said.
    """
    pipe = process.stdout or process.stderr
    assert pipe is not None
    until, said = time.monotonic() + seconds, ""
    while True:
        line = _read_line(pipe.fileno(), until)
        said += line
        if not line.endswith("\n"):
            kill(process)
            raise RuntimeError(f"wanted a line {having!r} within {seconds:g} s, got none of {process.args!r}: {said[-3000:]}")
        if having in line:
            return line.removesuffix("\n")


def _read_line(pipe: int, until: float) -> str:
    """Without the newline where the pipe ends or the time does. Byte by byte: what a buffer has taken, `poll` does not see."""
    line, readable = b"", select.poll()
    readable.register(pipe, select.POLLIN)
    while not line.endswith(b"\n") and readable.poll(1000 * max(0.0, until - time.monotonic())):
        byte = os.read(pipe, 1)
        if not byte:
            break
        line += byte
    return line.decode(errors="replace")


def wait_until(holds: Callable[[], object], process: Process, *, seconds: float = 240.0) -> None:
    """Return once it holds; an AssertionError with what the process said where it ends before, or so many seconds are over."""
    until = time.monotonic() + seconds
    while not holds():
        if process.poll() is not None or time.monotonic() > until:
            kill(process)
            raise AssertionError(f"it did not come so far; it ended with {process.returncode} and said: {_rest_of(process)}")
        time.sleep(0.05)


def _rest_of(process: Process) -> str:
    said: list[Any] = [part for part in process.communicate(timeout=60) if part]
    return "".join(part.decode(errors="replace") if isinstance(part, bytes) else part for part in said)[-3000:]


def end(process: Process, *, seconds: float = 60.0) -> None:
    """Tell it to end, by the end of its input or else by SIGTERM, and kill it where it has not within so many seconds."""
    if process.stdin is None:
        process.terminate()
    else:
        with suppress(BrokenPipeError):  # it has ended, with a request unread
            process.stdin.close()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: Process) -> None:
    """Kill it, and all that it has started, if it still runs."""
    if process.poll() is None:
        for pid in tree(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()
