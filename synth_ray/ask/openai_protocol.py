"""OpenAI's protocol, what is sent: headers, the path and the body of one ask. `openai_replies` reads what comes back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from synth_ray.ask.served_top_k import top_k_keys
from synth_ray.ask.server_thinking import added_tokens, sent_messages, thinking_keys, ways_to_switch
from synth_ray.ask.teacher import Prompt, PromptKind
from synth_ray.errors import MissingResource, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Constraint
from synth_ray.recipes.markup import openai_turns

_STANDARD_KEYS = ("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop")
_VLLM_ONLY_DEFAULTS = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling keys that only vLLM's server knows, and the values that have no effect."""

_OTHER_KINDS: Mapping[PromptKind, str] = {
    "instruct": "recipe 'spring': wanted a teacher that takes raw prompts, got a server of chats; use engine: vllm",
}


def headers_of(section: str, key_env: str) -> dict[str, str]:
    """The authorization header, with the key from the environment, as `key_from_env`."""
    key = key_from_env(section, key_env)
    return {"Authorization": f"Bearer {key}"} if key_env else {}


def key_from_env(section: str, key_env: str) -> str:
    """The key in the environment variable; empty if the job names none. Raises MissingResource for a variable without a key;
    `section` names the job's section.
    """
    key = os.environ.get(key_env, "").strip() if key_env else ""
    if key_env and not key:
        raise MissingResource(f"models.{section}.key_env: wanted a key in the environment variable {key_env}, got none; set it")
    if not (key.isascii() and key.isprintable()):
        raise MissingResource(
            f"models.{section}.key_env: wanted a key of printable ASCII in the environment variable {key_env}, got other "
            "characters; copy it again"
        )
    return key


def path_of(model: Model) -> str:
    return "chat/completions" if model.chat else "completions"


def request_body(model: Model, prompt: Prompt, *, flavour: str = "openai", way: str = "") -> dict[str, Any]:
    """The request body in the server's dialect; `way` is the key that holds the switch for thoughts, by default its first.

    Raises ServiceRefused for options that the server does not support: every ask would fail like this.
    """
    if prompt.kind != "chat":
        raise ServiceRefused(_OTHER_KINDS[prompt.kind])
    if prompt.tools and not model.chat:
        raise ServiceRefused("recipe.call: wanted a server that is asked with messages to call tools, got chat: false")
    sampling, is_vllm = prompt.sampling, flavour == "vllm"
    body: dict[str, Any] = {"model": model.model, "n": prompt.n}
    if model.chat:
        body["messages"] = sent_messages(openai_turns(prompt.messages) if prompt.tools else prompt.messages, flavour)
        body |= {"tools": list(prompt.tools)} if prompt.tools else {}
    else:
        body["prompt"] = "\n".join(m["content"] for m in prompt.messages)
    body |= {name: sampling[name] for name in _STANDARD_KEYS if name in sampling and sampling[name] != []}
    if "max_tokens" in body:
        body["max_tokens"] += added_tokens(model)
    if (likely := sampling.get("logprobs")) is not None:
        body |= {"logprobs": True, "top_logprobs": likely} if model.chat else {"logprobs": likely}
    if k := sampling.get("top_k_logprobs"):
        body |= top_k_keys(model, k, is_vllm=is_vllm)
    if sampling.get("per_request_seed"):
        body["seed"] = int(prompt.key[:8], 16) & 0x7FFFFFFF
    thinking = thinking_keys(model, flavour, way or ways_to_switch(model, flavour)[0])
    return body | _vllm_sampling(sampling, is_vllm) | thinking | _constraint(prompt.constraint, is_vllm)


def _vllm_sampling(sampling: Mapping[str, Any], is_vllm: bool) -> dict[str, Any]:
    wanted = {name: sampling[name] for name, nothing in _VLLM_ONLY_DEFAULTS.items() if sampling.get(name, nothing) != nothing}
    if wanted and not is_vllm:
        raise ServiceRefused(
            f"sampling.{next(iter(wanted))}: wanted a server that takes it, got one that does not say it is vLLM; leave it "
            "out, or say flavour: vllm"
        )
    return wanted


def _constraint(constraint: Constraint | None, is_vllm: bool) -> dict[str, Any]:
    if constraint is None:
        return {}
    if constraint.json_schema is not None:
        schema = {"name": "answer", "schema": dict(constraint.json_schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if not is_vllm:
        raise ServiceRefused(
            "recipe: wanted a server that takes choices and patterns, got one that does not say it is vLLM; use a JSON "
            "Schema, or say flavour: vllm"
        )
    if constraint.choices is not None:
        return {"structured_outputs": {"choice": list(constraint.choices)}}
    return {"structured_outputs": {"regex": constraint.regex}}
