"""`converse`: a dialogue of several turns with a simulated user, and tools called by their schemas.

The teacher plays both sides, as in Baize (Xu et al., 2023, arXiv 2304.01196): the assistant sees the dialogue, the simulated user
sees it as a transcript. With tools, the assistant first chooses one (or none) and then fills in its arguments, with decoding
guided by the tool's schema. The tool's result is simulated too, and the arguments of every call are validated.
"""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from synth_ray.job.section import Section, key
from synth_ray.recipes.contract import Ask, Completion, Constraint, Recipe, conversation
from synth_ray.recipes.markup import call_text
from synth_ray.recipes.templates import JinjaTemplate, render
from synth_ray.recipes.tools import Tool, arguments_of
from synth_ray.records import Draft, Message, Reason, Request

NO_TOOL = "none"
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
    choice: JinjaTemplate = key(CHOICE, "Jinja template that asks which tool is needed; sees `tools`.")
    arguments: JinjaTemplate = key(ARGUMENTS, "Jinja template that asks for a tool's arguments; sees `tool`.")
    result: JinjaTemplate = key(RESULT, "Jinja template that asks for what a tool returns; sees `tool` and `arguments`.")
    tries: int = key(2, "Times the arguments of one call are asked for before the row is rejected(bad_tool_call).", ge=1, le=8)
    keep: list[str] = key(lambda: [], "Fields of the seed that are copied to the row.")

    @field_validator("tools")
    @classmethod
    def _names_differ(cls, value: list[Tool]) -> list[Tool]:
        names = [tool.name for tool in value]
        if len({*names, NO_TOOL}) <= len(names):
            raise ValueError(f"wanted tools of different names, none of them '{NO_TOOL}', got {', '.join(names)}")
        return value


class _BadToolCall(Exception):
    """The arguments of the chosen tool never fitted its schema. The exception's argument is the tool's name."""


async def make(request: Request, ask: Ask, options: Converse) -> list[Draft]:
    kept: dict[str, Any] = {name: request.seed.fields.get(name) for name in options.keep}
    messages = conversation(options.system, render(options.opening, request).strip())
    fields = kept | {"opening": messages[-1]["content"]}
    last: Completion | None = None
    try:
        for turn in range(options.turns):
            if turn and not await _add_user_turn(request, ask, options, messages):
                break
            await _call_tool(request, ask, options, messages)
            last = await ask(list(messages))
            messages.append({"role": "assistant", "content": last.text.strip()})
            if not last.text.strip() or not last.is_whole:
                break
    except _BadToolCall as bad:
        return [Draft(messages, "", fields, reason=Reason.BAD_TOOL_CALL, detail=f"{bad} after {options.tries} tries")]
    if last is None or messages[-1]["role"] != "assistant":
        return [Draft(messages, "", fields, reason=Reason.NO_ANSWER, detail="the assistant never spoke")]
    fields |= {"turns": sum(m["role"] == "user" for m in messages)}
    if options.tools:
        fields["tools"] = [tool.function for tool in options.tools]
    counts = last.finish_reason, last.prompt_tokens, last.completion_tokens
    return [Draft(messages[:-1], messages[-1]["content"], fields, *counts)]


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


async def _call_tool(request: Request, ask: Ask, options: Converse, messages: list[Message]) -> None:
    """Append a call and its result, if the assistant chooses a tool."""
    if not options.tools:
        return
    named = {tool.name: tool for tool in options.tools}
    constraint = Constraint(choices=(*named, NO_TOOL))
    choice = await ask(
        [*messages, _hidden_turn(render(options.choice, request, tools=options.tools))], constraint=constraint, temperature=0.0
    )
    tool = named.get(choice.text.strip())
    if tool is None:
        return
    arguments = await _arguments(request, ask, options, messages, tool)
    messages.append({"role": "assistant", "content": call_text(tool.name, arguments)})
    returns = Constraint(json_schema=tool.returns) if tool.returns is not None else None
    text = render(options.result, request, tool=tool, arguments=arguments)
    result = await ask(conversation("", text), constraint=returns)
    messages.append({"role": "tool", "content": result.text.strip()})


async def _arguments(request: Request, ask: Ask, options: Converse, messages: list[Message], tool: Tool) -> dict[str, Any]:
    """Arguments that fit the tool's schema. Even with guided decoding an answer can be truncated, or break a rule that the
    grammar does not cover. Raises _BadToolCall after `tries` answers.
    """
    text = render(options.arguments, request, tool=tool)
    for _ in range(options.tries):
        answer = await ask([*messages, _hidden_turn(text)], constraint=Constraint(json_schema=tool.parameters))
        arguments = arguments_of(answer.text, tool)
        if arguments is not None:
            return arguments
        ask.attempt(Reason.BAD_TOOL_CALL)
    raise _BadToolCall(tool.name)


def _hidden_turn(text: str) -> Message:
    """A user message to the assistant that is not part of the row."""
    return {"role": "user", "content": text}


def _columns(options: Converse) -> dict[str, str]:
    columns = dict.fromkeys(options.keep, "json") | {"opening": "string", "turns": "int"}
    return columns | ({"tools": "json"} if options.tools else {})


RECIPE = Recipe(
    name="converse",
    options=Converse,
    make=make,
    asks=lambda o: o.turns * (5 if o.tools else 2) - 1,
    compares=lambda _: ("opening", "prompt", "completion"),
    generated=lambda _: ("turns",),
    templates=lambda o: {"opening": o.opening, "persona": o.persona, "user": o.user},
    columns=_columns,
)
