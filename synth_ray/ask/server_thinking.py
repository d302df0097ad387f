"""How a server is told to think: the keys of its request, by the server's dialect, and the thoughts of earlier turns.

A server's template cannot be rendered here, so it is told in the way of its kind; one that refuses a way is told in the next
(`dialect.Dialect`), and one that refuses all of them stops the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from synth_ray.errors import JobError
from synth_ray.job.models import Model
from synth_ray.job.reasoning import SWITCHES, Reasoning
from synth_ray.records import Message

Flavour = Literal["openai", "vllm", "sglang", "llamacpp", "deepseek", "openrouter"]

EFFORT, BUDGET, TEMPLATE_KWARGS = "reasoning_effort", "thinking_token_budget", "chat_template_kwargs"
SWITCH_KEYS = (TEMPLATE_KWARGS, EFFORT, "thinking", "reasoning")
"""Keys of a request that may hold the switch."""

_WAYS: Mapping[str, Sequence[str]] = {
    "vllm": (TEMPLATE_KWARGS,),
    "sglang": (TEMPLATE_KWARGS,),
    "llamacpp": (TEMPLATE_KWARGS,),
    "deepseek": ("thinking",),
    "openrouter": ("reasoning",),
    "openai": (EFFORT, TEMPLATE_KWARGS, "thinking"),
}
"""The keys by which each dialect is told whether to think, in the order in which they are tried."""

_OWNERS: Mapping[str, Flavour] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "deepseek": "deepseek"}
_HOSTS: Mapping[str, Flavour] = {"deepseek.com": "deepseek", "openrouter.ai": "openrouter"}
_DEFAULT_EFFORT = "medium"
_EARLIER_KEYS = {"vllm": "reasoning", "openrouter": "reasoning"}
_READ_BY_TEMPLATE = frozenset({"vllm", "sglang", "llamacpp", "openrouter"})
"""Dialects that take the thoughts of all earlier turns; the model's template says which of them it sees."""


def flavour_of(said: str, owner: str, url: str) -> Flavour:
    """The dialect that the job names; else the one of who owns the listed model, or of the URL's host; else OpenAI's."""
    if said in _WAYS:
        return said  # type: ignore[return-value]
    host = urlsplit(url).hostname or ""
    of_host = next((flavour for end, flavour in _HOSTS.items() if host == end or host.endswith("." + end)), None)
    return _OWNERS.get(owner) or of_host or "openai"


def ways_to_switch(model: Model, flavour: str) -> Sequence[str]:
    """The keys by which a server may be told whether to think, best first. One way where it is told nothing, or an effort, which
    has no other key.
    """
    wanted = model.reasoning
    return _WAYS[flavour] if wanted is not None and wanted.think is not None and not wanted.effort else _WAYS[flavour][:1]


def thinking_keys(model: Model, flavour: str, way: str) -> dict[str, Any]:
    """Keys of a request's body: `way` is the key that holds the switch."""
    wanted = model.reasoning or Reasoning()
    keys: dict[str, Any] = {TEMPLATE_KWARGS: dict(model.chat_template_kwargs)} if model.chat_template_kwargs else {}
    if wanted.think is not None:
        keys |= _switched(wanted, way, keys.get(TEMPLATE_KWARGS) or {})
    if wanted.effort:
        keys |= _with_effort(wanted.effort, flavour, keys)
    if wanted.budget is not None and wanted.think is not False:
        keys |= _with_budget(wanted.budget, flavour, keys)
    return keys


def added_tokens(model: Model) -> int:
    """Tokens of a thought that are added to those of the answer."""
    wanted = model.reasoning
    return wanted.budget if wanted is not None and wanted.budget is not None and wanted.think is not False else 0


def refuse_budget(model: Model, flavour: str, *, where: str) -> None:
    """Raise JobError for a budget that the server has no key for."""
    if added_tokens(model) and flavour not in ("vllm", "openrouter"):
        raise JobError(
            f"{where}.reasoning.budget: wanted a server that limits a thought (flavour vllm or openrouter), got {flavour}; leave "
            "budget out, set effort, or give sampling.max_tokens room for both"
        )


def sent_messages(messages: list[Message], flavour: str) -> list[Message]:
    """The messages as the server takes them. Servers that render a template get the thoughts of earlier turns under their key.
    Others get those of turns that called a tool alone: DeepSeek refuses such turns without them, and OpenAI any others with them.
    """
    if not any("reasoning" in message for message in messages):
        return messages
    return [_turn(message, messages[place + 1 :], flavour) for place, message in enumerate(messages)]


def _turn(message: Message, later: Sequence[Message], flavour: str) -> Message:
    turn = {name: value for name, value in message.items() if name != "reasoning"}
    thought = message.get("reasoning")
    called = bool(later) and later[0]["role"] == "tool"
    if not thought or not (flavour in _READ_BY_TEMPLATE or (flavour == "deepseek" and called)):
        return turn
    return turn | {_EARLIER_KEYS.get(flavour, "reasoning_content"): thought}


def _switched(wanted: Reasoning, way: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    if way == TEMPLATE_KWARGS:  # templates ignore the variable of another
        return {TEMPLATE_KWARGS: {**dict.fromkeys(SWITCHES, wanted.think), **variables}}
    if way == "thinking":
        return {way: {"type": "enabled" if wanted.think else "disabled"}}
    if way == "reasoning":
        return {way: {"enabled": wanted.think}}
    return {EFFORT: (wanted.effort or _DEFAULT_EFFORT) if wanted.think else "none"}


def _with_effort(effort: str, flavour: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    if flavour == "openrouter":
        return {"reasoning": {**keys.get("reasoning", {}), "effort": effort}}
    if flavour == "llamacpp":
        return {TEMPLATE_KWARGS: {**keys.get(TEMPLATE_KWARGS, {}), EFFORT: effort}}
    return {} if EFFORT in keys else {EFFORT: effort}


def _with_budget(budget: int, flavour: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    if flavour == "openrouter":
        rest = {name: value for name, value in keys.get("reasoning", {}).items() if name != "effort"}
        return {"reasoning": {**rest, "max_tokens": budget}}  # it takes one of effort and max_tokens
    return {BUDGET: budget}
