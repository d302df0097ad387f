"""`converse`: a dialogue of several turns with a simulated user, and tools that are called by their schemas.

The teacher plays both sides, as in Baize (Xu et al., 2023, arXiv 2304.01196): the assistant sees the dialogue, the simulated user
sees it as a transcript. A tool is a Python function or an MCP server's and runs, on a state that a function checks at the end; of
one that is only declared, the teacher invents the result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import field_validator, model_validator

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Completion, Recipe, conversation, drafted
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.recipes.tool_turns import NO_TOOL, Ended, ToolTurns, assistant_turn, programs_of
from synth_ray.recipes.tools import Tool
from synth_ray.records import Draft, Message, Reason, Request

USER = """You play the user of an assistant{% if persona %}: {{ persona }}{% endif %}. Here is the conversation so far.

{{ transcript }}

Write the user's next message, and nothing else. Write {{ stop }} alone when the user has what they came for."""
CHOICE = """Which tool does the last message need? Reply with its name, or none.
{% for tool in tools %}- {{ tool.name }}: {{ tool.description }}
{% endfor %}"""
ARGUMENTS = "Reply with the arguments of the tool {{ tool.name }}, as JSON of this schema: {{ tool.parameters | tojson }}"
RESULT = """The tool {{ tool.name }} ({{ tool.description }}) was called with {{ arguments | tojson }}.
Invent what it returns, in short. Reply with the result alone."""


class Converse(Section):
    """Options of `converse`."""

    turns: int = key(3, "Most user turns, the first included.", ge=1, le=32)
    opening: JinjaTemplate = key("{{ prompt }}", "Jinja template of the user's first message; sees the seed's fields.")
    system: str = key("", "System message of the assistant; it stays in the row.")
    persona: JinjaTemplate = key("", "Jinja template of who the user is; sees the seed's fields.")
    user: JinjaTemplate = key(
        USER, "Jinja template that asks for the user's next message; sees `transcript`, `persona` and `stop`."
    )
    stop: str = key("[END]", "What the simulated user writes to end the conversation.", min_length=1)
    tools: list[Tool] = key(lambda: [], "Tools the assistant may call.")
    call: Literal["guided", "native"] = key(
        "guided",
        "How tools are called: by a choice and then arguments, both guided (guided), or as the model itself writes calls, shown "
        "the tools by its chat template or its server (native).",
    )
    max_steps: int = key(32, "Most calls of one conversation; beyond them the row is rejected(out_of_steps).", ge=1, le=1000)
    state: JinjaTemplate = key(
        "", "Jinja template, of JSON, of the state that the tools of a conversation share: `{{ orders | tojson }}`."
    )
    end_state: str = key(
        "",
        "A function, as `package.module:function`, called with `state` and `seed` at the end. It returns a truth value, a reward "
        "or in words what is wrong.",
        pattern=r"^([A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)?$",
    )
    end_state_seconds: float = key(10.0, "Longest time of that function.", gt=0, le=3600)
    min_reward: float = key(1.0, "Rows whose end state earns less are rejected(wrong_end_state); true is 1, and 0 keeps all.")
    choice: JinjaTemplate = key(CHOICE, "Jinja template that asks which tool is needed; sees `tools`.")
    arguments: JinjaTemplate = key(ARGUMENTS, "Jinja template that asks for a tool's arguments; sees `tool`.")
    result: JinjaTemplate = key(RESULT, "Jinja template that asks for what a tool returns; sees `tool` and `arguments`.")
    tries: int = key(2, "Times the arguments of one call are asked for before the row is rejected(bad_tool_call).", ge=1, le=8)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @field_validator("tools")
    @classmethod
    def _names_differ(cls, value: list[Tool]) -> list[Tool]:
        names = [tool.name or tool.function.rpartition(":")[2] for tool in value if tool.mcp is None]
        if len({*names, NO_TOOL}) <= len(names):
            raise ValueError(f"wanted tools of different names, none of them '{NO_TOOL}', got {', '.join(names)}")
        return value

    @model_validator(mode="after")
    def _state_is_used(self) -> Converse:
        if (self.state or self.end_state) and not any(tool.runs for tool in self.tools):
            raise ValueError("wanted a tool that runs with `state` or `end_state`, got none; give a tool's `function` or `mcp`")
        return self


async def make(request: Request, ask: Ask, options: Converse) -> list[Draft]:
    kept: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    messages = conversation(options.system, render(options.opening, request).strip())
    fields = kept | {"opening": messages[-1]["content"]}
    last: Completion | None = None
    try:
        turns = ToolTurns(request, ask, options, messages)
        for turn in range(options.turns):
            if turn and not await _add_user_turn(request, ask, options, messages):
                break
            last = await turns.answer()
            messages.append(assistant_turn(last.text.strip(), last))
            if not last.text.strip() or not last.is_whole:
                break
    except Ended as end:
        return [Draft(messages, "", fields, reason=end.reason, detail=end.detail)]
    if last is None or messages[-1]["role"] != "assistant":
        return [Draft(messages, "", fields, reason=Reason.NO_ANSWER, detail="the assistant never spoke")]
    fields |= {"turns": sum(m["role"] == "user" for m in messages)}
    if options.tools:
        fields["tools"] = turns.functions
    return [await _judged(_draft(messages, last, fields), turns, options)]


def _draft(messages: list[Message], last: Completion, fields: dict[str, Any]) -> Draft:
    return replace(drafted(messages[:-1], last, fields=fields), completion=messages[-1]["content"])


async def _judged(draft: Draft, turns: ToolTurns, options: Converse) -> Draft:
    """The draft with what its tools did, rejected where that is not what the seed asks for."""
    if any(tool.runs for tool in options.tools):
        draft.fields["steps"] = turns.steps
    if options.state:
        draft.fields["end_state"] = turns.state
    if options.end_state:
        reward, why = await turns.ending()
        draft.fields |= {"reward": reward} | ({"end_state_reason": why} if why else {})
        if reward < options.min_reward:
            draft.reason, draft.detail = Reason.WRONG_END_STATE, f"reward {reward:g}"
    return draft


async def _add_user_turn(request: Request, ask: Ask, options: Converse, messages: list[Message]) -> bool:
    """Append the simulated user's next message. False, with nothing appended, if the user has ended the conversation."""
    transcript = "\n".join(f"{m['role']}: {m['content']}" for m in messages if m["role"] != "system")
    persona = render(options.persona, request)
    text = render(options.user, request, transcript=transcript, persona=persona, stop=options.stop)
    message = (await ask(conversation("", text))).text.strip().removeprefix("user:").strip()
    if not message or options.stop in message:
        return False
    messages.append({"role": "user", "content": message})
    return True


def _columns(options: Converse) -> dict[str, str]:
    columns = dict.fromkeys(options.keep, "json") | {"opening": "string", "turns": "int"}
    columns |= {"tools": "json"} if options.tools else {}
    columns |= {"steps": "int"} if any(tool.runs for tool in options.tools) else {}
    columns |= {"end_state": "json"} if options.state else {}
    return columns | ({"reward": "float", "end_state_reason": "string"} if options.end_state else {})


RECIPE = Recipe(
    name="converse",
    options=Converse,
    make=make,
    asks=lambda o: o.turns * ((5 if o.call == "guided" else 3) if o.tools else 2) - 1,
    compares=lambda _: ("opening", "prompt", "completion"),
    generated=lambda _: ("turns",),
    templates=lambda o: {"opening": o.opening, "persona": o.persona, "user": o.user, "state": o.state},
    columns=_columns,
    programs=programs_of,
)
