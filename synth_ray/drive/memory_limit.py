"""A driver that stops, resumable, before the machine kills it for its memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from synth_ray.job.running import Limits
from synth_ray.meter.memory import Taken, taken_by_all, used_bytes
from synth_ray.meter.tally import Tally
from synth_ray.prepare.driver_memory import memory_limit
from synth_ray.report.numerals import size

_SHARE_OF_ALL = 0.95
_LOOK_S = 1.0


class MemoryLimit:
    """Law: once the driver has passed `limits.memory_bytes`, or everything that runs beside it 95 % of what there is, no further
    chunk is admitted, and the run stops: what is committed stays, and the next run admits it. With a limit of 0, never.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        tally: Tally,
        used: Callable[[], int] = used_bytes,
        by_all: Callable[[], Taken | None] = taken_by_all,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._tally = memory_limit(limits), tally
        self._used, self._by_all, self._clock = used, by_all, clock
        self._looked_at = float("-inf")
        self._passed = ""

    @property
    def is_passed(self) -> bool:
        if self._most and not self._passed:
            self._passed = self._look()
        return bool(self._passed)

    def _look(self) -> str:
        """What was wanted and what was got, where that is too much; the second look costs more, so it is not taken each time."""
        if (used := self._used()) > self._most:
            return f"wanted at most {size(self._most)} in the driver, got {size(used)}"
        if self._clock() - self._looked_at < _LOOK_S:
            return ""
        self._looked_at = self._clock()
        taken = self._by_all()
        if taken is None or taken.used <= _SHARE_OF_ALL * taken.most:
            return ""
        least = size(round((1 - _SHARE_OF_ALL) * taken.most))
        return (
            f"wanted {least} of this machine's or container's {size(taken.most)} left, got {size(taken.used)} in use by all that "
            f"runs here, {size(used)} of it by the driver"
        )

    def message(self) -> str:
        tally = self._tally
        return (
            f"limits.memory_bytes: {self._passed}: the index of kept rows has {size(tally.index_bytes)}, answers that wait to be "
            f"stored {size(tally.buffered_bytes)}; give it more memory, or set cluster.index_shards or dedup.spill_bytes, then "
            "run it again: it goes on"
        )
