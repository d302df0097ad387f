"""The job that a command's arguments describe."""

from __future__ import annotations

import argparse
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.load import load_job
from synth_ray.job.yaml_file import parse_value


def job_of(arguments: argparse.Namespace) -> Job:
    """The job file with the command's overrides: an option wins over `--set`, and both over the file."""
    return load_job(arguments.job, overrides=overrides_of(arguments))


def overrides_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Values by dotted key. Raises JobError."""
    overrides = dict(_pair(text) for text in arguments.set)
    named = {
        "cluster.engine": arguments.engine,
        "cluster.address": arguments.address,
        "output.path": arguments.output,
    }
    return overrides | {key: value for key, value in named.items() if value is not None}


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise JobError(f"--set: wanted KEY=VALUE, as recipe.n=2, got '{text}'")
    try:
        return key, parse_value(value)
    except ValueError as error:
        raise JobError(f"--set {key}: wanted a YAML value, got {error}; quote it, as {key}='\"…\"'") from None
