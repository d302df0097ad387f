"""OpenAI's protocol for one ask: the request body, the completions in a reply, and the meaning of an error status."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.ask.teacher import Prompt
from synth_ray.errors import AskFailed, EngineDied, MissingResource
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.records import Reason

_STANDARD_KEYS = ("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop")
_VLLM_ONLY_DEFAULTS = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling keys that only vLLM's server knows, and the values that have no effect."""

_TOO_LONG_MESSAGES = ("context length", "context_length", "maximum context", "too long", "max_model_len")


def headers_of(section: str, key_env: str) -> dict[str, str]:
    """The authorization header, with the key from the environment. Raises MissingResource without it; `section` names the job's
    section.
    """
    if key_env and not os.environ.get(key_env):
        raise MissingResource(f"models.{section}.key_env: wanted a key in the environment variable {key_env}, got none; set it")
    return {"Authorization": f"Bearer {os.environ[key_env]}"} if key_env else {}


def path_of(model: Model) -> str:
    return "chat/completions" if model.chat else "completions"


def request_body(model: Model, prompt: Prompt, *, is_vllm: bool) -> dict[str, Any]:
    """The request body. Raises EngineDied for options the server does not support: every other ask would fail in the same way."""
    sampling = prompt.sampling
    body: dict[str, Any] = {"model": model.model, "n": prompt.n}
    if model.chat:
        body["messages"] = prompt.messages
    else:
        body["prompt"] = "\n".join(m["content"] for m in prompt.messages)
    body |= {name: sampling[name] for name in _STANDARD_KEYS if name in sampling and sampling[name] != []}
    if (likely := sampling.get("logprobs")) is not None:
        body |= {"logprobs": True, "top_logprobs": likely} if model.chat else {"logprobs": likely}
    if sampling.get("per_request_seed"):
        body["seed"] = int(prompt.key[:8], 16) & 0x7FFFFFFF
    return body | _vllm_sampling(sampling, is_vllm) | _template_kwargs(model, is_vllm) | _constraint(prompt.constraint, is_vllm)


def _vllm_sampling(sampling: Mapping[str, Any], is_vllm: bool) -> dict[str, Any]:
    wanted = {name: sampling[name] for name, nothing in _VLLM_ONLY_DEFAULTS.items() if sampling.get(name, nothing) != nothing}
    if wanted and not is_vllm:
        raise EngineDied(
            f"sampling.{next(iter(wanted))}: wanted a server that takes it, got one that does not say it is vLLM; leave it "
            "out, or say flavour: vllm"
        )
    return wanted


def _template_kwargs(model: Model, is_vllm: bool) -> dict[str, Any]:
    if not model.chat_template_kwargs:
        return {}
    if not is_vllm:
        raise EngineDied(
            "models.chat_template_kwargs: wanted a server that takes them, got one that does not say it is vLLM; leave them out, "
            "or say flavour: vllm"
        )
    return {"chat_template_kwargs": model.chat_template_kwargs}


def _constraint(constraint: Constraint | None, is_vllm: bool) -> dict[str, Any]:
    if constraint is None:
        return {}
    if constraint.json_schema is not None:
        schema = {"name": "answer", "schema": dict(constraint.json_schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if not is_vllm:
        raise EngineDied(
            "recipe: wanted a server that takes choices and patterns, got one that does not say it is vLLM; use a JSON "
            "Schema, or say flavour: vllm"
        )
    if constraint.choices is not None:
        return {"structured_outputs": {"choice": list(constraint.choices)}}
    return {"structured_outputs": {"regex": constraint.regex}}


def error_for_status(status: int, text: str) -> AskFailed | EngineDied:
    """The error for a status. The server's text may quote the prompt, so only its kind is kept."""
    if status in (401, 403, 404):
        return EngineDied(f"models: wanted to be let in to the model, got HTTP {status}; check the key and the model's name")
    if any(mark in text[:2000].casefold() for mark in _TOO_LONG_MESSAGES):
        return AskFailed(Reason.PROMPT_TOO_LONG, f"HTTP {status}")
    return AskFailed(Reason.ENGINE_ERROR, f"HTTP {status}")


def completions_in(reply: Any, n: int) -> list[Completion] | None:
    """The choices of a reply in index order; None for a reply that is truncated or has too few choices."""
    try:
        choices = sorted(reply["choices"], key=lambda choice: choice.get("index", 0))
        texts = [choice["message"]["content"] or "" if "message" in choice else choice["text"] for choice in choices]
        reasons = [str(choice.get("finish_reason") or "stop") for choice in choices]
        likely = [_logprobs(choice.get("logprobs")) for choice in choices]
    except (ValueError, KeyError, TypeError):
        return None
    if len(texts) != n:
        return None
    usage = reply.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    completion_tokens = split_tokens_by_length(int(usage.get("completion_tokens") or 0), texts)
    prompt_tokens = int(usage.get("prompt_tokens") or 0)
    reply = zip(texts, reasons, completion_tokens, likely, strict=True)
    return [Completion(text, why, prompt_tokens, tokens, int(cached), likely) for text, why, tokens, likely in reply]


def _logprobs(content: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Log-probabilities in chat (`content`) or plain completion (`tokens`) form; None where there are none."""
    if not content:
        return None
    if "tokens" in content:
        places = zip(
            content["tokens"],
            content["token_logprobs"],
            content.get("top_logprobs") or [{}] * len(content["tokens"]),
            strict=True,
        )
        return [_token_logprobs(token, logprob, list((top or {}).items())) for token, logprob, top in places]
    return [
        _token_logprobs(
            item["token"], item["logprob"], [(like["token"], like["logprob"]) for like in item.get("top_logprobs") or ()]
        )
        for item in content["content"]
    ]


def _token_logprobs(token: str, logprob: float, top: list[tuple[str, float]]) -> dict[str, Any]:
    """One token with its likeliest alternatives, itself among them, in the form all teachers use. A server gives no token ids."""
    top = top if not top or token in dict(top) else [*top, (token, logprob)]
    likely = [{"token": token_, "id": None, "logprob": value} for token_, value in sorted(top, key=lambda pair: -pair[1])]
    return {"token": token, "id": None, "logprob": logprob, "top": likely}


def split_tokens_by_length(tokens: int, texts: Sequence[str]) -> list[int]:
    """A server reports the tokens of all choices together: divide them by text length, so that the sum is exact."""
    total = sum(map(len, texts)) or 1
    shares = [tokens * len(text) // total for text in texts]
    shares[0] += tokens - sum(shares)
    return shares
