"""`synth-ray tune`: a short sweep over engine arguments with the job's own prompts, on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from synth_ray.cli.job import job_of
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.models import RESULT_ENGINE_ARGS
from synth_ray.job.overrides import with_overrides
from synth_ray.job.yaml_file import read_yaml
from synth_ray.prepare.preparation import prepare
from synth_ray.records import Request
from synth_ray.route.engine_sweep import DEFAULT_SWEEP, Measurement, best_of, measure, sweep


def main(arguments: argparse.Namespace) -> int:
    job = job_of(arguments)
    tried = dict(_parse_candidates(text) for text in arguments.tried) or dict(DEFAULT_SWEEP)
    with tempfile.TemporaryDirectory() as spool:
        prepared = prepare(job, spool=Path(spool), file=arguments.job)
        planner, job = prepared.planner, prepared.job
        requests = planner.numbered(0, range(min(arguments.requests, planner.requests)))
    print(f"{len(requests):,} requests of {job.name}; completion tokens per second, occupancy, preemptions, seconds to start")
    measurements = []
    first = dict(job.models.teacher.engine_args)
    for measurement in sweep(first, tried, lambda engine_args: _measure_in_subprocess(_job_with(job, engine_args), requests)):
        measurements.append(measurement)
        print(_line(measurement, first), flush=True)
    return _print_best(job, arguments, measurements)


def _parse_candidates(text: str) -> tuple[str, Sequence[Any]]:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise JobError(f"--try: wanted ARGUMENT=VALUE,VALUE, got '{text}'")
    return name, [yaml.safe_load(value) for value in values.split(",")]


def _job_with(job: Job, engine_args: dict[str, Any]) -> Job:
    teacher = job.models.teacher.model_copy(update={"engine_args": engine_args})
    return job.model_copy(update={"models": job.models.model_copy(update={"teacher": teacher})})


def _measure_in_subprocess(job: Job, requests: list[Request]) -> Measurement:
    """Measure in a new process: an engine's memory is surely free again only when its process has ended."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, job, requests).result()


def _line(measurement: Measurement, first: dict[str, Any]) -> str:
    differs = ", ".join(f"{name} {value}" for name, value in measurement.arguments.items() if first.get(name) != value)
    result = (
        measurement.failed
        or f"{measurement.tokens_s:>9,.0f}  {measurement.occupancy:6.1%}  {measurement.preempted:>5}  {measurement.start_s:5.1f}"
    )
    return f"  {differs or 'as the job says':<48} {result}"


def _print_best(job: Job, arguments: argparse.Namespace, measurements: list[Measurement]) -> int:
    best = best_of(measurements)
    longest = max(measurement.longest for measurement in measurements)
    print(f"longest   {longest:,} tokens with its prompt: max_model_len need not be much more")
    if best is measurements[0]:
        print("best      as the job says: nothing was faster by more than noise")
        return 0
    changed = {name: value for name, value in best.arguments.items() if measurements[0].arguments.get(name) != value}
    print(f"best      {yaml.safe_dump({'engine_args': changed}, default_flow_style=True).strip()}")
    print(f"          × {best.tokens_s / max(1e-9, measurements[0].tokens_s):.2f} of what the job says")
    if ask_keys := sorted(RESULT_ENGINE_ARGS & changed.keys()):
        print(f"          {', '.join(ask_keys)} can change answers: an output that was begun without it refuses the job")
    path = arguments.write or f"{Path(arguments.job).with_suffix('')}.tuned.yaml"
    document, _ = read_yaml(arguments.job)
    document = with_overrides(document, {"models.teacher.engine_args": best.arguments})
    Path(path).write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    print(f"job       {path}")
    return 0
