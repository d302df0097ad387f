"""`synth-ray stop`: stops a submitted job, which publishes what it has."""

from __future__ import annotations

import argparse
import sys
import time

from synth_ray.cli.cluster_address import open_cluster
from synth_ray.cluster.jobs_api import PENDING, JobsApi, SubmittedJob
from synth_ray.errors import SynthRayError
from synth_ray.submit.package import stop_wait_of
from synth_ray.submit.submission import end_of, find_job

_MARGIN_S = 60.0
"""From the moment that Ray kills a driver that did not end by itself, until it says that the job is over."""
_PENDING_S = 15.0
_POLL_S = 0.5


def main(arguments: argparse.Namespace) -> int:
    api = open_cluster(arguments.address)
    job = find_job(api, arguments.id)
    if job.is_over:
        print(f"job {job.id} is over already: {job.status}")
        return 0
    api.stop(job.id)
    if arguments.no_wait:
        print(f"job {job.id} was asked to stop; submitting again goes on with {job.metadata.get('output', 'its output')}")
        return 0
    job = _wait(api, job)
    print(f"job {job.id}: {end_of(job).why or f'it ended as {job.status} before it was stopped'}")
    sys.stdout.flush()
    return 0


def _wait(api: JobsApi, job: SubmittedJob) -> SubmittedJob:
    """The job once it is over. Raises SynthRayError for one that does not end."""
    began, longest = time.monotonic(), stop_wait_of(job.metadata) + _MARGIN_S
    while not job.is_over:
        waited = time.monotonic() - began
        if job.status == PENDING and waited > _PENDING_S:
            raise SynthRayError(
                f"stop: wanted job {job.id} to end, got PENDING: Ray cannot end a job whose driver has not started; it fails by "
                "itself after RAY_JOB_START_TIMEOUT_SECONDS (900), or starts and is stopped then if you run this again"
            )
        if waited > longest:
            raise SynthRayError(f"stop: wanted job {job.id} to end within {longest:g} s, got {job.status}; look at its log")
        time.sleep(_POLL_S)
        job = api.job(job.id)
    return job
