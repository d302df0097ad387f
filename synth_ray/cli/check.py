"""`synth-ray check`: reports everything that is wrong with a job at once."""

from __future__ import annotations

import argparse
import copy
import json
from typing import Any

from pydantic import ValidationError

from synth_ray.cli.job import job_in, overrides_of
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.overrides import with_overrides
from synth_ray.job.problems import BadJob, Problem
from synth_ray.job.yaml_file import read_yaml

_STAGES = ("check", "scrub", "dedup", "decontaminate")


def main(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        print(json.dumps(Job.model_json_schema(), indent=2))
        return 0
    if arguments.job is None:
        raise JobError("check: wanted a job file or --schema, got neither")
    from synth_ray.route.preflight import preflight  # imported here because it loads the libraries of everything the job names

    job = _job(arguments)
    report = preflight(job, file=arguments.job)
    print(f"{arguments.job}: nothing wrong; {report.seeds} seeds, {report.seeds_rejected} rejected; recipe {job.recipe.name}")
    for note in report.notes:
        print(f"note: {note}")
    return 0


def _job(arguments: argparse.Namespace) -> Job:
    """The job. If its document is wrong, the files and places that it names are opened all the same."""
    overrides = overrides_of(arguments)
    document, lines = read_yaml(arguments.job)
    document = with_overrides(document, overrides)
    try:
        return job_in(document, overrides, arguments.job, lines)
    except BadJob as error:
        raise BadJob("\n".join([str(error), *_missing(document, error.problems, arguments.job)])) from None


def _missing(document: dict[str, Any], problems: tuple[Problem, ...], file: str) -> list[str]:
    """What the part of the document that can be read names, and is not there."""
    rest = copy.deepcopy(document)
    for problem in problems:
        _leave_out(rest, problem.key.split("."))
    try:
        job = Job.model_validate({"name": "unnamed", **rest})
    except ValidationError:
        return []  # what is wrong cannot be left out
    from synth_ray.route.preflight import missing_resources

    # a stage whose section is wrong itself would only miss what was left out
    stages = all(problem.key.split(".")[0] not in _STAGES for problem in problems)
    return missing_resources(job, file=file, stages=stages)


def _leave_out(value: Any, path: list[str]) -> None:
    """Remove the value at this path or, where the path leads into a list, the list."""
    name, *rest = path
    if not isinstance(value, dict) or name not in value:
        return
    if rest and isinstance(value[name], dict) and rest[0] in value[name]:
        _leave_out(value[name], rest)
    else:
        del value[name]
