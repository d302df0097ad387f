"""`synth-ray run`: makes the dataset."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict

import synth_ray
from synth_ray.cli.done import code_for_scheduler
from synth_ray.cli.job import job_of
from synth_ray.cli.junit_file import refuse_bad_place
from synth_ray.cli.logs import label_lines, print_event, wants_json
from synth_ray.cli.progress import Progress
from synth_ray.cli.result import print_result
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.route.part_processes import end_with_parent
from synth_ray.route.parts import PartResult
from synth_ray.submit.versions import refuse_other_version


def main(arguments: argparse.Namespace) -> int:
    refuse_other_version(os.environ)
    refuse_bad_place(arguments.junit)
    job, in_json = job_of(arguments), wants_json(arguments)
    if arguments.part is not None:
        return _run_part(job, arguments, in_json=in_json)
    label_lines(job.name)
    options = ["--quiet"] * arguments.quiet + ["--log=json"] * in_json
    with Progress(quiet=arguments.quiet, json=in_json) as progress:
        show, again = progress.show, arguments.retry_failed
        result = synth_ray.run(job, watch=show, extend=arguments.extend, retry_failed=again, part_options=options)
    stopped = "stopped short: {why}; run the same command again to continue"
    code = print_result(result, stopped=stopped, in_json=in_json, junit=arguments.junit)
    return code if result.is_interrupted else code_for_scheduler(arguments, code)


def _run_part(job: Job, arguments: argparse.Namespace, *, in_json: bool) -> int:
    if arguments.retry_failed:
        raise JobError("--part: wanted no --retry-failed beside it: run without --part to ask again what failed")
    end_with_parent()
    label_lines(f"{job.name}, part {arguments.part}")
    with Progress(quiet=arguments.quiet, json=in_json, label=f"part {arguments.part}  ") as progress:
        result = synth_ray.run_part(job, arguments.part, watch=progress.show, extend=arguments.extend)
    _print_part(result, in_json=in_json)
    return result.exit_code if result.is_interrupted else code_for_scheduler(arguments, result.exit_code)


def _print_part(result: PartResult, *, in_json: bool) -> None:
    if in_json:
        print_event("end", {"exit_code": result.exit_code, **asdict(result)})
        return
    print(f"part {result.part} of {result.parts}: {result.committed} of {result.chunks} chunks committed")
    if result.stopped:
        print(f"synth-ray: part {result.part} stopped short: {result.stopped}; run it again to continue", file=sys.stderr)
