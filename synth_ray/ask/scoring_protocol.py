"""Servers of models that give numbers: vLLM's `/pooling`, `/classify` and `/score`, and OpenAI's `/embeddings`.

Law: what is sent is what the job says, so that nothing is cut or scaled unasked: rewards raw, probabilities by softmax, a text
that is too long refused. A reply of another form is no answer; one with other outputs than the job says stops the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from synth_ray.ask.model_list import address
from synth_ray.ask.openai_protocol import path_of
from synth_ray.ask.openai_replies import answers_in
from synth_ray.ask.scores import embedded, labelled, question_of, reads, scored, similarity
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import AskFailed, MissingResource
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion

_MOST_TOKENS = 2**31 - 1


def place_of(model: Model, url: str) -> str:
    """Where asks for this model are sent. vLLM's own paths are beside `/v1`, not below it."""
    if model.task == "generate":
        return address(url, path_of(model))
    if model.task == "embed":
        return address(url, "embeddings")
    parts = urlsplit(url)
    root = urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix("/v1")))
    path = "classify" if model.task == "classify" else "score" if reads(model) == "pair" else "pooling"
    return address(root, path)


def refuse_without_scores(model: Model, *, is_vllm: bool) -> None:
    """Raise MissingResource for a reward model or classifier behind a server that is not vLLM's: OpenAI's protocol has none."""
    if model.task in ("reward", "classify") and not is_vllm:
        raise MissingResource(
            f"models.endpoint.flavour: wanted vLLM's server for task {model.task}, got one that does not say it is vLLM; say "
            "flavour: vllm if it is"
        )


def scoring_body(model: Model, prompt: Prompt) -> dict[str, Any]:
    """The request's body of one `rate` or `embed`."""
    body: dict[str, Any] = {"model": model.model, **_text(model, prompt)}
    if model.task == "embed":
        body |= {"encoding_format": "float"} | ({"dimensions": model.scoring.dimensions} if model.scoring.dimensions else {})
    if model.task == "reward":
        body |= {"use_activation": False}
        body |= {"task": "classify"} if reads(model) != "pair" else {}
    if model.scoring.too_long == "cut":
        body |= {"truncate_prompt_tokens": -1, "truncation_side": "left" if "messages" in body else "right"}
    return body


def _text(model: Model, prompt: Prompt) -> dict[str, Any]:
    question = question_of(prompt)
    if model.task == "embed":
        texts = [question] if prompt.kind == "embed" else [question, prompt.given]
        return {"input": [model.scoring.prefix + text for text in texts]}
    if reads(model) == "pair":
        return {"text_1": question, "text_2": prompt.given}
    if reads(model) == "answer":
        return {"input": prompt.given}
    messages = [*prompt.messages, {"role": "assistant", "content": prompt.given}]
    variables = {"chat_template_kwargs": model.chat_template_kwargs} if model.chat_template_kwargs else {}
    return {"messages": messages, "add_generation_prompt": False} | variables


def replies_in(model: Model, reply: Any) -> list[Completion]:
    """The answers in a reply: of a model that scores one, or none where the reply has another form.

    Raises ServiceRefused where the model has other outputs than the job says.
    """
    if model.task == "generate":
        return answers_in(reply)
    tokens = _prompt_tokens(reply)
    rows = [numbers for item in _items(reply) if (numbers := _numbers(item)) is not None]
    try:
        if model.task == "embed":
            return _of_vectors(rows, tokens)
        return [scored(labelled(model, rows[0]), prompt_tokens=tokens)] if len(rows) == 1 else []
    except AskFailed:
        return []


def _of_vectors(vectors: Sequence[list[float]], tokens: int | None) -> list[Completion]:
    if len(vectors) == 2 and len(vectors[0]) == len(vectors[1]):
        return [similarity(*vectors, prompt_tokens=tokens)]
    return [embedded(vectors[0], prompt_tokens=tokens)] if len(vectors) == 1 else []


def _items(reply: Any) -> list[Mapping[str, Any]]:
    data = reply.get("data") if isinstance(reply, dict) else None
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    return sorted(items, key=lambda item: item["index"] if isinstance(item.get("index"), int) else 0)


def _numbers(item: Mapping[str, Any]) -> list[float] | None:
    value = next((item[name] for name in ("embedding", "probs", "data", "score") if name in item), None)
    values = value if isinstance(value, list) else [value]
    numbers = [float(number) for number in values if isinstance(number, (int, float)) and not isinstance(number, bool)]
    return numbers if len(numbers) == len(values) and numbers else None


def _prompt_tokens(reply: Any) -> int | None:
    usage = reply.get("usage") if isinstance(reply, dict) else None
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    is_count = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= _MOST_TOKENS
    return count if is_count else None
