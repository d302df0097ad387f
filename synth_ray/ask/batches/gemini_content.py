"""The Gemini API's generateContent: one request, and its response as a reply of OpenAI's form."""

from __future__ import annotations

from typing import Any

from synth_ray.ask.batches.unfit import is_asked, refusal, refuse_unfit_prompt
from synth_ray.ask.server_thinking import added_tokens
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model
from synth_ray.job.reasoning import Reasoning
from synth_ray.records import Message

PROVIDER = "Gemini"
MOST_ANSWERS = 8
_MOST_STOPS = 5
_MOST_LOGPROBS = 20
_NAMES = {
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "stop": "stopSequences",
}
_LEVELS = ("minimal", "low", "medium", "high")


def content_request(model: Model, prompt: Prompt) -> dict[str, Any]:
    """The body of models/{model}:generateContent. Raises ServiceRefused for what the API does not have."""
    refuse_unfit_prompt(model, prompt, PROVIDER, takes={*_NAMES, "per_request_seed", "logprobs", "choices"})
    sampling = prompt.sampling
    if is_asked(prompt, "stop") and len(sampling["stop"]) > _MOST_STOPS:
        raise refusal("sampling.stop", f"that takes {len(sampling['stop'])} strings", PROVIDER, f"name {_MOST_STOPS} at most")
    config: dict[str, Any] = {"maxOutputTokens": sampling["max_tokens"] + added_tokens(model)}
    config |= {"temperature": sampling["temperature"]} if "temperature" in sampling else {}
    config |= {theirs: sampling[name] for name, theirs in _NAMES.items() if is_asked(prompt, name)}
    config |= {"candidateCount": prompt.n} if prompt.n > 1 else {}
    if sampling.get("per_request_seed"):
        config["seed"] = int(prompt.key[:8], 16) & 0x7FFFFFFF
    config |= _logprobs(sampling.get("logprobs")) | _format(prompt) | _thinking(model.reasoning or Reasoning())
    body: dict[str, Any] = {
        "contents": [_content(m) for m in prompt.messages if m["role"] != "system"],
        "generationConfig": config,
    }
    if system := [message["content"] for message in prompt.messages if message["role"] == "system"]:
        body["systemInstruction"] = {"parts": [{"text": "\n\n".join(system)}]}
    return body


def _content(message: Message) -> dict[str, Any]:
    return {"role": "model" if message["role"] == "assistant" else "user", "parts": [{"text": message["content"]}]}


def _logprobs(likely: int | None) -> dict[str, Any]:
    if likely is None:
        return {}
    if likely > _MOST_LOGPROBS:
        raise refusal("recipe.top_logprobs", f"that tells {likely} tokens", PROVIDER, f"set {_MOST_LOGPROBS} or less")
    return {"responseLogprobs": True} | ({"logprobs": likely} if likely else {})


def _format(prompt: Prompt) -> dict[str, Any]:
    constraint = prompt.constraint
    if constraint is None:
        return {}
    if constraint.choices is not None:
        schema = {"type": "STRING", "enum": list(constraint.choices)}
        return {"responseMimeType": "text/x.enum", "responseSchema": schema}
    return {"responseMimeType": "application/json", "responseJsonSchema": dict(constraint.json_schema or {})}


def _thinking(wanted: Reasoning) -> dict[str, Any]:
    """Thoughts are shown wherever the model is not told not to think. A model that cannot help thinking refuses a budget of 0."""
    _refuse_contrary(wanted)
    if wanted.think is False:
        return {"thinkingConfig": {"thinkingBudget": 0}}
    config: dict[str, Any] = {"includeThoughts": True} if wanted.think or wanted.effort or wanted.budget is not None else {}
    if wanted.effort:
        if wanted.effort not in _LEVELS:
            raise refusal("models.teacher.reasoning.effort", f"that knows '{wanted.effort}'", PROVIDER, "set low or high")
        config["thinkingLevel"] = wanted.effort
    if wanted.budget is not None:
        config["thinkingBudget"] = wanted.budget
    return {"thinkingConfig": config} if config else {}


def _refuse_contrary(wanted: Reasoning) -> None:
    """Raises ServiceRefused for keys of which one would be left out: the API takes a level or a budget."""
    if wanted.think is False and wanted.effort not in ("", "none"):
        raise refusal("models.teacher.reasoning.effort", "that takes it beside think: false", PROVIDER, "leave one of them out")
    if wanted.think is False and wanted.budget:
        raise refusal("models.teacher.reasoning.budget", "that takes it beside think: false", PROVIDER, "leave one of them out")
    if wanted.think is not False and wanted.effort and wanted.budget is not None:
        raise refusal("models.teacher.reasoning.budget", "that takes it beside effort", PROVIDER, "leave one of them out")


# What comes back.


def reply_of(response: Any) -> dict[str, Any]:
    """A response as a reply of OpenAI's form. A prompt that is blocked has answers without text that a filter ended."""
    response = response if isinstance(response, dict) else {}
    found = response.get("candidates")
    candidates = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    choices = [_choice(place, candidate) for place, candidate in enumerate(candidates)]
    feedback = response.get("promptFeedback")
    if not choices and isinstance(feedback, dict) and feedback.get("blockReason"):
        choices = [{"index": place, "finish_reason": "content_filter", "message": {}} for place in range(MOST_ANSWERS)]
    return {"choices": choices, "usage": _usage(response.get("usageMetadata"))}


def _choice(place: int, candidate: dict[str, Any]) -> dict[str, Any]:
    content = candidate.get("content")
    found = content.get("parts") if isinstance(content, dict) else None
    parts = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
    thoughts = [part["text"] for part in parts if part.get("thought") and isinstance(part.get("text"), str)]
    texts = [part["text"] for part in parts if not part.get("thought") and isinstance(part.get("text"), str)]
    other = any(not isinstance(part.get("text"), str) and not part.get("thought") for part in parts)
    message = {"content": 0 if other else "".join(texts), "reasoning": "".join(thoughts)}
    index = candidate.get("index")
    return {
        "index": index if isinstance(index, int) else place,
        "finish_reason": candidate.get("finishReason"),
        "message": message,
        "logprobs": _told_logprobs(candidate.get("logprobsResult")),
    }


def _told_logprobs(result: Any) -> Any:
    if not isinstance(result, dict) or not isinstance(result.get("chosenCandidates"), list):
        return None
    chosen, tops = result["chosenCandidates"], result.get("topCandidates")
    tops = tops if isinstance(tops, list) and len(tops) == len(chosen) else [{}] * len(chosen)
    likely = [top.get("candidates") or () if isinstance(top, dict) else () for top in tops]
    pairs = zip(chosen, likely, strict=True)
    return {"content": [{**_token(one), "top_logprobs": [_token(other) for other in others]} for one, others in pairs]}


def _token(candidate: Any) -> dict[str, Any]:
    candidate = candidate if isinstance(candidate, dict) else {}
    return {"token": candidate.get("token"), "logprob": candidate.get("logProbability", 0.0)}


def _usage(usage: Any) -> dict[str, Any]:
    """Gemini counts cached tokens among the prompt's, and thoughts apart from the answers'."""
    usage = usage if isinstance(usage, dict) else {}
    done, thoughts = usage.get("candidatesTokenCount"), usage.get("thoughtsTokenCount")
    counted = [count for count in (done, thoughts) if isinstance(count, int)]
    return {
        "prompt_tokens": usage.get("promptTokenCount"),
        "completion_tokens": sum(counted) if counted else None,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount")},
    }
