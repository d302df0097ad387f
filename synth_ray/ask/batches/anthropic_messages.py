"""Anthropic's Messages API: the parameters of one request, and its message as a reply of OpenAI's form."""

from __future__ import annotations

from typing import Any

from synth_ray.ask.batches.unfit import is_asked, refusal, refuse_unfit_prompt
from synth_ray.ask.server_thinking import added_tokens
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model
from synth_ray.job.reasoning import Reasoning

PROVIDER = "Anthropic"
LEAST_BUDGET = 1024
_TAKES = frozenset({"top_p", "top_k", "stop"})
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def message_params(model: Model, prompt: Prompt) -> dict[str, Any]:
    """The body of POST /v1/messages. Raises ServiceRefused for what the API does not have.

    A temperature of 1 is the API's own and is not sent: some models take none.
    """
    refuse_unfit_prompt(model, prompt, PROVIDER, takes=_TAKES)
    sampling, wanted = prompt.sampling, model.reasoning or Reasoning()
    thinking = _thinking(wanted)
    params: dict[str, Any] = {
        "model": model.model,
        "max_tokens": sampling["max_tokens"] + added_tokens(model),
        "messages": [
            {"role": message["role"], "content": message["content"]} for message in prompt.messages if message["role"] != "system"
        ],
    }
    if system := [message["content"] for message in prompt.messages if message["role"] == "system"]:
        params["system"] = _system("\n\n".join(system), model.batch.cache_prompts if model.batch else "")
    _refuse_temperature(sampling.get("temperature", 1.0), thinks=thinking.get("type") in ("enabled", "adaptive"))
    if sampling.get("temperature", 1.0) != 1:
        params["temperature"] = sampling["temperature"]
    params |= {name: sampling[name] for name in ("top_p", "top_k") if is_asked(prompt, name)}
    params |= {"stop_sequences": list(sampling["stop"])} if is_asked(prompt, "stop") else {}
    params |= {"thinking": thinking} if thinking else {}
    output: dict[str, Any] = {"effort": _effort(wanted)} if wanted.effort else {}
    if prompt.constraint is not None and prompt.constraint.json_schema is not None:
        output["format"] = {"type": "json_schema", "schema": dict(prompt.constraint.json_schema)}
    return params | ({"output_config": output} if output else {})


def _system(text: str, cached_for: str) -> Any:
    if not cached_for:
        return text
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": cached_for}}]


def _thinking(wanted: Reasoning) -> dict[str, Any]:
    """With a budget, the older form that has one; without, the model decides how long it thinks."""
    if wanted.think is False:
        return {"type": "disabled"}
    if wanted.budget is not None:
        if wanted.budget < LEAST_BUDGET:
            raise refusal(
                "models.teacher.reasoning.budget", f"that limits a thought to {wanted.budget:,} tokens", PROVIDER,
                f"set {LEAST_BUDGET:,} or more, or think: false",
            )  # fmt: skip
        return {"type": "enabled", "budget_tokens": wanted.budget}
    return {"type": "adaptive"} if wanted.think else {}


def _effort(wanted: Reasoning) -> str:
    if wanted.effort not in _EFFORTS:
        raise refusal("models.teacher.reasoning.effort", f"that knows '{wanted.effort}'", PROVIDER, "set low, medium or high")
    return wanted.effort


def _refuse_temperature(temperature: float, *, thinks: bool) -> None:
    if temperature > 1:
        raise refusal("sampling.temperature", f"that takes {temperature:g}", PROVIDER, "set 1 or less")
    if thinks and temperature != 1:
        raise refusal("sampling.temperature", f"that thinks at {temperature:g}", PROVIDER, "set 1, or think: false")


def reply_of(message: Any) -> dict[str, Any]:
    """A message as a reply of OpenAI's form. Tokens of the prompt are those that were read, written and neither, together."""
    message = message if isinstance(message, dict) else {}
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else content
    calls = [part for part in parts if part.get("type") == "tool_use"] if isinstance(parts, list) else []
    shown = {
        "content": [part for part in parts if part not in calls] if isinstance(parts, list) else parts,
        "tool_calls": [{"function": {"name": call.get("name"), "arguments": call.get("input")}} for call in calls],
    }
    choice = {"index": 0, "finish_reason": message.get("stop_reason"), "message": shown}
    return {"choices": [choice] if "content" in message else [], "usage": usage_of(message.get("usage"), _USAGE)}


_USAGE = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def usage_of(usage: Any, names: tuple[str, str, str, str]) -> dict[str, Any]:
    """Usage of OpenAI's form from one that counts apart what of the prompt was neither cached nor written, read, written, and the
    answer's tokens, under these names.
    """
    usage = usage if isinstance(usage, dict) else {}
    fresh, read, written, done = (usage.get(name) for name in names)
    if not isinstance(fresh, int):
        return {"completion_tokens": done}
    cached = [count if isinstance(count, int) else 0 for count in (read, written)]
    details = {"cached_tokens": cached[0], "cache_write_tokens": cached[1]}
    return {"prompt_tokens": fresh + sum(cached), "completion_tokens": done, "prompt_tokens_details": details}
