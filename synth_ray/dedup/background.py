"""Work on a thread beside the caller's, whose error the caller hears."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class _Ended(Exception):
    """The caller wants no result any more."""


class Background(Generic[T]):
    """Law: what `work` returns, or raises, comes out of `result`, every time it is asked for. Nothing is lost in the thread.

    `work` is given a function to call now and then: it raises once the work is not wanted. A process that ends does not wait.
    """

    def __init__(self, work: Callable[[Callable[[], None]], T], *, name: str) -> None:
        self._work, self._unwanted = work, Event()
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._values.append(self._work(self._go_on))
        except BaseException as error:  # any: `result` raises it in the caller's thread
            self._error = error

    def _go_on(self) -> None:
        if self._unwanted.is_set():
            raise _Ended

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> T:
        """Waits for it. Raises what the work raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._values[0]

    def end(self) -> T | None:
        """Have it end soon, and wait; returns what it had finished all the same."""
        self._unwanted.set()
        self._thread.join()
        return self._values[0] if self._values else None
