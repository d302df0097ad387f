"""The job that a command's arguments describe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.load import job_from, place_overrides
from synth_ray.job.overrides import with_overrides
from synth_ray.job.problems import BadJob, Where
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.yaml_file import parse_value, read_yaml
from synth_ray.recipes.catalogue import options_of


def job_of(arguments: argparse.Namespace) -> Job:
    """The job file with the command's overrides, its recipe's options included: an option wins over `--set`, and both over the
    file. Raises BadJob with every problem of the document.
    """
    overrides = overrides_of(arguments)
    document, lines = read_yaml(arguments.job)
    return job_in(with_overrides(document, overrides), overrides, arguments.job, lines)


def job_in(document: dict[str, Any], overrides: Mapping[str, Any], file: str, lines: Mapping[Where, int]) -> Job:
    """The job of a document into which the overrides were put. Raises BadJob with every problem of it."""
    problems: list[str] = []
    try:
        job = job_from(document, file=file, lines=lines)
    except BadJob as error:
        problems += [str(problem) for problem in place_overrides(error.problems, overrides)]
        wrong = error.problems
    else:
        wrong = ()
    problems += _recipe_problems(document, overrides, file, lines)
    if problems:
        raise BadJob("\n".join(dict.fromkeys(problems)), wrong)
    return job


def _recipe_problems(
    document: Mapping[str, Any], overrides: Mapping[str, Any], file: str, lines: Mapping[Where, int]
) -> list[str]:
    try:
        options_of(RecipeChoice.model_validate(document.get("recipe")), file=file, lines=lines)
    except BadJob as error:
        return [str(problem) for problem in place_overrides(error.problems, overrides)]
    except ValidationError:
        return []  # the recipe section itself is wrong, and the document's problems include that
    except JobError as error:
        return [f"{file}: {error}"]
    return []


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
