"""OpenAI's protocol for one ask: the body of a request, the completions in a reply, and what a refusal means."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.ask.teacher import Prompt
from synth_ray.errors import Absent, AskFailed, EngineDead
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.records import Reason

_PASSED_ON = ("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop")
_OF_VLLM = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling keys that only vLLM's server knows, and the values that mean nothing."""

_TOO_LONG = ("context length", "context_length", "maximum context", "too long", "max_model_len")


def headers_of(section: str, key_env: str) -> dict[str, str]:
    """The key, from the environment alone. Raises Absent where it is not there; `section` is the one that names it."""
    if key_env and not os.environ.get(key_env):
        raise Absent(f"models.{section}.key_env: wanted a key in the environment variable {key_env}, got none; set it")
    return {"Authorization": f"Bearer {os.environ[key_env]}"} if key_env else {}


def path_of(model: Model) -> str:
    return "chat/completions" if model.chat else "completions"


def request_body(model: Model, prompt: Prompt, *, is_vllm: bool) -> dict[str, Any]:
    """Raises EngineDead for what the server does not take: every other ask would fail as this one."""
    sampling = prompt.sampling
    body: dict[str, Any] = {"model": model.model, "n": prompt.n}
    if model.chat:
        body["messages"] = prompt.messages
    else:
        body["prompt"] = "\n".join(m["content"] for m in prompt.messages)
    body |= {name: sampling[name] for name in _PASSED_ON if name in sampling and sampling[name] != []}
    if (likely := sampling.get("logprobs")) is not None:
        body |= {"logprobs": True, "top_logprobs": likely} if model.chat else {"logprobs": likely}
    if sampling.get("per_request_seed"):
        body["seed"] = int(prompt.key[:8], 16) & 0x7FFFFFFF
    return body | _only_vllm(sampling, is_vllm) | _template_kwargs(model, is_vllm) | _constraint(prompt.constraint, is_vllm)


def _only_vllm(sampling: Mapping[str, Any], is_vllm: bool) -> dict[str, Any]:
    wanted = {name: sampling[name] for name, nothing in _OF_VLLM.items() if sampling.get(name, nothing) != nothing}
    if wanted and not is_vllm:
        raise EngineDead(
            f"sampling.{next(iter(wanted))}: wanted a server that takes it, got one that does not say it is vLLM; leave it "
            "out, or say flavour: vllm"
        )
    return wanted


def _template_kwargs(model: Model, is_vllm: bool) -> dict[str, Any]:
    if not model.chat_template_kwargs:
        return {}
    if not is_vllm:
        raise EngineDead(
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
        raise EngineDead(
            "recipe: wanted a server that takes choices and patterns, got one that does not say it is vLLM; use a JSON "
            "Schema, or say flavour: vllm"
        )
    if constraint.choices is not None:
        return {"structured_outputs": {"choice": list(constraint.choices)}}
    return {"structured_outputs": {"regex": constraint.regex}}


def failure(status: int, text: str) -> AskFailed | EngineDead:
    """What a refusal means. The server's words may quote the prompt: only what they are about is told."""
    if status in (401, 403, 404):
        return EngineDead(f"models: wanted to be let in to the model, got HTTP {status}; check the key and the model's name")
    if any(mark in text[:2000].casefold() for mark in _TOO_LONG):
        return AskFailed(Reason.PROMPT_TOO_LONG, f"HTTP {status}")
    return AskFailed(Reason.ENGINE_ERROR, f"HTTP {status}")


def completions_in(told: Any, n: int) -> list[Completion] | None:
    """The choices of a reply's body in their own order; None for one that is cut off or short of choices."""
    try:
        choices = sorted(told["choices"], key=lambda one: one.get("index", 0))
        texts = [one["message"]["content"] or "" if "message" in one else one["text"] for one in choices]
        reasons = [str(one.get("finish_reason") or "stop") for one in choices]
        likely = [_logprobs(one.get("logprobs")) for one in choices]
    except (ValueError, KeyError, TypeError):
        return None
    if len(texts) != n:
        return None
    usage = told.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    each = shared(int(usage.get("completion_tokens") or 0), texts)
    asked = int(usage.get("prompt_tokens") or 0)
    told = zip(texts, reasons, each, likely, strict=True)
    return [Completion(text, why, asked, tokens, int(cached), likely) for text, why, tokens, likely in told]


def _logprobs(told: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """As chat (`content`) or plain completions (`tokens`) tell them; None where they tell none."""
    if not told:
        return None
    if "tokens" in told:
        places = zip(told["tokens"], told["token_logprobs"], told.get("top_logprobs") or [{}] * len(told["tokens"]), strict=True)
        return [_at_its_place(token, logprob, list((top or {}).items())) for token, logprob, top in places]
    return [
        _at_its_place(one["token"], one["logprob"], [(like["token"], like["logprob"]) for like in one.get("top_logprobs") or ()])
        for one in told["content"]
    ]


def _at_its_place(token: str, logprob: float, top: list[tuple[str, float]]) -> dict[str, Any]:
    """The likeliest, and among them the one that was said, as every teacher tells them; a server tells no token numbers."""
    top = top if not top or token in dict(top) else [*top, (token, logprob)]
    likely = [{"token": one, "id": None, "logprob": value} for one, value in sorted(top, key=lambda each: -each[1])]
    return {"token": token, "id": None, "logprob": logprob, "top": likely}


def shared(tokens: int, texts: Sequence[str]) -> list[int]:
    """A server tells the tokens of all choices together: each has its share by length, and the sum is exact."""
    whole = sum(map(len, texts)) or 1
    each = [tokens * len(text) // whole for text in texts]
    each[0] += tokens - sum(each)
    return each
