"""Measures a job's own requests under other engine arguments: one measurement, and a sweep over many."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ray.ask.teacher import Load
from synth_ray.ask.worker import AskWorker
from synth_ray.errors import EngineDied, SynthRayError
from synth_ray.job.document import Job
from synth_ray.records import Request

MIN_SPEEDUP = 1.03
"""A setting must be so many times faster to be chosen: less is noise, and a default needs no explanation."""

DEFAULT_SWEEP: Mapping[str, Sequence[Any]] = {
    "max_num_seqs": (64, 128, 256, 512, 1024),
    "max_num_batched_tokens": (2048, 8192, 16384, 32768),
}
"""The values tried by default: one argument after the other, each with the best values so far."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting. `failed` is the reason it could not be measured; an engine that does not start is a result, too."""

    arguments: dict[str, Any]
    tokens_s: float = 0.0
    occupancy: float = 0.0
    preempted: int = 0
    start_s: float = 0.0
    longest: int = 0
    failed: str = ""


def measure(job: Job, requests: Sequence[Request]) -> Measurement:
    """Answer these requests once, in this process. An engine cannot be unloaded, so call it in a process of its own."""
    arguments = dict(job.models.teacher.engine_args)
    worker = AskWorker(job)
    try:
        facts = worker.open()["teacher"]
        began = time.monotonic()
        tokens, longest = _answered(worker, requests)
        seconds = time.monotonic() - began
        load = worker.load().get("teacher", Load())
    except (SynthRayError, EngineDied) as error:
        return Measurement(arguments, failed=str(error).splitlines()[0][:200])
    finally:
        worker.close()
    occupancy = load.running_sum / max(1, load.steps * facts.max_running)
    return Measurement(arguments, tokens["completion"] / seconds, occupancy, load.preempted, facts.start_s, longest)


def _answered(worker: AskWorker, requests: Sequence[Request]) -> tuple[Counter[str], int]:
    tokens: Counter[str] = Counter()
    left, longest = len(requests), 0
    worker.submit(requests)
    while left:
        for rows in worker.collect(1.0):
            left -= len(rows.positions)
            tokens.update(rows.tokens)
            columns = (rows.rows[name].to_pylist() for name in ("prompt_tokens", "completion_tokens"))
            longest = max(longest, *(a + b for a, b in zip(*columns, strict=True)))
    return tokens, longest


def sweep(
    arguments: Mapping[str, Any], candidates: Mapping[str, Sequence[Any]], measure_one: Callable[[dict[str, Any]], Measurement]
) -> Iterator[Measurement]:
    """Measure the arguments as they are, then argument by argument with the best values so far; yields every measurement. See
    `best_of`.
    """
    done = [measure_one(dict(arguments))]
    yield done[0]
    for name, values in candidates.items():
        best = best_of(done)
        for value in values:
            if best.arguments.get(name) != value:
                done.append(measure_one(best.arguments | {name: value}))
                yield done[-1]


def best_of(measurements: Sequence[Measurement]) -> Measurement:
    """The fastest measurement if it is MIN_SPEEDUP faster than the first, which is what the job says; else the first."""
    fastest = max(measurements, key=lambda measurement: measurement.tokens_s)
    return fastest if fastest.tokens_s > MIN_SPEEDUP * measurements[0].tokens_s else measurements[0]
