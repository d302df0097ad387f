"""Reads a job from safe YAML. Reports every problem at once, with its line, what was wanted, what was got and the nearest key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synth_ray.job.document import Job
from synth_ray.job.overrides import with_overrides
from synth_ray.job.problems import BadJob, Problem, Where, bad_job, problems_of
from synth_ray.job.yaml_file import read_yaml


def load_job(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> Job:
    """The job in a YAML file. `overrides` maps dotted keys to values that replace the file's. Raises BadJob."""
    document, lines = read_yaml(path)
    try:
        return job_from(with_overrides(document, overrides or {}), file=str(path), lines=lines)
    except BadJob as error:
        raise bad_job(place_overrides(error.problems, overrides or {})) from None


def place_overrides(problems: tuple[Problem, ...], overrides: Mapping[str, Any]) -> list[Problem]:
    """The problems, with those of an override's value placed there instead of at a line of the file."""
    return [replace(problem, file="--set", line=0) if _is_overridden(problem, overrides) else problem for problem in problems]


def _is_overridden(problem: Problem, overrides: Mapping[str, Any]) -> bool:
    """Whether an override set the problem's key, something around it or, where the file has no such key, something in it."""
    return any(
        f"{problem.key}.".startswith(f"{key}.") or (not problem.line and key.startswith(f"{problem.key}.")) for key in overrides
    )


def job_from(document: Mapping[str, Any], *, file: str = "job", lines: Mapping[Where, int] | None = None) -> Job:
    """The job in a mapping: the same document, from Python. Raises BadJob."""
    try:
        return Job.model_validate(document)
    except ValidationError as error:
        raise bad_job(problems_of(error, Job, file=file, lines=lines or {})) from None
