"""`synth-ray curate`: another version of a dataset from its committed chunks; no model is asked."""

from __future__ import annotations

import argparse

from synth_ray.cli.job import job_of
from synth_ray.cli.junit_file import refuse_bad_place
from synth_ray.cli.logs import label_lines, wants_json
from synth_ray.cli.progress import Progress
from synth_ray.cli.result import print_result
from synth_ray.route.curation import curate_job


def main(arguments: argparse.Namespace) -> int:
    refuse_bad_place(arguments.junit)
    job, in_json = job_of(arguments), wants_json(arguments)
    label_lines(job.name)
    with Progress(json=in_json) as progress:
        result = curate_job(job, watch=progress.show)
    return print_result(result, stopped="incomplete: {why}", in_json=in_json, junit=arguments.junit)
