"""Results in order, never too many of them, and nothing at work once the caller has gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.workers.prefetch import prefetched


class Loader:
    """Loads numbers, each a little late, and keeps account of what is loaded and not yet taken."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken, self.begun, self.ended = broken, 0, 0
        self._lock = threading.Lock()

    def __call__(self, number: int) -> int:
        with self._lock:
            self.begun += 1
        time.sleep(0.001 * (number * 7919 % 3))
        with self._lock:
            self.ended += 1
        if number == self.broken:
            raise ValueError(number)
        return -number


def taken(results: Iterator[int], at_most: int) -> tuple[list[int], int | None]:
    seen: list[int] = []
    try:
        for result in results:
            seen.append(result)
            if len(seen) == at_most:
                break
    except ValueError as error:
        return seen, int(str(error))
    return seen, None


@settings(max_examples=40, deadline=None)
@given(
    items=st.integers(0, 20),
    ahead=st.integers(1, 6),
    threads=st.integers(1, 4),
    broken=st.none() | st.integers(0, 19),
    at_most=st.integers(1, 25),
)
def test_what_is_prefetched_is_what_map_gives(items: int, ahead: int, threads: int, broken: int | None, at_most: int) -> None:
    load = Loader(broken)
    results = prefetched(range(items), load, ahead=ahead, threads=threads)
    assert taken(results, at_most) == taken(map(Loader(broken), range(items)), at_most)
    results.close()
    assert load.begun == load.ended  # nothing is at work any more


def test_no_more_is_loaded_than_may_wait() -> None:
    load = Loader()
    for n, _ in enumerate(prefetched(range(30), load, ahead=3, threads=2), 1):
        time.sleep(0.003)
        assert load.begun <= n + 3
