"""The metrics of a run on Ray's Prometheus endpoint, set by the driver's process alone.

Ray labels each series with the process that set it. Metrics of workers would be sums over processes that come and go; the
driver's tally has the same facts, and is right at once after a resume. Ray drops a series that is not set for 20 seconds:
its agents keep a gauge for two intervals of `metrics_report_interval_ms`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import ray
from ray.util.metrics import Gauge

from synth_ray.cluster.pool import RayPool
from synth_ray.cluster.ray_session import start_ray
from synth_ray.job.document import Job
from synth_ray.meter.metrics import JOB_LABEL, METRICS, PREFIX, Readings, Values
from synth_ray.meter.tally import Tally

INTERVAL_S = 10.0
_REPEAT_S = 5.0


class RayMetrics:
    """A context around a run: `open_pool` makes its pool, `observe` takes each tally.

    Law: the values of a moment are set INTERVAL_S after those before, or as soon as the driver comes to it; while it is busy
    with something long the old ones are set again, so that they stay. At the end what is of the moment becomes 0. A Ray session
    that was started for the run lasts until then, so that publishing is seen too: leaving a session sends what was set.
    """

    def __init__(self, job: Job, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._clock = clock
        self._readings = Readings(usd_budget=job.budget.max_usd, clock=clock)
        self._gauges: dict[str, Gauge] = {}
        self._values: Values = {}
        self._lock = threading.Lock()
        self._next_at = clock()
        self._stage = ""
        self._started_ray = False
        self._ended = threading.Event()
        self._repeating = threading.Thread(target=self._repeat, name="metrics", daemon=True)

    def __enter__(self) -> RayMetrics:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._ended.set()
        if self._repeating.is_alive():
            self._repeating.join()
        self._readings.enter("ended")
        self._export()
        if self._started_ray:
            ray.shutdown()

    def open_pool(self, job: Job) -> RayPool:
        """The pool of the run, in a Ray session."""
        self._started_ray = start_ray(job.cluster)
        self._repeating.start()
        return RayPool(job)

    def observe(self, tally: Tally) -> None:
        """Call at every tick. A new stage is exported at once."""
        self._readings.observe(tally)
        if self._clock() >= self._next_at or self._readings.stage != self._stage:
            self._stage = self._readings.stage
            self._next_at = self._clock() + INTERVAL_S
            self._export()

    def _export(self) -> None:
        """What has no value any more, as a replica that is gone, is 0 from now on."""
        values = self._readings.values()
        with self._lock:
            self._values = dict.fromkeys(self._values, 0.0) | values
            self._set()

    def _repeat(self) -> None:
        while not self._ended.wait(_REPEAT_S):
            with self._lock:
                self._set()

    def _set(self) -> None:
        if not ray.is_initialized():
            return  # the run ended before it needed a cluster
        for (name, labels), value in self._values.items():
            self._gauge(name).set(value, tags=dict(zip(_LABELS[name], (self._job.name, *labels), strict=True)))

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(PREFIX + name, _HELP[name], tag_keys=_LABELS[name])
        return self._gauges[name]


_LABELS = {metric.name: (JOB_LABEL, *metric.labels) for metric in METRICS}
_HELP = {metric.name: metric.help for metric in METRICS}
