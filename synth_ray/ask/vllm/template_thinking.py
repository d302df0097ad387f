"""How a chat template lets its model think: its switch and its effort, found by rendering.

A template ignores variables that it does not know, so a switch is taken for one only where it changes the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.models import Model
from synth_ray.job.reasoning import HARMONY, SWITCHES, THINK, Reasoning
from synth_ray.records import Message

Render = Callable[[list[Message], Mapping[str, Any]], str]
"""Messages and the template's variables to text. Raises whatever the template raises."""

_USER: Message = {"role": "user", "content": "Hello"}
_EFFORT = "reasoning_effort"
_OTHER_EFFORTS = ("low", "high")
_EARLIER = "thought number 17"
_EARLIER_KEYS = ("reasoning_content", "thinking", "reasoning")
_PARSER_OF_SWITCH = {"enable_thinking": "qwen3"}
_SIMPLE_PARSER = "deepseek_r1"
_THINKS_ALWAYS = frozenset({HARMONY, "mistral", "kimi_k2", "olmo3"})
"""Parsers of models that think although nothing in their prompts says so."""


@dataclass(frozen=True, slots=True)
class TemplateThinking:
    """`variables` are for the template: the job's, the switch, the effort. `parser` is vLLM's, where it is known.

    `expects`: a thought is to be expected behind a prompt that neither opens nor closes one. `earlier_key`: the name under which
    the template reads the thoughts of earlier turns; empty where it reads none. `unasked`: it thinks, and the job does not say
    whether it should. `switch` is the variable that turns thoughts off, where there is one.
    """

    variables: Mapping[str, Any]
    parser: str = ""
    expects: bool = False
    earlier_key: str = ""
    unasked: bool = False
    switch: str = ""

    def messages(self, messages: list[Message]) -> list[Message]:
        """The messages with thoughts of earlier turns where the template reads them, and without keys that are not set."""
        return [self._turn(message) if "reasoning" in message else message for message in messages]

    def _turn(self, message: Message) -> Message:
        turn = {name: value for name, value in message.items() if name != "reasoning"}
        thought = message["reasoning"]
        return turn | {self.earlier_key: thought} if thought and self.earlier_key else turn


def template_thinking(render: Render, model: Model, *, where: str) -> TemplateThinking:
    """Raises JobError where the job wants of the template what it cannot do. `where` is the model's section."""
    wanted = model.reasoning or Reasoning()
    variables = dict(model.chat_template_kwargs)
    if wanted.effort:
        _refuse_unread_effort(render, variables, model, where)
        variables[_EFFORT] = wanted.effort
    switch = _switch(render, variables)
    by_itself = _thinks(render, variables, switch, model)
    if wanted.think is not None:
        if switch:
            variables[switch] = wanted.think
        elif not (wanted.think and by_itself):
            raise _no_switch(model, where, think=wanted.think, by_itself=by_itself)
    said = wanted.think is not None or bool(wanted.effort) or any(name in variables for name in SWITCHES)
    return TemplateThinking(
        variables,
        parser=model.reasoning_parser or _told_parser(render, variables, switch),
        expects=by_itself if wanted.think is None else wanted.think,
        earlier_key=_earlier_key(render, variables),
        unasked=by_itself and not said,
        switch=switch,
    )


def opens_thought(prompt: str, opening: str) -> bool:
    """Whether a rendered prompt ends in the opening mark of a thought."""
    return prompt.rstrip().endswith(opening)


def closes_thought(prompt: str, closing: str) -> bool:
    """Whether a rendered prompt ends behind a thought that is closed already."""
    return prompt.rstrip().endswith(closing)


def _switch(render: Render, variables: Mapping[str, Any]) -> str:
    """The variable that changes the prompt; empty where none does."""
    return next((name for name in SWITCHES if _differs(render, variables, name, True, False)), "")


def _thinks(render: Render, variables: Mapping[str, Any], switch: str, model: Model) -> bool:
    """Whether the model thinks if the switch is left as it is."""
    default = _rendered(render, variables)
    if switch:
        return default is not None and default == _rendered(render, {**variables, switch: True})
    opened = default is not None and opens_thought(default, THINK[0])
    named = bool(model.reasoning and model.reasoning.parser)
    return opened or named or model.reasoning_parser in _THINKS_ALWAYS


def _told_parser(render: Render, variables: Mapping[str, Any], switch: str) -> str:
    """The parser of a template that writes `<think>`, whichever model it belongs to."""
    tries = [{**variables}, *([{**variables, switch: on} for on in (True, False)] if switch else [])]
    if not any(THINK[0] in (_rendered(render, each) or "") for each in tries):
        return ""
    return _PARSER_OF_SWITCH.get(switch, _SIMPLE_PARSER)


def _earlier_key(render: Render, variables: Mapping[str, Any]) -> str:
    for name in _EARLIER_KEYS:
        turns = [_USER, {"role": "assistant", "content": "Good day", name: _EARLIER}]
        if _EARLIER in (_rendered(render, {**variables, "add_generation_prompt": False}, turns) or ""):
            return name
    return ""


def _refuse_unread_effort(render: Render, variables: Mapping[str, Any], model: Model, where: str) -> None:
    if not _differs(render, variables, _EFFORT, *_OTHER_EFFORTS):
        raise JobError(
            f"{where}.reasoning.effort: wanted a chat template that reads {_EFFORT}, got one in '{model.name}' that it does not "
            "change; leave effort out, or set reasoning.budget"
        )


def _no_switch(model: Model, where: str, *, think: bool, by_itself: bool) -> JobError:
    found = f"got one in '{model.name}' that neither {' nor '.join(SWITCHES)} changes"
    if by_itself:
        return JobError(
            f"{where}.reasoning.think: wanted a chat template with a switch for thoughts, {found}: the model always thinks; say "
            "think: true, and recipe.reasoning: drop to have no thoughts in the rows"
        )
    advice = "name its reasoning.parser instead, if it thinks" if think else "leave think out: nothing tells it to think"
    return JobError(f"{where}.reasoning.think: wanted a chat template with a switch for thoughts, {found}; {advice}")


def _differs(render: Render, variables: Mapping[str, Any], name: str, one: Any, other: Any) -> bool:
    texts = [_rendered(render, {**variables, name: value}) for value in (one, other)]
    return None not in texts and texts[0] != texts[1]


def _rendered(render: Render, variables: Mapping[str, Any], turns: list[Message] | None = None) -> str | None:
    try:
        return render(turns or [_USER], variables)
    except Exception:  # a template raises what it likes
        return None
