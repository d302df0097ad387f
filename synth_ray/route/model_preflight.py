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
from synth_ray.ask.vllm.start import lora_rank
from synth_ray.errors import MissingResource
from synth_ray.job.document import Job
from synth_ray.job.models import Model
from synth_ray.recipes.catalogue import options_of

log = logging.getLogger(__name__)


def model_checks(role: str, model: Model, job: Job) -> list[Callable[[], None]]:
    """Checks that raise JobError, each for itself. A model that a server has is asked about when it is opened."""
    if model.engine != "vllm":
        return []
    return [
        partial(_check_model, role, model),
        partial(refuse_bad_arguments, model.engine_args, where=f"models.{role}"),
        partial(_check_chat_template, role, model, job),
    ]


def _check_model(role: str, model: Model) -> None:
    if model.lora:
        lora_rank(model.lora)
    if importlib.util.find_spec("vllm") is None:
        raise MissingResource(f"models.{role}.engine: wanted vLLM installed, got none; install synth-ray[cpu] or synth-ray[gpu]")
    looks_local = model.model.startswith((".", "/", "~", "models/")) or model.model.count("/") > 1
    if looks_local and not (Path(os.path.expanduser(model.model)) / "config.json").is_file():
        raise MissingResource(f"models.{role}.model: wanted a model folder with config.json, got '{model.model}', which has none")


def _check_chat_template(role: str, model: Model, job: Job) -> None:
    """What a local folder tells of its template; of any other model the engine tells when it opens."""
    render = local_renderer(model) if model.chat else None
    refuse_bad_reasoning(model, render, where=f"models.{role}")
    if render is not None:
        use = PLAIN_USE if role == "judge" else TemplateUse.of(options_of(job.recipe))
        for notice in inspect_template(render, model, where=f"models.{role}", use=use):
            log.warning("%s", notice)
