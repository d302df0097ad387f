"""Signals that end a run: the first of each kind stops it cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopped_by_signals(stop: Callable[[str], None]) -> Iterator[list[signal.Signals]]:
    """SIGTERM and the first Ctrl-C stop cleanly; a second Ctrl-C interrupts. Yields the signals got so far."""
    got: list[signal.Signals] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        got.append(signal.Signals(number))
        stop(f"got {got[-1].name}")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield got
        return
    before = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield got
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
