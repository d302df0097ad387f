"""A model's chat template: messages as it renders them, and what is found out about it before anything is asked.

A template may be missing (base models), refuse or drop system messages, or let the model think aloud unless it is told not to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synth_ray.ask.teacher import TemplateUse
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.models import Model
from synth_ray.records import Message

Render = Callable[[list[Message], Mapping[str, Any]], str]
"""Messages and the template's variables to text. Raises whatever the template raises."""

_THINKING_VARIABLES = ("enable_thinking", "thinking")
_SYSTEM: Message = {"role": "system", "content": "Be brief, number 17."}
_USER: Message = {"role": "user", "content": "Hello"}
_UNREADABLE_TOKENIZERS = ("tekken.json", "tokenizer.model.v3", "tokenizer.model.v7", "tokenizer.model.v11")
"""Files of tokenizers that bring their own renderer."""


class TemplateRefuses(Exception):
    """Raised by a template, through its function `raise_exception`."""


def chat_tokens(tokenizer: Any, messages: list[Message], template_kwargs: Mapping[str, Any]) -> list[int]:
    """Messages as the model's chat template renders them. `template_kwargs` win over the template's own variables."""
    return list(tokenizer.encode(renderer_of(tokenizer)(messages, template_kwargs), add_special_tokens=False))


def renderer_of(tokenizer: Any) -> Render:
    """The renderer of a loaded tokenizer."""

    def render(messages: list[Message], variables: Mapping[str, Any]) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **{"add_generation_prompt": True, **variables}))

    return render


def inspect_template(render: Render, model: Model, *, where: str, use: TemplateUse) -> list[str]:
    """What to tell about a template that will do. `where` is the model's section, as `models.teacher`.

    Raises MissingResource without a template, JobError where the job's system message would be refused or dropped.
    """
    try:
        plain = render([_USER], model.chat_template_kwargs)
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
    notices = [] if use.cuts_thoughts else _thinking_notices(render, model, plain)
    return [f"{where}: {notice}" for notice in notices]


def _takes_system(render: Render, model: Model) -> bool:
    try:
        return _SYSTEM["content"] in render([_SYSTEM, _USER], model.chat_template_kwargs)
    except Exception:  # a template raises what it likes
        return False


def _thinking_notices(render: Render, model: Model, plain: str) -> list[str]:
    variables = model.chat_template_kwargs
    if any(name in variables for name in _THINKING_VARIABLES):
        return []
    for name in _THINKING_VARIABLES:
        try:
            thinks = render([_USER], {**variables, name: False}) != plain
        except Exception:  # a template raises what it likes
            continue
        if thinks:
            return [
                f"'{model.name}' thinks aloud first, and its thoughts become part of the answers; chat_template_kwargs: "
                f"{{{name}: false}} keeps it from that, {{{name}: true}} says that it may, recipe.reasoning cuts them out"
            ]
    return []


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
