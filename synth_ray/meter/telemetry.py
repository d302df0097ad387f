"""One trace and the metrics of a run, sent by OpenTelemetry (OTLP over HTTP) where the environment names a collector.

OpenTelemetry is imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set, and reads its other variables itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from synth_ray.job.document import Job
from synth_ray.meter.metrics import BY_NAME, JOB_LABEL, METRICS, PREFIX, Readings, Values
from synth_ray.meter.tally import Tally

log = logging.getLogger(__name__)

MAX_CHUNK_SPANS = 128
_READ_EVERY_S = 5.0
_SPANS = {"preparing": "prepare", "generating": "drive", "publishing": "publish"}


def telemetry_of(job: Job) -> Telemetry | None:
    """For a run of the job. None, with a warning, where the exporter is not installed: clusters set the variable for everyone."""
    try:
        return Telemetry(job)
    except ModuleNotFoundError as error:
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set and %s is not installed: no trace is sent; pip install 'synth-ray[otel]'",
            error.name,
        )
        return None


class Telemetry:
    """A context around a run; `observe` takes each tally.

    The trace: `run`, in it `prepare`, `drive` and `publish`, and in `drive` a span `chunks` each time the admission frontier has
    moved, with the chunks and rows since the one before. Law: at most MAX_CHUNK_SPANS of them, each of more chunks the more
    there are; attributes are counts, the job's name and the name of an error's type, never text.
    """

    def __init__(self, job: Job) -> None:
        from synth_ray.meter import otlp

        self._job = job
        self._readings = Readings(usd_budget=job.budget.max_usd)
        self._exporter = otlp.Exporter(job.name)
        self._chunk_spans = ChunkSpans(self._exporter.span)
        self._tally = Tally()
        self._values: Values = {}
        self._read_at = float("-inf")

    def __enter__(self) -> Telemetry:
        self._run = self._exporter.begin("run", None, {"synth_ray.job": self._job.name})
        self._begin_stage()
        gauges = ((f"{PREFIX}{metric.name}", metric.help, self._values_of(metric.name)) for metric in METRICS)
        self._exporter.export_gauges(gauges)
        return self

    def _begin_stage(self) -> None:
        self._stage = self._exporter.begin(_SPANS[self._readings.stage], self._run, {})

    def observe(self, tally: Tally) -> None:
        """Call at every tick."""
        self._tally = tally
        before = self._readings.stage
        self._readings.observe(tally)
        if self._readings.stage != before:
            self._chunk_spans.end(self._stage)
            self._stage.end()
            self._begin_stage()
            self._chunk_spans.begin()
        if self._readings.stage == "generating":
            self._chunk_spans.observe(tally, self._stage)
        if self._readings.stage != before or time.monotonic() - self._read_at >= _READ_EVERY_S:
            self._read()

    def _values_of(self, name: str) -> Callable[[], Iterable[tuple[float, dict[str, str]]]]:
        def values() -> Iterable[tuple[float, dict[str, str]]]:
            for (metric, labels), value in self._values.items():
                if metric == name:
                    yield value, {JOB_LABEL: self._job.name, **dict(zip(BY_NAME[name].labels, labels, strict=True))}

        return values

    def _read(self) -> None:
        """Here, in the driver's thread: the sender's may not read a tally that changes."""
        self._values, self._read_at = self._readings.values(), time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._readings.stage == "generating":
            self._chunk_spans.end(self._stage)
        self._readings.enter("ended")
        self._read()
        tally = self._tally
        counts = {"accepted": tally.accepted, "rejected": tally.rejected.total(), "failed": tally.failed.total()}
        self._run.set_attributes({f"synth_ray.rows.{verdict}": rows for verdict, rows in counts.items()})
        for span in (self._stage, self._run):
            self._exporter.end(span, error=kind.__name__ if kind is not None else "")
        self._exporter.close()


class ChunkSpans:
    """Spans of the chunks that were admitted since the span before. `span(name, parent, began_ns, attributes)` makes one."""

    def __init__(self, span: Callable[[str, Any, int, dict[str, int]], None], now_ns: Callable[[], int] = time.time_ns) -> None:
        self._span, self._now_ns = span, now_ns
        self._made, self._stride = 0, 1
        self._began_ns = now_ns()
        self._chunks = self._rows = 0
        self._tally = Tally()

    def begin(self) -> None:
        """The next span begins now."""
        self._began_ns = self._now_ns()

    def observe(self, tally: Tally, parent: Any) -> None:
        """A span is made once `stride` chunks were admitted; the stride doubles after every sixteenth of the spans."""
        self._tally = tally
        if tally.chunks_admitted - self._chunks >= self._stride and self._made < MAX_CHUNK_SPANS - 1:
            self._make(parent)

    def end(self, parent: Any) -> None:
        """The last span, of what was admitted since."""
        if self._tally.chunks_admitted > self._chunks:
            self._make(parent)

    def _make(self, parent: Any) -> None:
        chunks, rows = self._tally.chunks_admitted, self._tally.slots
        facts = {"first": self._chunks, "chunks": chunks - self._chunks, "rows": rows - self._rows}
        self._span("chunks", parent, self._began_ns, {f"synth_ray.{name}": count for name, count in facts.items()})
        self._chunks, self._rows, self._began_ns = chunks, rows, self._now_ns()
        self._made += 1
        if self._made % (MAX_CHUNK_SPANS // 16) == 0:
            self._stride *= 2
