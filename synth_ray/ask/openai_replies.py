"""OpenAI's protocol, what comes back: the answers in a reply, whatever a server made of the form.

Law: no JSON value raises. An answer that is missing is left out, so that it can be asked again; one that is not text is kept,
with a finish reason that fails its row. A count that is not told is None, never 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synth_ray.ask.served_top_k import prompt_alone
from synth_ray.ask.usage import usage_in
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.finish_reasons import ERROR, NOT_TEXT, REFUSAL, finish_reason_of
from synth_ray.recipes.markup import call_text


def completions_in(reply: Any, n: int) -> list[Completion] | None:
    """The first `n` answers of a reply, in the order of their index; None for a reply that has fewer."""
    answers = answers_in(reply)
    return answers[:n] if len(answers) >= n else None


def answers_in(reply: Any) -> list[Completion]:
    """All answers of a reply, in the order of their index. Choices that are null or ended in an error are left out."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    try:
        parts = [_parts_of(choice) for choice in sorted(_objects(choices), key=_index)]
    except RecursionError:  # arguments nested deeper than JSON can be written
        return []
    whole = [part for part in parts if part is not None and part.finish_reason != ERROR]
    if not whole:
        return []
    usage = usage_in(reply, [(part.text, part.reasoning) for part in whole])
    return [
        Completion(
            part.text,
            part.finish_reason,
            usage.prompt,
            tokens,
            usage.cached,
            part.logprobs,
            part.reasoning,
            reasoning_tokens=thought,
            top_k=prompt_alone(reply, part.logprobs),
            cache_written_tokens=usage.cache_written,
        )
        for part, tokens, thought in zip(whole, usage.completions, usage.thoughts, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Parts:
    text: str
    finish_reason: str
    reasoning: str = ""
    logprobs: list[dict[str, Any]] | None = None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _parts_of(choice: Mapping[str, Any]) -> _Parts | None:
    """One answer; None where the choice has none at all."""
    finish = ERROR if choice.get("error") else finish_reason_of(choice.get("finish_reason"))
    logprobs = _logprobs(choice.get("logprobs"))
    if "message" not in choice and "text" in choice:
        content = _Content.of(choice["text"])
        return _Parts(content.text, finish if content.is_text else NOT_TEXT, content.reasoning, logprobs)
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    content = _Content.of(message.get("content"))
    calls = list(_calls_in(message))
    text = "\n".join(part for part in (content.text, *calls) if part)
    reasoning = _first_text(message, "reasoning", "reasoning_content") or content.reasoning or _detailed(message)
    if content.is_refusal or _first_text(message, "refusal"):
        return _Parts(text, REFUSAL, reasoning, logprobs)
    return _Parts(text, finish if content.is_text else NOT_TEXT, reasoning, logprobs)


def _first_text(message: Mapping[str, Any], *names: str) -> str:
    return next((message[name] for name in names if isinstance(message.get(name), str) and message[name]), "")


def _detailed(message: Mapping[str, Any]) -> str:
    """A thought in OpenRouter's list of parts, where it stands nowhere else."""
    return "".join(text for part in _objects(message.get("reasoning_details")) for text in _texts_in(part))


@dataclass(frozen=True, slots=True)
class _Content:
    """A message's content. Absent, null and empty are all no text; a list has parts, of which text is the answer."""

    text: str = ""
    reasoning: str = ""
    is_refusal: bool = False
    is_text: bool = True

    @classmethod
    def of(cls, content: Any) -> _Content:
        if content is None or isinstance(content, str):
            return cls(content or "")
        parts = [content] if isinstance(content, dict) else content
        if not isinstance(parts, list):
            return cls(is_text=False)
        texts: list[str] = []
        thoughts: list[str] = []
        known = True
        for part in parts:
            kind = str(part.get("type", "text")) if isinstance(part, dict) else "text"
            if kind in ("thinking", "reasoning", "redacted_thinking"):
                thoughts.extend(_texts_in(part))
            elif kind in ("text", "output_text"):
                found = list(_texts_in(part))
                texts += found
                known &= bool(found)
            elif kind != "refusal":
                known = False
        refuses = any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)
        return cls("".join(texts), "".join(thoughts), refuses, known)


def _texts_in(part: Any) -> Iterator[str]:
    """The texts of a content part: a string, its field of that name, or a list of such parts."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for name in ("text", "thinking", "reasoning", "summary", "value"):
            yield from _texts_in(part.get(name))
    elif isinstance(part, list):
        for inner in part:
            yield from _texts_in(inner)


def _calls_in(message: Mapping[str, Any]) -> Iterator[str]:
    """The calls of tools, in the form in which the program itself writes them."""
    functions = [call.get("function", call) for call in _objects(message.get("tool_calls"))]
    for function in [*functions, message.get("function_call")]:
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield call_text(function["name"], _arguments(function.get("arguments")))


def _arguments(value: Any) -> Any:
    """A server sends arguments as JSON text. What does not parse stays as the text it is."""
    if not isinstance(value, str):
        return value if value is not None else {}
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        return value


# Log-probabilities.


def _logprobs(content: Any) -> list[dict[str, Any]] | None:
    """Log-probabilities in chat (`content`) or plain completion (`tokens`) form; None where there are none that can be read."""
    if not isinstance(content, dict) or not content:
        return None
    try:
        return list(_plain_logprobs(content)) if "tokens" in content else list(_chat_logprobs(content["content"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _plain_logprobs(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tops = content.get("top_logprobs") or [{}] * len(content["tokens"])
    for token, logprob, top in zip(content["tokens"], content["token_logprobs"], tops, strict=True):
        yield _token_logprobs(token, logprob, (top or {}).items())


def _chat_logprobs(items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        top = [(like["token"], like["logprob"]) for like in item.get("top_logprobs") or ()]
        yield _token_logprobs(item["token"], item["logprob"], top)


def _token_logprobs(token: Any, logprob: Any, top: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """One token with its likeliest alternatives, itself among them, in the form all teachers use. A server gives no token ids."""
    likely = {_string(token_): _number(value) for token_, value in top}
    pairs = [*likely.items()] if not likely or token in likely else [*likely.items(), (token, _number(logprob))]
    entries = [{"token": token_, "id": None, "logprob": value} for token_, value in sorted(pairs, key=lambda pair: -pair[1])]
    return {"token": _string(token), "id": None, "logprob": _number(logprob), "top": entries}


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a token is text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("a log-probability is a number")
    return float(value)
