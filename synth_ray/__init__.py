"""synth_ray: from seeds and a teacher model to a clean, deduplicated, scrubbed, split dataset, ready for a trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth_ray.job.document import Job
    from synth_ray.meter.tally import Tally
    from synth_ray.route.ending import Result

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def run(
    job: str | Path | Mapping[str, Any] | Job,
    *,
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
    retry_failed: bool = False,
) -> Result:
    """Run a job given as a file, a mapping or a Job, exactly as `synth-ray run` does.

    `extend` asks only the requests that a longer plan adds to an existing output; `retry_failed` asks again the requests that
    failed for transient reasons. Returns the manifest and the paths of the outputs; `result.stopped` says why a run stopped
    early. Raises JobError when the job or its input is wrong, before anything is spent, and SynthRayError when the run failed.
    """
    from synth_ray.job.document import Job
    from synth_ray.job.load import job_from, load_job
    from synth_ray.route.run import run_job

    if not isinstance(job, Job):
        job = load_job(job) if isinstance(job, (str, Path)) else job_from(job)
    return run_job(job, make_pool=_pool, watch=watch, extend=extend, retry_failed=retry_failed)


def _pool(job: Job) -> Any:
    if job.cluster.engine == "local":
        from synth_ray.workers.local_pool import LocalPool

        return LocalPool(job)
    from synth_ray.cluster.pool import RayPool

    return RayPool(job)
