"""The final output of `run` and `curate`, and their exit code."""

from __future__ import annotations

import sys
from typing import Any

from synth_ray.cli.estimate import off_line
from synth_ray.cli.junit_file import write_junit
from synth_ray.cli.logs import print_event
from synth_ray.errors import GateFailed, StoppedShort
from synth_ray.report.funnel import funnel_text
from synth_ray.route.ending import Result


def print_result(result: Result, *, stopped: str, in_json: bool = False, junit: str | None = None) -> int:
    """Print the funnel and the paths of the outputs. `stopped` is the message for an incomplete dataset."""
    is_stopped = bool(result.stopped) and result.exit_code == StoppedShort.exit_code
    explained = ([stopped.format(why=result.stopped)] if is_stopped else []) + list(result.problems)
    if in_json:
        print_event("end", _record(result, explained))
    else:
        _print_text(result, explained)
    not_final = "; ".join(explained) if result.exit_code not in (0, GateFailed.exit_code) else ""
    write_junit(junit, result.gates, name=str(result.manifest["name"]), error=not_final)
    return result.exit_code


def _print_text(result: Result, explained: list[str]) -> None:
    print(funnel_text(result.manifest))
    if line := off_line(result.manifest["estimate"]):
        print(line)
    print(f"dataset   {result.prefix}")
    for name, file in (("card", "README.md"), ("manifest", "manifest.json"), ("report", "report.html")):
        print(f"{name:<9} {result.prefix}/{file}")
    for table in result.tables:
        print(f"table     {table}")
    for sentence in explained:
        print(f"synth-ray: {sentence}", file=sys.stderr)


def _record(result: Result, explained: list[str]) -> dict[str, Any]:
    manifest = result.manifest
    names = ("complete", "rows", "splits", "tokens", "cost", "estimate")
    told = {name: manifest[name] for name in names}
    return {"exit_code": result.exit_code, "dataset": result.prefix, **told, "tables": list(result.tables), "problems": explained}
