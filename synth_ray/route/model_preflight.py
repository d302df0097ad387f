"""What can be said of a model before it is loaded: its folder, its adapter, its engine arguments, its chat template."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from synth_ray.ask.asker import thinking_judge
from synth_ray.ask.batches.providers import refuse_unfit
from synth_ray.ask.server_thinking import flavour_of, refuse_budget
from synth_ray.ask.teacher import PLAIN_USE, TemplateUse
from synth_ray.ask.vllm.arguments import refuse_bad_arguments
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.ask.vllm.chat_template import inspect_template, local_renderer
from synth_ray.ask.vllm.fit import refuse_unfit_split
from synth_ray.ask.vllm.parser_choice import refuse_bad_reasoning, refuse_unknown_tool_parser
from synth_ray.ask.vllm.pooling import refuse_unfit_folder
from synth_ray.ask.vllm.speculation import refuse_unfit_sampling
from synth_ray.ask.vllm.start import lora_rank
from synth_ray.ask.vllm.user_turn import refuse_without_user_turn
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.document import Job
from synth_ray.job.models import Model, is_teacher
from synth_ray.recipes.catalogue import find, options_of

log = logging.getLogger(__name__)


def model_checks(role: str, model: Model, job: Job, *, elsewhere: bool = False) -> list[Callable[[], None]]:
    """Checks that raise JobError, each for itself. A model that a server has is asked about when it is opened.

    `elsewhere`: the engine will run on other machines. What only they can tell is left to them: without vLLM here all of its
    arguments, and of an absolute folder that is not here what is in it.
    """
    asked: list[Callable[[], None]] = [partial(_check_raw_prompts, role, model, job), partial(_check_chat, role, model, job)]
    if model.engine != "vllm":
        return [*asked, partial(_check_budget, role, model), partial(_check_batches, role, model, job)]
    if elsewhere and (importlib.util.find_spec("vllm") is None or _is_another_machines(model)):
        return asked
    writes = model.task == "generate"
    return [
        *asked,
        partial(_check_model, role, model),
        partial(_tell_of_long_verdicts, role, model),
        partial(refuse_unknown_tool_parser, model, where=f"models.{role}"),
        partial(refuse_bad_arguments, model.engine_args, where=f"models.{role}"),
        partial(refuse_unfit_split, model, where=f"models.{role}"),
        partial(_check_speculation, role, model, job, elsewhere=elsewhere),
        partial(_check_chat_template, role, model, job)
        if writes
        else partial(refuse_unfit_folder, model, where=f"models.{role}"),
    ]


def _is_another_machines(model: Model) -> bool:
    folders = [os.path.expanduser(name) for name in (model.model, model.lora) if name]
    return any(os.path.isabs(folder) and not os.path.exists(folder) for folder in folders)


def _check_model(role: str, model: Model) -> None:
    if model.lora:
        lora_rank(model.lora)
    if importlib.util.find_spec("vllm") is None:
        raise MissingResource(f"models.{role}.engine: wanted vLLM installed, got none; install synth-ray[cpu] or synth-ray[gpu]")
    looks_local = model.model.startswith((".", "/", "~", "models/")) or model.model.count("/") > 1
    if looks_local and not (Path(os.path.expanduser(model.model)) / "config.json").is_file():
        raise MissingResource(f"models.{role}.model: wanted a model folder with config.json, got '{model.model}', which has none")


def _check_speculation(role: str, model: Model, job: Job, *, elsewhere: bool) -> None:
    if is_teacher(role):  # a judge's asks are its recipe's
        on_cpu = not elsewhere and is_cpu_build()
        refuse_unfit_sampling(model, job.sampling, where=f"models.{role}", on_cpu=on_cpu)


def _check_raw_prompts(role: str, model: Model, job: Job) -> None:
    if find(job.recipe.name).instructs and is_teacher(role) and model.engine not in ("vllm", "scripted"):
        raise JobError(
            f"models.{role}.engine: wanted vllm for recipe '{job.recipe.name}', which sends raw prompts, got {model.engine}; use "
            "engine: vllm, or recipe vary with seeds"
        )


def _check_chat(role: str, model: Model, job: Job) -> None:
    """Raises JobError where the recipe needs a chat template and the model is asked without any."""
    if model.chat or model.engine == "scripted" or not is_teacher(role):
        return
    use = TemplateUse.of(find(job.recipe.name), options_of(job.recipe))
    if use.tools:
        raise JobError(f"models.{role}.chat: wanted a chat template to show tools, got chat: false; say recipe.call: guided")
    if use.instructs:
        raise JobError(
            f"models.{role}.chat: wanted a chat template for recipe '{job.recipe.name}', which opens a user's turn with it, got "
            "chat: false; leave chat on, or take recipe vary with seeds"
        )


def _tell_of_long_verdicts(role: str, model: Model) -> None:
    if role == "judge" and model.engine == "vllm" and model.reasoning is None and thinking_judge(model):
        log.warning(
            "models.judge: '%s' may think before each verdict, which gets sampling.max_tokens more for that; "
            "models.judge.reasoning: false keeps it from that",
            model.name,
        )


def _check_budget(role: str, model: Model) -> None:
    """What the job tells of a server: another dialect may show when it is opened."""
    if model.endpoint is not None:
        flavour = flavour_of(model.endpoint.flavour, "", model.endpoint.urls[0])
        if model.endpoint.flavour == "auto" and flavour == "openai":
            return
        refuse_budget(model, flavour, where=f"models.{role}")


def _check_batches(role: str, model: Model, job: Job) -> None:
    """Raises JobError for what the batches of the model's provider cannot do. A judge is asked at temperature 0."""
    if model.batch is None:
        return
    sampling, options = job.sampling.model_dump(), options_of(job.recipe)
    if not is_teacher(role):
        refuse_unfit(model, sampling | {"temperature": 0.0}, where=f"models.{role}")
        return
    if (likely := getattr(options, "top_logprobs", None)) is not None:
        sampling["logprobs"] = likely
    shows_tools = TemplateUse.of(find(job.recipe.name), options).tools
    refuse_unfit(
        model,
        sampling,
        where=f"models.{role}",
        constraint=getattr(options, "constraint", None),
        tools=[{"type": "function", "function": {"name": "a"}}] if shows_tools else [],
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
