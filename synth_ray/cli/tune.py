"""`synth-ray tune`: a short sweep over engine arguments, and engines on one GPU, with the job's own prompts, on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.cli.job import job_of
from synth_ray.cli.numbers import short_count
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.engine_args import RESULT_ENGINE_ARGS
from synth_ray.job.overrides import with_overrides
from synth_ray.job.yaml_file import read_yaml
from synth_ray.prepare.preparation import prepare
from synth_ray.records import Request
from synth_ray.route.engine_setting import (
    ENGINES_PER_GPU,
    default_sweep,
    job_with,
    keys_of,
    refuse_unfit_sweep,
    setting_of,
    tokens_per_dollar,
)
from synth_ray.route.engine_sweep import Measurement, best_of, measure, sweep

_HEAD = "occupancy, preemptions, seconds to start"


def main(arguments: argparse.Namespace) -> int:
    job, on_cpu = job_of(arguments), is_cpu_build()
    tried = dict(_parse_candidates(text) for text in arguments.tried) or default_sweep(job, on_cpu=on_cpu)
    refuse_unfit_sweep(job, tried, on_cpu=on_cpu)
    first = setting_of(job, on_cpu=on_cpu)
    most = max(first[ENGINES_PER_GPU], *tried.get(ENGINES_PER_GPU, ()), 1)
    with tempfile.TemporaryDirectory() as spool:
        prepared = prepare(job, spool=Path(spool), file=arguments.job)
        planner, job = prepared.planner, prepared.job
        each = max(1, min(arguments.requests, planner.requests // most))
        requests = planner.numbered(0, range(min(each * most, planner.requests)))

    def measure_one(setting: dict[str, Any]) -> Measurement:
        engines = setting[ENGINES_PER_GPU]
        with_setting = job_with(job, setting, on_cpu=on_cpu)
        return _measure_in_subprocess(with_setting, requests[: each * engines], setting, engines)

    print(f"{each:,} requests of {job.name} for each engine; completion tokens per second, {_HEAD}")
    measurements = []
    for measurement in sweep(first, tried, measure_one):
        measurements.append(measurement)
        print(_line(measurement, first, tokens_per_dollar(job, measurement.rate, on_cpu=on_cpu)), flush=True)
    return _print_best(job, arguments, measurements, on_cpu=on_cpu)


def _parse_candidates(text: str) -> tuple[str, Sequence[Any]]:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise JobError(f"--try: wanted ARGUMENT=VALUE,VALUE, got '{text}'")
    return name, [yaml.safe_load(value) for value in values.split(",")]


def _measure_in_subprocess(job: Job, requests: list[Request], setting: dict[str, Any], engines: int) -> Measurement:
    """Measure in a new process: an engine's memory is surely free again only when its process has ended."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, job, requests, setting, engines).result()


def _line(measurement: Measurement, first: dict[str, Any], per_dollar: float | None) -> str:
    differs = ", ".join(f"{name} {value}" for name, value in measurement.arguments.items() if first.get(name) != value)
    result = (
        measurement.failed
        or f"{measurement.tokens_s:>9,.0f}  {measurement.occupancy:6.1%}  {measurement.preempted:>5}  {measurement.start_s:5.1f}"
        + (f"  {measurement.devices} accelerators" if measurement.devices > 1 else "")
        + (f"  {short_count(per_dollar)} a dollar" if per_dollar is not None else "")
    )
    return f"  {differs or 'as the job says':<48} {result}"


def _print_best(job: Job, arguments: argparse.Namespace, measurements: list[Measurement], *, on_cpu: bool) -> int:
    best = best_of(measurements)
    longest = max(measurement.longest for measurement in measurements)
    print(f"longest   {longest:,} tokens with its prompt: max_model_len need not be much more")
    if best is measurements[0]:
        print("best      as the job says: nothing was faster by more than noise")
        return 0
    changed = {name: value for name, value in best.arguments.items() if measurements[0].arguments.get(name) != value}
    keys = keys_of(job, best.arguments, on_cpu=on_cpu)
    own = {name: value for name, value in changed.items() if name != ENGINES_PER_GPU}
    shown = ({"engine_args": own} if own else {}) | {
        name: value for name, value in keys.items() if not name.startswith("models.")
    }
    print(f"best      {yaml.safe_dump(shown, default_flow_style=True, width=1000).strip()}")
    print(f"          × {best.rate / max(1e-9, measurements[0].rate):.2f} of what the job says")
    if ask_keys := sorted(RESULT_ENGINE_ARGS & changed.keys()):
        print(f"          {', '.join(ask_keys)} can change answers: an output that was begun without it refuses the job")
    path = arguments.write or f"{Path(arguments.job).with_suffix('')}.tuned.yaml"
    document, _ = read_yaml(arguments.job)
    document = with_overrides(document, keys)
    Path(path).write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    print(f"job       {path}")
    return 0
