"""The interpreter's cycle collector, told what is here to stay.

Start-up leaves half a million objects that live to the end, and rows are made by the thousand: as set, the collector walks
the young ones every 700 and all of them again and again, which was a fifth of the time of a CPU worker.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_GENERATION0_THRESHOLD = 50_000


def freeze_startup_objects() -> None:
    """For a process of our own, once it is up: what is there is walked no more, and new objects less often."""
    gc.freeze()
    gc.set_threshold(_GENERATION0_THRESHOLD, 20, 20)


@contextmanager
def frozen_during_run() -> Iterator[None]:
    """The same for a while, in a process that is not ours: what is garbage there already waits until the end."""
    before = gc.get_threshold()
    freeze_startup_objects()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
