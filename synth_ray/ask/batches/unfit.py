"""What no batch of a provider can do, refused by the job's key before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from synth_ray.ask.server_errors import key_of
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import ServiceRefused
from synth_ray.job.models import Model

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "top_p": (1.0,),
    "top_k": (0,),
    "min_p": (0.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "repetition_penalty": (1.0,),
    "per_request_seed": (False,),
    "logprobs": (None,),
    "stop": ([], ()),
}
"""Sampling keys with the values that ask for nothing."""


def refusal(key: str, wanted: str, provider: str, move: str) -> ServiceRefused:
    return ServiceRefused(f"{key}: wanted a provider {wanted}, got the batches of {provider}; {move}")


def refuse_unfit_prompt(model: Model, prompt: Prompt, provider: str, *, takes: Collection[str]) -> None:
    """Raises ServiceRefused for what the provider takes from no job. `takes`: the sampling keys that it has, and `choices`."""
    if not model.chat:
        raise refusal("models.teacher.chat", "that takes raw text", provider, "leave chat on, or take provider: openai")
    if model.chat_template_kwargs:
        raise refusal("models.teacher.chat_template_kwargs", "that has a chat template", provider, "leave it out")
    if prompt.tools:
        raise refusal("recipe.call", "whose batches are shown tools", provider, "say recipe.call: guided, or take openai")
    constraint = prompt.constraint
    if constraint is not None and constraint.regex is not None:
        raise refusal("recipe", "that takes patterns", provider, "use a JSON Schema")
    if constraint is not None and constraint.choices is not None and "choices" not in takes:
        raise refusal("recipe", "that takes choices", provider, "use a JSON Schema, or take gemini")
    for name in _NEUTRAL:
        if name not in takes and is_asked(prompt, name):
            key = "sampling.per_request_seed" if name == "per_request_seed" else key_of(name)
            raise refusal(key, "that takes it", provider, "leave it out, or take another provider")


def is_asked(prompt: Prompt, name: str) -> bool:
    """Whether a sampling key is there with a value that changes something."""
    value: Any = prompt.sampling.get(name, _NEUTRAL[name][0])
    return value not in _NEUTRAL[name]
