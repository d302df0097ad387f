"""`synth-ray check`: reports everything that is wrong with a job at once."""

from __future__ import annotations

import argparse
import json

from pydantic import ValidationError

from synth_ray.cli.job import job_of
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.load import BadJob, Problem, bad_job, read_yaml
from synth_ray.job.models import RecipeChoice
from synth_ray.recipes.catalogue import options_of


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
    return 0


def _job(arguments: argparse.Namespace) -> Job:
    """The job. If its document is wrong, the recipe's options are checked as well, so that all problems are reported at once."""
    try:
        return job_of(arguments)
    except BadJob as error:
        raise bad_job([*error.problems, *_recipe_problems(arguments.job)]) from None


def _recipe_problems(path: str) -> tuple[Problem, ...]:
    try:
        document, lines = read_yaml(path)
        options_of(RecipeChoice.model_validate(document.get("recipe")), file=path, lines=lines)
    except BadJob as error:
        return error.problems
    except (ValidationError, JobError):
        return ()  # the recipe section itself is wrong, and the document's problems include that
    return ()
