"""A model's chat template: messages as it renders them, and what is found out about it before anything is asked.

A template may be missing (base models), refuse or drop system messages, or let the model think aloud unless it is told not to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synth_ray.ask.teacher import TemplateUse
from synth_ray.ask.vllm.template_thinking import Render, template_thinking
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.models import Model
from synth_ray.records import Message

_SYSTEM: Message = {"role": "system", "content": "Be brief, number 17."}
_USER: Message = {"role": "user", "content": "Hello"}
_UNREADABLE_TOKENIZERS = ("tekken.json", "tokenizer.model.v3", "tokenizer.model.v7", "tokenizer.model.v11")
"""Files of tokenizers that bring their own renderer."""


class TemplateRefuses(Exception):
    """Raised by a template, through its function `raise_exception`."""


def chat_tokens(tokenizer: Any, messages: list[Message], template_kwargs: Mapping[str, Any]) -> list[int]:
    """Messages as the model's chat template renders them. `template_kwargs` win over the template's own variables."""
    return rendered_tokens(tokenizer, renderer_of(tokenizer)(messages, template_kwargs))


def rendered_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a rendered prompt, which has its special tokens in it."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def renderer_of(tokenizer: Any) -> Render:
    """The renderer of a loaded tokenizer."""

    def render(messages: list[Message], variables: Mapping[str, Any]) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **{"add_generation_prompt": True, **variables}))

    return render


def inspect_template(render: Render, model: Model, *, where: str, use: TemplateUse) -> list[str]:
    """What to tell about a template that will do. `where` is the model's section, as `models.teacher`.

    Raises MissingResource without a template, JobError where the job's system message would be refused or dropped, or where it
    wants thoughts in a way that the template does not know.
    """
    try:
        render([_USER], model.chat_template_kwargs)
    except Exception as error:
        raise MissingResource(
            f"{where}.chat: wanted a chat template for '{model.name}', got none that takes a user's message "
            f"({type(error).__name__}); set {where}.chat: false for a base model, or name a {where}.tokenizer that has one"
        ) from None
    if use.system and not _takes_system(render, model):
        raise JobError(
            f"recipe.system: wanted a chat template with a system role, got one without in '{model.name}'; leave recipe.system "
            "out and put its text into the recipe's template"
        )
    if use.tools and not _shows_tools(render, model):
        raise JobError(
            f"recipe.call: wanted a chat template that shows tools, got one that does not in '{model.name}'; say call: guided"
        )
    thinking = template_thinking(render, model, where=where)
    if not thinking.unasked or use.cuts_thoughts:
        return []
    off = f"{where}.reasoning: false keeps it from that, " if thinking.switch else ""
    return [
        f"{where}: '{model.name}' thinks before it answers, and the job does not say whether it should; {off}{where}.reasoning: "
        "true says that it may, and keeps its thoughts in the rows"
    ]


def _takes_system(render: Render, model: Model) -> bool:
    try:
        return _SYSTEM["content"] in render([_SYSTEM, _USER], model.chat_template_kwargs)
    except Exception:  # a template raises what it likes
        return False


def _shows_tools(render: Render, model: Model) -> bool:
    function = {"name": "tool_number_17", "description": "", "parameters": {"type": "object", "properties": {}}}
    variables = {**model.chat_template_kwargs, "tools": [{"type": "function", "function": function}]}
    try:
        return str(function["name"]) in render([_USER], variables)
    except Exception:  # a template raises what it likes
        return False


def local_renderer(model: Model) -> Render | None:
    """The renderer of a tokenizer in a local folder, from its files alone; None where they do not tell.

    A folder with a tokenizer and no template gives a renderer that always raises.
    """
    folder = Path(model.tokenizer or model.model).expanduser()
    config = _read_json(folder / "tokenizer_config.json")
    own_renderer = any((folder / name).exists() for name in _UNREADABLE_TOKENIZERS) or (folder / "chat_templates").exists()
    if config is None or own_renderer or model.engine_args.get("tokenizer_mode", "auto") not in ("auto", "hf"):
        return None
    source = _source_in(folder, config)
    if source is None:
        return _no_template
    render = _compiled(source, config)
    try:
        render([_USER], model.chat_template_kwargs)
    except Exception:  # it may need what only the tokenizer's own library has
        return None
    return render


def _no_template(_messages: list[Message], _variables: Mapping[str, Any]) -> str:
    raise TemplateRefuses


def _source_in(folder: Path, config: Mapping[str, Any]) -> str | None:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8", errors="replace")
    found = config.get("chat_template") or (_read_json(folder / "chat_template.json") or {}).get("chat_template")
    if isinstance(found, list):
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _compiled(source: str, config: Mapping[str, Any]) -> Render:
    """A template as transformers renders it."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: time.strftime(form)
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    tokens = {name: _token_text(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}

    def render(messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        template = environment.from_string(source)
        return template.render(messages=messages, **{"add_generation_prompt": True, **tokens, **variables})

    return render


def _raise(_message: str) -> str:
    raise TemplateRefuses


def _token_text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
