"""`synth-ray run`: make the dataset."""

from __future__ import annotations

import argparse
import sys

import synth_ray
from synth_ray.cli.job import job_of
from synth_ray.cli.progress import Progress
from synth_ray.errors import StoppedShort
from synth_ray.report.funnel import funnel_text


def main(arguments: argparse.Namespace) -> int:
    job = job_of(arguments)
    with Progress(quiet=arguments.quiet) as progress:
        result = synth_ray.run(job, watch=progress.show, extend=arguments.extend, retry_failed=arguments.retry_failed)
    print(funnel_text(result.manifest))
    print(f"dataset   {result.prefix}")
    print(f"card      {result.prefix}/README.md")
    print(f"manifest  {result.prefix}/manifest.json")
    print(f"report    {result.prefix}/report.html")
    if result.stopped:
        print(f"synth-ray: stopped short: {result.stopped}; the same command goes on from here", file=sys.stderr)
        return StoppedShort.exit_code
    return 0
