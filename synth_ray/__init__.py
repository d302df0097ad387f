"""synth_ray: from seeds and a teacher model to a clean, deduplicated, scrubbed, split dataset, ready for a trainer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ray.version import __version__

if TYPE_CHECKING:
    from synth_ray.job.document import Job
    from synth_ray.meter.tally import Tally
    from synth_ray.route.ending import Result
    from synth_ray.route.parts import PartResult

__all__ = ["__version__", "ray_dataset", "run", "run_part"]


def run(
    job: str | Path | Mapping[str, Any] | Job,
    *,
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
    retry_failed: bool = False,
    part_options: Sequence[str] = (),
) -> Result:
    """Run a job given as a file, a mapping or a Job, exactly as `synth-ray run` does.

    `seeds` of a mapping may also be a `ray.data.Dataset`, or a list with some: they are kept below the output. `extend` asks only
    the requests that a longer plan adds to an existing output; `retry_failed` asks again the requests that failed for transient
    reasons. A job with `plan.parts` is asked by that many processes of this machine, and then admitted here; what `run_part` did
    is done; `part_options` are options of `synth-ray run` for these processes, as `--quiet`. Returns the manifest and the paths
    of the outputs; `result.stopped` says why a run stopped early. Raises JobError when the job or its input is wrong, before
    anything is spent, and SynthRayError when the run failed.
    """
    from synth_ray.route.ending import NOT_STOPPED
    from synth_ray.route.part_processes import run_parts
    from synth_ray.route.run import run_job

    job, stopped = _job(job), NOT_STOPPED
    if job.plan.parts > 1 and not retry_failed:  # what failed is little, and one driver's work
        stopped = run_parts(job, options=["--extend"] * extend + [*part_options])
    with _exported(job, watch) as (make_pool, watch):
        return run_job(job, make_pool=make_pool, watch=watch, extend=extend, retry_failed=retry_failed, stopped=stopped)


def run_part(
    job: str | Path | Mapping[str, Any] | Job,
    part: int,
    *,
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
) -> PartResult:
    """Ask and stage the chunks of one of the `plan.parts` of a job, as `synth-ray run --part` does, for instance one on each of
    several machines. Parts count from 0. Nothing is admitted or published: `run` does that, once every part has ended.
    """
    from synth_ray.route.parts import run_part as drive

    job = _job(job)
    with _exported(job, watch) as (make_pool, watch):
        return drive(job, part, make_pool=make_pool, watch=watch, extend=extend)


def _job(job: str | Path | Mapping[str, Any] | Job) -> Job:
    from synth_ray.job.document import Job
    from synth_ray.job.load import job_from, load_job

    if isinstance(job, Job):
        return job
    return load_job(job) if isinstance(job, (str, Path)) else job_from(_with_files(job))


@contextmanager
def _exported(job: Job, watch: Callable[[Tally], None]) -> Iterator[tuple[Callable[[Job], Any], Callable[[Tally], None]]]:
    """While a run goes on, its metrics are where the job's cluster and the environment want them."""
    make_pool, watchers = _pool, [watch]
    with ExitStack() as stack:
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            from synth_ray.meter.telemetry import telemetry_of

            if telemetry := telemetry_of(job):
                watchers.append(stack.enter_context(telemetry).observe)
        if job.cluster.engine == "ray":
            from synth_ray.cluster.metrics import RayMetrics

            metrics = stack.enter_context(RayMetrics(job))
            make_pool = metrics.open_pool
            watchers.append(metrics.observe)
        yield make_pool, partial(_tell, watchers)


def _tell(watchers: Iterable[Callable[[Tally], None]], tally: Tally) -> None:
    for watch in watchers:
        watch(tally)


def ray_dataset(prefix: str, split: str = "train", *, endpoint_url: str | None = None, region: str | None = None) -> Any:
    """One split of the dataset published at `prefix`, as a `ray.data.Dataset` of exactly the files that its manifest lists.

    Raises JobError where there is no such split, StorageError where nothing is published.
    """
    from synth_ray.cluster.ray_data import ray_dataset as read

    return read(prefix, split, endpoint_url=endpoint_url, region=region)


def _with_files(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job with files in place of Ray datasets, if there are any among its seeds: whoever made one has imported Ray."""
    if "ray.data" not in sys.modules or not document.get("seeds"):
        return document
    from synth_ray.cluster.ray_data import with_stored_seeds

    return with_stored_seeds(document)


def _pool(job: Job) -> Any:
    if job.cluster.engine == "local":
        from synth_ray.workers.local_pool import LocalPool

        return LocalPool(job)
    from synth_ray.cluster.pool import RayPool

    return RayPool(job)
