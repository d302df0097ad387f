"""What is measured of the driver's loop at every tick, for whoever watches the run; nothing is decided by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from synth_ray.drive.dispatch import Dispatcher
from synth_ray.drive.window import Window
from synth_ray.meter.tally import Tally
from synth_ray.meter.throughput import Throughput
from synth_ray.meter.waits import Moment, seconds_by_wait


class Observation:
    """Counts into the tally where the loop's time went, and how busy the replicas are."""

    def __init__(
        self,
        tally: Tally,
        throughput: Throughput,
        *,
        dispatcher: Dispatcher,
        window: Window,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally, self._throughput = tally, throughput
        self._dispatcher, self._window = dispatcher, window
        self._clock = clock
        self._seen_at = clock()
        self._planning_s = self._admitting_s = 0.0

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Around what reads seeds and makes requests."""
        began = self._clock()
        yield
        self._planning_s += self._clock() - began

    @contextmanager
    def admitting(self) -> Iterator[None]:
        """Around what decides on rows."""
        began = self._clock()
        yield
        self._admitting_s += self._clock() - began

    def begin(self) -> None:
        self._seen_at = self._clock()

    def tick(self, *, plan_ended: bool, buffer_full: bool, to_stage: bool) -> None:
        """Call when the answers of a tick have come in and nothing new is handed out: then a hungry replica is seen."""
        dispatcher, window, now = self._dispatcher, self._window, self._clock()
        moment = Moment(
            elapsed_s=now - self._seen_at,
            planning_s=self._planning_s,
            admitting_s=self._admitting_s,
            replicas=dispatcher.replica_count,
            full_share=dispatcher.full_share,
            all_planned=plan_ended and not dispatcher.queued,
            is_held=buffer_full or not (plan_ended or window.has_room()),
            is_staging=to_stage or window.is_staging or window.next_admittable() is not None,
        )
        self._tally.seconds.update(seconds_by_wait(moment))  # type: ignore[arg-type]  # a Counter of seconds
        self._seen_at, self._planning_s, self._admitting_s = now, 0.0, 0.0
        self._tally.queued = dispatcher.queued
        self._tally.replica_loads = self._throughput.replica_loads()
