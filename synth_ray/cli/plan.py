"""`synth-ray plan`: what a run would ask, before any model is asked."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.cli.estimate import estimate_lines, memory_lines, step_line, top_k_line
from synth_ray.cli.job import job_of
from synth_ray.cli.machine import gpu_name
from synth_ray.errors import JobError, StorageError
from synth_ray.job.device_memory import memory_notes, refuse_full_devices
from synth_ray.job.document import Job
from synth_ray.prepare.estimate import Estimate, estimate
from synth_ray.prepare.index_memory import index_memory
from synth_ray.prepare.lengths import Lengths, read_lengths
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.prepare.several_engines import step_estimate
from synth_ray.prepare.top_k_size import top_k_size
from synth_ray.records import SPLITS
from synth_ray.storage import open_storage
from synth_ray.storage.job_files import open_output

_CHUNKS_SHOWN = 10


def main(arguments: argparse.Namespace) -> int:
    job = job_of(arguments)
    with tempfile.TemporaryDirectory() as spool:
        prepared = prepare(job, spool=Path(spool), file=arguments.job)
        lengths = _lengths(job, arguments.like)
        guess = estimate(prepared, job, lengths)
        counts = dict.fromkeys(SPLITS, 0)
        size = top_k_size(prepared, guess)
        memory = index_memory(prepared, lengths)
        for code in prepared.seeds.splits:
            counts[SPLITS[code]] += 1
    print(f"job       {job.name}  ({prepared.job_digest})")
    print(f"seeds     {prepared.count.read} read, {prepared.count.planned} planned, rejected: {prepared.count.summary()}")
    print(f"          {', '.join(f'{name} {n}' for name, n in counts.items())}; real evaluation rows {prepared.real.num_rows}")
    if job.target.is_set:
        _print_target(prepared)
    else:
        _print_chunks(prepared)
    print(f"asks      {guess.asks:,}")
    for line in estimate_lines(guess):
        print(line)
    for line in (*memory_lines(memory), *_device_lines(job, guess)):
        print(line)
    if size is not None:
        print(top_k_line(size))
    return 0


def _device_lines(job: Job, guess: Estimate) -> Iterator[str]:
    """How engines share an accelerator, and whether they should. Nothing where engines run on this machine's processors."""
    device, on_cpu = gpu_name(os.environ), is_cpu_build()
    refuse_full_devices(job, on_cpu=on_cpu)
    yield from (f"gpu       {note}" for note in memory_notes(job, on_cpu=on_cpu))
    runs_on_gpus = bool(device or job.cluster.address or job.cluster.memory_gb_s) or not on_cpu
    step = step_estimate(job, guess, device) if runs_on_gpus else None
    if step is not None:
        yield step_line(step)


def _lengths(job: Job, like: str | None) -> Lengths | None:
    """The lengths of an earlier run: of the output that is named, else of the job's own. Raises JobError for one without any."""
    if like is not None:
        storage = open_storage(like, **job.output.server_for(like))
        lengths = read_lengths(storage, f"the requests of {like}")
        if lengths is None:
            raise JobError(f"--like: wanted an output with committed chunks, got none at {like}; name another, or leave it out")
        return lengths
    try:
        return read_lengths(open_output(job.output), "earlier requests of this output")
    except StorageError as error:
        print(f"synth-ray: earlier runs are not known: {error}", file=sys.stderr)
        return None


def _print_chunks(prepared: Prepared) -> None:
    planner, size = prepared.planner, prepared.job.plan.chunk_requests
    print(f"requests  {planner.requests:,} in {planner.chunks:,} chunks of {size:,}; {planner.slots:,} slots")
    for chunk in range(min(planner.chunks, _CHUNKS_SHOWN)):
        first = chunk * size
        print(f"  chunk {chunk:>6}  requests {first:,}–{min(first + size, planner.requests) - 1:,}")
    if planner.chunks > _CHUNKS_SHOWN:
        print(f"  … {planner.chunks - _CHUNKS_SHOWN:,} more")


def _print_target(prepared: Prepared) -> None:
    wanted = sum(prepared.wanted_rows.values())
    print(f"target    {wanted:,} accepted rows in {len(prepared.wanted_rows):,} cells")
    print(f"requests  {-(-wanted // prepared.slots):,} if every row is accepted, {prepared.max_requests:,} at most")
