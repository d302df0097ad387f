"""Loads ahead: the next items of a sequence are loaded by threads while the caller is busy with an earlier one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(
    items: Iterable[Item], load: Callable[[Item], Result], *, ahead: int, threads: int
) -> Generator[Result, None, None]:
    """`load(item)` of each item, in the items' order. Law: what the caller sees is what `map(load, items)` gives it.

    At most `ahead` results, of at least one, wait or are being loaded beside the one the caller has: they bound the memory.
    Items are taken in the caller's thread. An error of `load` is raised where its result would have come. Close the iterator, or
    let it end, and no load is running any more; what was not begun is never loaded.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
        pending: deque[Future[Result]] = deque(pool.submit(load, item) for item in islice(waiting, max(1, ahead)))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(load, item) for item in islice(waiting, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
