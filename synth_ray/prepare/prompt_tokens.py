"""Tokens of a plan's prompts before anything is asked: rendered, and counted by the model's own tokenizer where it is here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ray.ask.spent import estimated_tokens
from synth_ray.ask.vllm.chat_template import local_renderer
from synth_ray.ask.vllm.template_thinking import Render, template_thinking
from synth_ray.errors import AskFailed
from synth_ray.job.models import Model
from synth_ray.prepare.interval import Interval
from synth_ray.prepare.preparation import Prepared
from synth_ray.recipes.contract import conversation
from synth_ray.recipes.templates import render
from synth_ray.records import Message, Request

SAMPLE_REQUESTS = 64

_EXACT = Interval.exactly(1.0)
_WITHOUT_TEMPLATE = Interval(1.0, 1.0, 1.2)
log = logging.getLogger(__name__)

_BY_BYTES = Interval(0.8, 1.0, 1.6)
"""How far a token for four bytes may be off: prose in English is near it, code and many languages have shorter tokens."""


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """Tokens of the first prompt of each request of a sample. `trust` is the factor by which they may be off; `method` says how
    they were counted.
    """

    tokens: Sequence[int]
    trust: Interval
    method: str


def count_prompts(prepared: Prepared) -> PromptCounts:
    """The first prompts of the plan's first SAMPLE_REQUESTS requests. A plan's order is random, so they are a fair sample."""
    requests = prepared.planner.numbered(0, range(min(SAMPLE_REQUESTS, prepared.planned_requests)))
    prompts = [_first_prompt(prepared, request) for request in requests]
    model = prepared.job.models.teacher
    folder = Path(model.tokenizer or model.model).expanduser()
    if (model.tokenizer or model.model) and (folder / "tokenizer.json").is_file():
        try:
            return _counted_by(folder / "tokenizer.json", prompts, model)
        except Exception as error:  # tokenizers raises Exception itself; an estimate is no reason to end a run
            log.warning("estimate: %s does not load (%s): tokens are estimated by length", folder, type(error).__name__)
    tokens = [estimated_tokens("".join(message["content"] for message in prompt)) for prompt in prompts]
    return PromptCounts(tokens, _BY_BYTES, "a token for four bytes")


def _first_prompt(prepared: Prepared, request: Request) -> list[Message]:
    """What a request asks first. Where a template renders answers that do not exist yet, its own text stands for it."""
    options = prepared.options
    template = next(iter(prepared.recipe.templates(options).values()), "")
    try:
        text = render(template, request) if template else ""
    except AskFailed:
        text = template + str(request.seed.fields.get("prompt", ""))
    return conversation(str(getattr(options, "system", "") or ""), text)


def _counted_by(file: Path, prompts: Sequence[list[Message]], model: Model) -> PromptCounts:
    from tokenizers import Tokenizer

    render_chat = local_renderer(model) if model.chat else None
    variables = template_thinking(render_chat, model, where="models").variables if render_chat is not None else {}
    texts = [_text(prompt, render_chat, variables) for prompt in prompts]
    count = _counter(Tokenizer.from_file(str(file)), adds_special=not model.chat)
    if render_chat is None and model.chat:
        return PromptCounts(count(texts), _WITHOUT_TEMPLATE, "the model's tokenizer, without its chat template")
    return PromptCounts(count(texts), _EXACT, "the model's tokenizer")


def _counter(tokenizer: Any, *, adds_special: bool) -> Callable[[list[str]], list[int]]:
    return lambda texts: [len(encoded.ids) for encoded in tokenizer.encode_batch(texts, add_special_tokens=adds_special)]


def _text(prompt: list[Message], render_chat: Render | None, variables: Mapping[str, Any]) -> str:
    if render_chat is None:
        return "\n".join(message["content"] for message in prompt)
    try:
        return render_chat(prompt, variables)
    except Exception:  # a template raises what it likes; the engine tells when it opens
        return "\n".join(message["content"] for message in prompt)
