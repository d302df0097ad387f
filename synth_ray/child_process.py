"""Python processes on this machine that import what this one imports, asked through a connection."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from multiprocessing import Pipe
from typing import Any

_EXIT_TIMEOUT_S = 10.0


class ChildEnded(Exception):
    """The process ended before it answered. The message says how: "killed by signal 9"."""


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment and `more`, with the import path as it is now: Ray, and whoever calls from Python, extends
    `sys.path` without setting PYTHONPATH.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join(place or os.getcwd() for place in sys.path), **more}


class ChildProcess:
    """A process that runs `module`, whose argument is the descriptor of its end of a connection. It must end when that does.

    Raises OSError where none can be started.
    """

    def __init__(self, module: str) -> None:
        self._connection, child_end = Pipe()
        command = [sys.executable, "-m", module, str(child_end.fileno())]
        with child_end, ExitStack() as if_none_starts:
            if_none_starts.callback(self._connection.close)
            # Ctrl-C in a terminal goes to the whole group: in one of its own, a process that still starts is not hit.
            self._process = subprocess.Popen(command, pass_fds=[child_end.fileno()], env=child_environment(), process_group=0)
            if_none_starts.pop_all()

    def send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise ChildEnded(self._how_it_ended()) from None

    def ask(self, message: object) -> Any:
        """Its answer. Raises ChildEnded."""
        self.send(message)
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise ChildEnded(self._how_it_ended()) from None

    def _how_it_ended(self) -> str:
        try:
            return how_it_ended(self._process.wait(_EXIT_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            return "out of reach"

    def end(self) -> None:
        """Close its connection, at which it ends. One at work on what nobody waits for is killed after ten seconds."""
        self._connection.close()
        try:
            self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def how_it_ended(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
