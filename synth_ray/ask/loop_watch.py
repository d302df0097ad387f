"""Notices a recipe that blocks the event loop: a recipe that sleeps or computes without an `await` stops every other one.

Code that does not give the loop back cannot be cancelled. So it is told of, and when it goes on the replica is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

TOLD_AFTER_S = 5.0
BLOCKED_S = 60.0
"""Seconds for which one recipe may hold the loop: less with a shorter `limits.request_deadline_s`, not less than TOLD_AFTER_S."""
_TICK_S = 0.5


class LoopWatch:
    """Law: only time in which this thread ran counts, so a machine that slept or a busy process blames nobody; and only one task
    that holds the loop all the time is named.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        make: Callable[..., Any],
        deadline_s: float | None,
        name_of: Callable[[asyncio.Task[Any] | None], str],
        on_blocked: Callable[[asyncio.Task[Any] | None, str], None],
    ) -> None:
        """`make` is the recipe's function. `name_of` names a task's request; `on_blocked` is told the task that holds the loop,
        and what to say of it.
        """
        self._loop = loop
        self._file = getattr(getattr(make, "__code__", None), "co_filename", "")
        self._limit_s = max(TOLD_AFTER_S, min(BLOCKED_S, deadline_s or BLOCKED_S))
        self._name_of = name_of
        self._on_blocked = on_blocked
        self._alive = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)
        self._loop_thread = 0

    def open(self, loop_thread: int) -> None:
        """`loop_thread` is the identifier of the thread that runs the loop."""
        self._loop_thread = loop_thread
        self._alive.set()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()

    def _run(self) -> None:
        held_s, holder = 0.0, None
        while not self._closing.wait(_TICK_S):
            now_holding = asyncio.current_task(self._loop)
            if self._alive.is_set() or now_holding is not holder:
                held_s, holder = 0.0, now_holding
                self._ask_for_life()
                continue
            held_s += _TICK_S
            where = self._where()
            if held_s == TOLD_AFTER_S:
                log.warning(
                    "%s has held the event loop for %.0f s at %s: nothing else runs meanwhile; a recipe may wait only by "
                    "'await', and long work belongs in 'asyncio.to_thread'",
                    self._name_of(holder),
                    held_s,
                    where,
                )
            if held_s >= self._limit_s:
                log.error(
                    "%s holds the event loop at %s for %.0f s: its replica is replaced", self._name_of(holder), where, held_s
                )
                self._on_blocked(holder, f"held the event loop for {self._limit_s:g} s at {where}")
                return

    def _ask_for_life(self) -> None:
        if self._alive.is_set():
            self._alive.clear()
            try:
                self._loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # the loop is closed
                self._closing.set()

    def _where(self) -> str:
        """The recipe's own line, or else the innermost of all."""
        innermost = frame = sys._current_frames().get(self._loop_thread)
        while frame is not None and frame.f_code.co_filename != self._file:
            frame = frame.f_back
        return _line_of(frame or innermost)


def _line_of(frame: FrameType | None) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else "an unknown line"
