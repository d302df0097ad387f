"""The providers of batches by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from synth_ray.ask.batches.anthropic_messages import message_params
from synth_ray.ask.batches.bedrock_converse import converse_input
from synth_ray.ask.batches.contract import BatchProvider
from synth_ray.ask.batches.gemini_content import content_request
from synth_ray.ask.openai_protocol import request_body
from synth_ray.ask.server_thinking import refuse_budget
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import JobError, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Constraint, user

_BODIES: Mapping[str, Callable[[Model, Prompt], Any]] = {
    "anthropic": message_params,
    "gemini": content_request,
    "bedrock": converse_input,
}


def provider_of(model: Model) -> BatchProvider:
    """Raises MissingResource where the key or the credentials are not there. No call is made."""
    assert model.batch is not None
    match model.batch.provider:
        case "openai":
            from synth_ray.ask.batches.openai import OpenAIBatches

            return OpenAIBatches(model)
        case "anthropic":
            from synth_ray.ask.batches.anthropic import AnthropicBatches

            return AnthropicBatches(model)
        case "gemini":
            from synth_ray.ask.batches.gemini import GeminiBatches

            return GeminiBatches(model)
    from synth_ray.ask.batches.bedrock import BedrockBatches

    return BedrockBatches(model)


def refuse_unfit(
    model: Model,
    sampling: Mapping[str, Any],
    *,
    where: str,
    constraint: Constraint | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Raise JobError for what the job asks of a provider and its batches cannot do, as far as the job tells it. `where` is the
    model's section.
    """
    assert model.batch is not None
    flavour = model.batch.flavour
    if model.batch.provider == "openai":
        refuse_budget(model, flavour, where=where)
    make = _BODIES.get(model.batch.provider) or partial(request_body, flavour=flavour)
    try:
        make(model, Prompt([user("a")], "0" * 32, sampling=sampling, constraint=constraint, tools=tools))
    except ServiceRefused as refusal:
        raise JobError(str(refusal).replace("models.teacher", where, 1)) from None
