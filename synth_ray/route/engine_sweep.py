"""Measures a job's own requests under other engine arguments: one measurement, and a sweep over many."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from synth_ray.ask.teacher import Load
from synth_ray.ask.worker import AskWorker
from synth_ray.errors import EngineDied, SynthRayError
from synth_ray.job.document import Job
from synth_ray.records import Request

MIN_SPEEDUP = 1.03
"""A setting must be so many times faster to be chosen: less is noise, and a default needs no explanation."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting. `tokens_s` is of all engines on `devices` accelerators. `failed` is the reason it could not be measured; an
    engine that does not start is a result, too.
    """

    arguments: dict[str, Any]
    tokens_s: float = 0.0
    occupancy: float = 0.0
    preempted: int = 0
    start_s: float = 0.0
    longest: int = 0
    failed: str = ""
    devices: int = 1

    @property
    def rate(self) -> float:
        """Tokens per second of one accelerator: what the money buys."""
        return self.tokens_s / self.devices


def measure(job: Job, requests: Sequence[Request], arguments: Mapping[str, Any], engines: int = 1) -> Measurement:
    """Answer these requests once, in this process, by so many engines on one accelerator. An engine cannot be unloaded, so call
    it in a process of its own. `arguments` are the setting, for the record.
    """
    workers = [AskWorker(job) for _ in range(engines)]
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(engines) as threads:
            facts = [each["teacher"] for each in threads.map(AskWorker.open, workers)]
            start_s, began = time.monotonic() - began, time.monotonic()
            shares = [requests[place::engines] for place in range(engines)]
            answered = list(threads.map(_answered, workers, shares))
            seconds = time.monotonic() - began
        loads = [worker.load().get("teacher", Load()) for worker in workers]
    except (SynthRayError, EngineDied) as error:
        return Measurement(dict(arguments), failed=str(error).splitlines()[0][:200])
    finally:
        for worker in workers:
            worker.close()
    most = sum(load.steps * each.max_running for load, each in zip(loads, facts, strict=True))
    return Measurement(
        dict(arguments),
        tokens_s=sum(tokens["completion"] for tokens, _ in answered) / seconds,
        occupancy=sum(load.running_sum for load in loads) / max(1, most),
        preempted=sum(load.preempted for load in loads),
        start_s=start_s,
        longest=max(longest for _, longest in answered),
        devices=max(1, facts[0].devices),
    )


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
    """The measurement with the most tokens per accelerator, and so per dollar, if that is MIN_SPEEDUP more than the first has,
    which is what the job says; else the first.
    """
    fastest = max(measurements, key=lambda measurement: measurement.rate)
    return fastest if fastest.rate > MIN_SPEEDUP * measurements[0].rate else measurements[0]
