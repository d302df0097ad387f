"""`synth-ray curate`: another version of a dataset from its committed chunks; nothing is asked."""

from __future__ import annotations

import argparse
import sys

from synth_ray.cli.job import job_of
from synth_ray.errors import StoppedShort
from synth_ray.report.funnel import funnel_text
from synth_ray.route.curation import curate_job


def main(arguments: argparse.Namespace) -> int:
    result = curate_job(job_of(arguments))
    print(funnel_text(result.manifest))
    print(f"dataset   {result.prefix}")
    print(f"card      {result.prefix}/README.md")
    if result.stopped:
        print(f"synth-ray: incomplete: {result.stopped}", file=sys.stderr)
        return StoppedShort.exit_code
    return 0
