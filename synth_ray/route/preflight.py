"""Everything that can be known to be wrong with a job before a GPU is asked for, reported at once."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from synth_ray.ask.teacher import PLAIN_USE, TemplateUse
from synth_ray.ask.vllm.arguments import refuse_bad_arguments
from synth_ray.ask.vllm.chat_template import inspect_template, local_renderer
from synth_ray.ask.vllm.start import lora_rank
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.document import Job
from synth_ray.job.load import BadJob
from synth_ray.job.models import Model
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.prepare.sources import evaluation_sets
from synth_ray.publish.indexing import refuse_other_indexes
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.recipes.templates import compile_template
from synth_ray.workers.row_stages import RowStages

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found in a good job's inputs."""

    seeds: int
    seeds_rejected: int
    real: int


def preflight(job: Job, *, file: str = "job") -> Preflight:
    """Open everything the job names, except its engines and its output. Raises BadJob with every problem, a line each."""
    problems: list[str] = []

    def probe(step: Callable[[], None]) -> None:
        try:
            step()
        except BadJob as error:
            problems.append(str(error))
        except JobError as error:
            problems.append(f"{file}: {error}")

    prepared_jobs: list[Prepared] = []
    probe(lambda: _check_templates(job, file))
    for role, model in job.models.by_role().items():
        probe(lambda role=role, model=model: _check_model(role, model))  # type: ignore[misc]
        probe(lambda role=role, model=model: _check_engine_args(role, model))  # type: ignore[misc]
        probe(lambda role=role, model=model: _check_chat_template(role, model, job))  # type: ignore[misc]
    probe(lambda: _check_stages_and_evaluation_sets(job))
    with tempfile.TemporaryDirectory() as spool:
        probe(lambda: prepared_jobs.append(prepare(job, spool=Path(spool), file=file)))
    if prepared_jobs:
        probe(lambda: refuse_other_indexes(prepared_jobs[0].job))
    if problems:
        raise BadJob("\n".join(dict.fromkeys(problems)))
    count = prepared_jobs[0].count
    return Preflight(count.planned, count.rejected.total(), prepared_jobs[0].real.num_rows)


def _check_templates(job: Job, file: str) -> None:
    recipe, options = find(job.recipe.name), options_of(job.recipe, file=file)
    for name, source in recipe.templates(options).items():
        try:
            compile_template(source)
        except JobError as error:
            raise JobError(f"recipe.{name}: {error}") from None


def _check_model(role: str, model: Model) -> None:
    """Checks of a model that need no loading."""
    if model.engine != "vllm":
        return
    if model.lora:
        lora_rank(model.lora)
    if importlib.util.find_spec("vllm") is None:
        raise MissingResource(f"models.{role}.engine: wanted vLLM installed, got none; install synth-ray[cpu] or synth-ray[gpu]")
    looks_local = model.model.startswith((".", "/", "~", "models/")) or model.model.count("/") > 1
    if looks_local and not (Path(os.path.expanduser(model.model)) / "config.json").is_file():
        raise MissingResource(f"models.{role}.model: wanted a model folder with config.json, got '{model.model}', which has none")


def _check_engine_args(role: str, model: Model) -> None:
    if model.engine == "vllm":
        refuse_bad_arguments(model.engine_args, where=f"models.{role}")


def _check_chat_template(role: str, model: Model, job: Job) -> None:
    """What a local folder tells of its template; of any other model the engine tells when it opens."""
    render = local_renderer(model) if model.engine == "vllm" and model.chat else None
    if render is not None:
        use = PLAIN_USE if role == "judge" else TemplateUse.of(options_of(job.recipe))
        for notice in inspect_template(render, model, where=f"models.{role}", use=use):
            log.warning("%s", notice)


def _check_stages_and_evaluation_sets(job: Job) -> None:
    evaluation_sets(job, RowStages(job).fingerprinter.words)
