"""The tool calls of a dialogue: chosen and filled in by guided decoding, or written by the model itself; run, or invented.

Law: every call in the row fits its tool's schema and is followed by its result, in order. An error of a tool is a result, which
the assistant sees; what a tool leaves in the state is what the next call finds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synth_ray.errors import AskFailed
from synth_ray.recipes.contract import Ask, Completion, Constraint, conversation
from synth_ray.recipes.markup import call_text, split_calls
from synth_ray.recipes.templates import render
from synth_ray.recipes.tools import Callee, arguments_of, callees, fits
from synth_ray.records import Message, Reason, Request
from synth_ray.toolbox.programs import Program

if TYPE_CHECKING:
    from synth_ray.recipes.converse import Converse

NO_TOOL = "none"
END_STATE = "(end state)"
"""The name under which the function of `end_state` is called: no tool can have it."""

_Call = tuple[Callee, dict[str, Any]]


class Ended(Exception):
    """The dialogue can go no further: its row is rejected."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def programs_of(options: Converse) -> list[Program]:
    """Everything that a dialogue runs. The tools' numbers are those of the job's list."""
    ending = (
        Program(END_STATE, options.end_state, seconds=options.end_state_seconds, is_check=True) if options.end_state else None
    )
    return [tool.program for tool in options.tools] + ([ending] if ending is not None else [])


def assistant_turn(text: str, answer: Completion) -> Message:
    return {"role": "assistant", "content": text} | ({"reasoning": answer.reasoning} if answer.reasoning else {})


class ToolTurns:
    """The assistant's side of one dialogue. It appends calls and results to `messages`, and keeps the state."""

    def __init__(self, request: Request, ask: Ask, options: Converse, messages: list[Message]) -> None:
        self._request, self._ask, self._options, self._messages = request, ask, options, messages
        self._callees = callees(options.tools, ask.tools if options.tools else {})
        self._last: tuple[str, dict[str, Any], str] | None = None
        self.state = _initial_state(request, options)
        self.steps = 0

    @property
    def functions(self) -> list[dict[str, Any]]:
        return [callee.function for callee in self._callees.values()]

    async def answer(self) -> Completion:
        """The assistant's answer to the last message, after the calls that it needs. Raises Ended."""
        self._last = None
        if self._options.call == "native":
            return await self._answer_natively()
        while self._callees and (callee := await self._choose()) is not None:
            arguments = await self._fill_in(callee)
            self._messages.append({"role": "assistant", "content": call_text(callee.name, arguments)})
            await self._run(callee, arguments)
            if not callee.runs:
                break
        return await self._ask(list(self._messages))

    # Guided: a choice, then arguments.

    async def _choose(self) -> Callee | None:
        constraint = Constraint(choices=(*self._callees, NO_TOOL))
        text = render(self._options.choice, self._request, tools=list(self._callees.values()))
        choice = await self._ask([*self._messages, _hidden_turn(text)], constraint=constraint, temperature=0.0)
        return self._callees.get(choice.text.strip())

    async def _fill_in(self, callee: Callee) -> dict[str, Any]:
        """Arguments that fit the tool's schema. Even with guided decoding an answer can be truncated, or break a rule that the
        grammar does not cover. Raises Ended after `tries` answers.
        """
        text = render(self._options.arguments, self._request, tool=callee)
        for _ in range(self._options.tries):
            answer = await self._ask([*self._messages, _hidden_turn(text)], constraint=Constraint(json_schema=callee.parameters))
            arguments = arguments_of(answer.text, callee)
            if arguments is not None:
                return arguments
            self._ask.attempt(Reason.BAD_TOOL_CALL)
        raise Ended(Reason.BAD_TOOL_CALL, f"{callee.name} after {self._options.tries} tries")

    # Native: the model writes its calls itself.

    async def _answer_natively(self) -> Completion:
        while True:
            answer, said, calls = await self._native_answer()
            if not calls:
                return answer
            texts = [said, *(call_text(callee.name, arguments) for callee, arguments in calls)]
            self._messages.append(assistant_turn("\n".join(text for text in texts if text), answer))
            for callee, arguments in calls:
                await self._run(callee, arguments)

    async def _native_answer(self) -> tuple[Completion, str, Sequence[_Call]]:
        """An answer, the text before its calls, and the calls. Raises Ended after `tries` answers whose calls do not fit."""
        for _ in range(self._options.tries):
            answer = await self._ask(list(self._messages), tools=self.functions)
            read = self._read_calls(answer.text) if answer.is_whole else ("", [])
            if read is not None:
                return answer, *read
            self._ask.attempt(Reason.BAD_TOOL_CALL)
        raise Ended(Reason.BAD_TOOL_CALL, f"no call that fits after {self._options.tries} tries")

    def _read_calls(self, text: str) -> tuple[str, Sequence[_Call]] | None:
        """None where a call is malformed, fits no tool, or has text behind it."""
        try:
            texts, bodies = split_calls(text)
        except ValueError:
            return None
        calls = [json.loads(body) for body in bodies]
        found = [(self._callees.get(call["name"]), call["arguments"]) for call in calls]
        fitting = [(callee, arguments) for callee, arguments in found if callee is not None and fits(arguments, callee)]
        if len(fitting) < len(calls) or (calls and "".join(texts[1:]).strip()):
            return None
        return texts[0].strip(), fitting

    # Running.

    async def _run(self, callee: Callee, arguments: dict[str, Any]) -> None:
        """Append the call's result. Raises Ended after too many calls, and where a call and its result repeat the last one."""
        self.steps += 1
        if self.steps > self._options.max_steps:
            raise Ended(Reason.OUT_OF_STEPS, f"more than {self._options.max_steps} calls")
        if callee.runs:
            called = await self._ask.call(callee.name, arguments, state=self.state)
            self.state, text = called.state, called.text
        else:
            text = await self._invented(callee, arguments)
        before, self._last = self._last, (callee.name, arguments, text)
        if before == self._last:
            raise Ended(Reason.STUCK, callee.name)
        self._messages.append({"role": "tool", "content": text})

    async def _invented(self, callee: Callee, arguments: dict[str, Any]) -> str:
        returns = Constraint(json_schema=callee.returns) if callee.returns is not None else None
        text = render(self._options.result, self._request, tool=callee, arguments=arguments)
        return (await self._ask(conversation("", text), constraint=returns)).text.strip()

    # The end.

    async def ending(self) -> tuple[float, str]:
        """(reward, why it is not full) of the state at the end, by the job's function. Raises AskFailed where that gives none."""
        seed = json.loads(json.dumps(self._request.seed.fields, default=str))
        called = await self._ask.call(END_STATE, {"state": self.state, "seed": seed})
        if called.is_error:
            raise AskFailed(Reason.TOOL_FAILED, f"end_state: raised {called.text.split(':')[0][:60]}")
        try:
            value = json.loads(called.text)
        except ValueError:
            return 0.0, called.text
        if not isinstance(value, (bool, int, float)):
            raise AskFailed(
                Reason.TOOL_FAILED, f"end_state: wanted a truth value, a number or a reason, got {type(value).__name__}"
            )
        if not math.isfinite(value):
            raise AskFailed(Reason.TOOL_FAILED, "end_state: wanted a finite number, got another")
        return float(value), ""


def _initial_state(request: Request, options: Converse) -> Any:
    if not options.state:
        return {}
    try:
        return json.loads(render(options.state, request))
    except ValueError:
        raise Ended(Reason.WRONG_TYPE, "recipe.state: wanted JSON, got other text") from None


def _hidden_turn(text: str) -> Message:
    """A user message to the assistant that is not part of the row."""
    return {"role": "user", "content": text}
