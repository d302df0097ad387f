"""What can be said of a model before it is loaded: its folder, its adapter, its engine arguments, its chat template."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from synth_ray.ask.teacher import PLAIN_USE, TemplateUse
from synth_ray.ask.vllm.arguments import refuse_bad_arguments
from synth_ray.ask.vllm.chat_template import inspect_template, local_renderer
from synth_ray.ask.vllm.parser_choice import refuse_bad_reasoning
from synth_ray.ask.vllm.pooling import refuse_unfit_folder
from synth_ray.ask.vllm.start import lora_rank
from synth_ray.ask.vllm.user_turn import refuse_without_user_turn
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.document import Job
from synth_ray.job.models import Model, is_teacher
from synth_ray.recipes.catalogue import find, options_of

log = logging.getLogger(__name__)


def model_checks(role: str, model: Model, job: Job) -> list[Callable[[], None]]:
    """Checks that raise JobError, each for itself. A model that a server has is asked about when it is opened."""
    if model.engine != "vllm":
        return [partial(_check_raw_prompts, role, model, job)]
    writes = model.task == "generate"
    return [
        partial(_check_model, role, model),
        partial(refuse_bad_arguments, model.engine_args, where=f"models.{role}"),
        partial(_check_chat_template, role, model, job)
        if writes
        else partial(refuse_unfit_folder, model, where=f"models.{role}"),
    ]


def _check_model(role: str, model: Model) -> None:
    if model.lora:
        lora_rank(model.lora)
    if importlib.util.find_spec("vllm") is None:
        raise MissingResource(f"models.{role}.engine: wanted vLLM installed, got none; install synth-ray[cpu] or synth-ray[gpu]")
    looks_local = model.model.startswith((".", "/", "~", "models/")) or model.model.count("/") > 1
    if looks_local and not (Path(os.path.expanduser(model.model)) / "config.json").is_file():
        raise MissingResource(f"models.{role}.model: wanted a model folder with config.json, got '{model.model}', which has none")


def _check_raw_prompts(role: str, model: Model, job: Job) -> None:
    if find(job.recipe.name).instructs and is_teacher(role) and model.engine != "scripted":
        raise JobError(
            f"models.{role}.engine: wanted vllm for recipe '{job.recipe.name}', which sends raw prompts, got {model.engine}; use "
            "engine: vllm, or recipe vary with seeds"
        )


def _check_chat_template(role: str, model: Model, job: Job) -> None:
    """What a local folder tells of its template; of any other model the engine tells when it opens."""
    render = local_renderer(model) if model.chat else None
    refuse_bad_reasoning(model, render, where=f"models.{role}")
    if render is not None:
        use = TemplateUse.of(find(job.recipe.name), options_of(job.recipe)) if is_teacher(role) else PLAIN_USE
        if use.instructs:
            refuse_without_user_turn(render, model, where=f"models.{role}")
        for notice in inspect_template(render, model, where=f"models.{role}", use=use):
            log.warning("%s", notice)
