"""synth_ray: seeds and a teacher in, a clean, deduplicated, scrubbed, split, trainer-ready dataset out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth_ray.job.document import Job
    from synth_ray.meter.tally import Tally
    from synth_ray.route.run import Result

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

    `extend` asks for what a longer plan adds to what is there; `retry_failed` asks again what failed for reasons that may
    have passed. Returns the manifest and where everything is; `result.stopped` says why a run ended short. Raises JobError
    before anything is spent when the job or its input is wrong, SynthRayError when the run failed.
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
