"""The only file that imports OpenTelemetry: spans and gauges, sent to the collector that the environment names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

_METRICS_EVERY_MS = 10_000
_CLOSE_S = 10.0

Read = Callable[[], Iterable[tuple[float, dict[str, str]]]]
"""Values of a gauge at this moment, each with its labels."""


class Exporter:
    """Providers of its own, so that a program that uses OpenTelemetry itself keeps its own. `close` sends what is left,
    for ten seconds at most; a collector that does not answer is logged by the library, and never stops a run.
    """

    def __init__(self, job: str) -> None:
        resource = Resource.create({"service.name": "synth-ray", "synth_ray.job": job})
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._traces.get_tracer("synth_ray")
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=_METRICS_EVERY_MS)
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

    def begin(self, name: str, parent: Any, attributes: Mapping[str, Any], began_ns: int | None = None) -> Any:
        """A span that goes on until its `end`. Without a parent it is the root of a trace."""
        context = trace.set_span_in_context(parent if parent is not None else trace.INVALID_SPAN)
        return self._tracer.start_span(name, context=context, attributes=dict(attributes), start_time=began_ns)

    def span(self, name: str, parent: Any, began_ns: int, attributes: Mapping[str, Any]) -> None:
        """A span that ends now."""
        self.begin(name, parent, attributes, began_ns).end()

    def end(self, span: Any, *, error: str) -> None:
        """`error` names the type of what went wrong, and is empty where nothing did."""
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()

    def export_gauges(self, gauges: Iterable[tuple[str, str, Read]]) -> None:
        """From now on these gauges, by name and help, are read and sent every ten seconds."""
        meter = self._metrics.get_meter("synth_ray")
        for name, text, read in gauges:
            meter.create_observable_gauge(name, callbacks=[_callback(read)], description=text)

    def close(self) -> None:
        until = time.monotonic() + _CLOSE_S
        closing = [threading.Thread(target=part.shutdown, daemon=True) for part in (self._traces, self._metrics)]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()))


def _callback(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, labels) for value, labels in read()]

    return observe
