"""`synth-ray run`: makes the dataset."""

from __future__ import annotations

import argparse

import synth_ray
from synth_ray.cli.job import job_of
from synth_ray.cli.junit_file import refuse_bad_place
from synth_ray.cli.logs import wants_json
from synth_ray.cli.progress import Progress
from synth_ray.cli.result import print_result


def main(arguments: argparse.Namespace) -> int:
    refuse_bad_place(arguments.junit)
    job, in_json = job_of(arguments), wants_json(arguments)
    with Progress(quiet=arguments.quiet, json=in_json) as progress:
        result = synth_ray.run(job, watch=progress.show, extend=arguments.extend, retry_failed=arguments.retry_failed)
    stopped = "stopped short: {why}; run the same command again to continue"
    return print_result(result, stopped=stopped, in_json=in_json, junit=arguments.junit)
