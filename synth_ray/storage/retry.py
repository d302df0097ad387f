"""How long requests to a failing store are retried."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from synth_ray.errors import StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Transient(Exception):
    """A fault that may pass: a busy server, a connection reset, a truncated response. Its text has no secret and no data."""


@dataclass(frozen=True, slots=True)
class StoreCalls:
    """What came of this process's requests to stores that may be busy: sent, tries that failed and were retried, given up."""

    sent: int = 0
    retried: int = 0
    given_up: int = 0


class _Counts:
    """Counts of the whole process, whichever thread asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = StoreCalls()

    def add(self, *, sent: int = 0, retried: int = 0, given_up: int = 0) -> None:
        with self._lock:
            before = self.calls
            self.calls = StoreCalls(before.sent + sent, before.retried + retried, before.given_up + given_up)


_counts = _Counts()


def store_calls() -> StoreCalls:
    """The counts so far."""
    return _counts.calls


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry after a transient fault, until `budget_s` seconds have passed since the first try.

    The wait before retry n is uniform in [0, min(longest_s, first_s * 2^n)], so that many workers do not retry at the same
    moment: "full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    budget_s: float = 120.0
    first_s: float = 0.2
    longest_s: float = 20.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform

    def call(self, operation: Callable[[int], T], *, name: str) -> T:
        """Call `operation(attempt)`, attempt counted from 0, until it raises no Transient. Raises StorageError past the
        budget.
        """
        start = self.clock()
        _counts.add(sent=1)
        attempt = 0
        while True:
            try:
                return operation(attempt)
            except Transient as fault:
                wait = self.uniform(0.0, min(self.longest_s, self.first_s * 2.0 ** min(attempt, 30)))
                if self.clock() - start + wait > self.budget_s:
                    _counts.add(given_up=1)
                    raise StorageError(
                        f"{name}: wanted an answer within {self.budget_s:g} s, got {attempt + 1} failed tries, the "
                        f"last: {fault}; see that the store is up and not throttled, then run the same command again"
                    ) from None
                attempt += 1
                _counts.add(retried=1)
                log.warning("%s: %s; try %d in %.1f s", name, fault, attempt + 1, wait)
            self.sleep(wait)
