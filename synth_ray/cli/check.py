"""`synth-ray check`: everything that is wrong, at once."""

from __future__ import annotations

import argparse
import json

from synth_ray.cli.job import job_of
from synth_ray.errors import JobError
from synth_ray.job.document import Job


def main(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        print(json.dumps(Job.model_json_schema(), indent=2))
        return 0
    if arguments.job is None:
        raise JobError("check: wanted a job file or --schema, got neither")
    from synth_ray.route.preflight import preflight

    job = job_of(arguments)
    found = preflight(job, file=arguments.job)
    print(f"{arguments.job}: nothing wrong; {found.seeds} seeds, {found.seeds_rejected} rejected; recipe {job.recipe.name}")
    return 0
