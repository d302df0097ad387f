"""Bedrock's Converse API: one record of a batch, and its output as a reply of OpenAI's form. One form for all models."""

from __future__ import annotations

import json
from typing import Any

from synth_ray.ask.batches.anthropic_messages import LEAST_BUDGET, usage_of
from synth_ray.ask.batches.unfit import is_asked, refusal, refuse_unfit_prompt
from synth_ray.ask.server_thinking import added_tokens
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model
from synth_ray.job.reasoning import Reasoning

PROVIDER = "Bedrock"
_USAGE = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "outputTokens")


def converse_input(model: Model, prompt: Prompt) -> dict[str, Any]:
    """The `modelInput` of a record. Raises ServiceRefused for what Converse does not have for all models."""
    refuse_unfit_prompt(model, prompt, PROVIDER, takes={"top_p", "stop"})
    sampling, temperature = prompt.sampling, prompt.sampling.get("temperature", 1.0)
    if temperature > 1:
        raise refusal("sampling.temperature", f"that takes {temperature:g}", PROVIDER, "set 1 or less")
    config: dict[str, Any] = {"maxTokens": sampling["max_tokens"] + added_tokens(model)}
    config |= {"temperature": temperature} if temperature != 1 else {}
    config |= {"topP": sampling["top_p"]} if is_asked(prompt, "top_p") else {}
    config |= {"stopSequences": list(sampling["stop"])} if is_asked(prompt, "stop") else {}
    body: dict[str, Any] = {
        "messages": [
            {"role": message["role"], "content": [{"text": message["content"]}]}
            for message in prompt.messages
            if message["role"] != "system"
        ],
        "inferenceConfig": config,
    }
    if system := [{"text": message["content"]} for message in prompt.messages if message["role"] == "system"]:
        body["system"] = system
    if thinking := _thinking(model.reasoning or Reasoning(), temperature):
        body["additionalModelRequestFields"] = {"thinking": thinking}
    if prompt.constraint is not None and prompt.constraint.json_schema is not None:
        schema = {"schema": json.dumps(dict(prompt.constraint.json_schema)), "name": "answer"}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    return body


def _thinking(wanted: Reasoning, temperature: float) -> dict[str, Any]:
    """Converse has no switch of its own. A budget, or none, is told in the form of Anthropic's models."""
    if wanted.effort:
        raise refusal("models.teacher.reasoning.effort", "that takes it", PROVIDER, "leave it out, or set budget")
    if wanted.think is False:
        return {"type": "disabled"}
    if wanted.budget is None:
        if wanted.think:
            raise refusal("models.teacher.reasoning.think", "that thinks without a budget", PROVIDER, "set budget too")
        return {}
    if wanted.budget < LEAST_BUDGET:
        wanted_budget = f"that limits a thought to {wanted.budget:,} tokens"
        raise refusal("models.teacher.reasoning.budget", wanted_budget, PROVIDER, f"set {LEAST_BUDGET:,} or more")
    if temperature != 1:
        raise refusal("sampling.temperature", f"that thinks at {temperature:g}", PROVIDER, "set 1, or think: false")
    return {"type": "enabled", "budget_tokens": wanted.budget}


def reply_of(output: Any) -> dict[str, Any]:
    """An output of Converse as a reply of OpenAI's form."""
    output = output if isinstance(output, dict) else {}
    inner = output.get("output")
    message = inner.get("message") if isinstance(inner, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    calls = [part["toolUse"] for part in parts if isinstance(part.get("toolUse"), dict)]
    shown = {
        "content": [_part(part) for part in parts if "toolUse" not in part],
        "tool_calls": [{"function": {"name": call.get("name"), "arguments": call.get("input")}} for call in calls],
    }
    choice = {"index": 0, "finish_reason": output.get("stopReason"), "message": shown}
    return {"choices": [choice] if isinstance(message, dict) else [], "usage": usage_of(output.get("usage"), _USAGE)}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if "reasoningContent" in part:
        thought = part["reasoningContent"]
        text = thought.get("reasoningText") if isinstance(thought, dict) else None
        return {"type": "thinking", "thinking": text.get("text") if isinstance(text, dict) else ""}
    return {"type": "text", "text": part["text"]} if isinstance(part.get("text"), str) else {"type": "unknown"}
