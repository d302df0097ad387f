"""The final output of `run` and `curate`, and their exit code."""

from __future__ import annotations

import sys

from synth_ray.cli.junit_file import write_junit
from synth_ray.errors import GateFailed
from synth_ray.report.funnel import funnel_text
from synth_ray.route.ending import Result


def print_result(result: Result, *, stopped: str, junit: str | None = None) -> int:
    """Print the funnel and the paths of the outputs. `stopped` is the message for an incomplete dataset."""
    print(funnel_text(result.manifest))
    print(f"dataset   {result.prefix}")
    for name, file in (("card", "README.md"), ("manifest", "manifest.json"), ("report", "report.html")):
        print(f"{name:<9} {result.prefix}/{file}")
    explained = [stopped.format(why=result.stopped)] if result.stopped and not result.problems else result.problems
    for sentence in explained:
        print(f"synth-ray: {sentence}", file=sys.stderr)
    not_final = "; ".join(explained) if result.exit_code not in (0, GateFailed.exit_code) else ""
    write_junit(junit, result.gates, name=str(result.manifest["name"]), error=not_final)
    return result.exit_code
