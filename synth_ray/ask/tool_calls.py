"""The calls of tools that one request makes: numbered, journalled before and after, never made twice unless the tool allows it.

Law: a call with effects begins only after the journal holds that it begins, and all that was asked before it. A resumed request
replays the results it finds; a call that began and has no result, or another call at the same number, fails the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from synth_ray.errors import AskFailed, JobError, StorageError
from synth_ray.recipes.contract import Completion, Recipe
from synth_ray.recipes.json_schema import require_schema
from synth_ray.records import Reason, Request, digest
from synth_ray.toolbox.programs import Called, Face
from synth_ray.toolbox.toolbox import Toolbox

AnswerRecorder = Callable[[Request, str, list[Completion]], None]
"""Called for every finished ask or call with its request, its key and its answers."""

_BEGUN, _ENDED = "begun", "ended"


def no_recorder(_request: Request, _key: str, _answers: list[Completion]) -> None:
    """Records nothing."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What runs a worker's tools. `record_now` returns once the record is stored, and raises StorageError where it is not."""

    toolbox: Toolbox | None = None
    record_now: AnswerRecorder = no_recorder

    @property
    def faces(self) -> Mapping[str, Face]:
        return self.toolbox.faces if self.toolbox is not None else {}

    def close(self) -> None:
        if self.toolbox is not None:
            self.toolbox.close()


NO_TOOLS = ToolUse()


class ToolCalls:
    """See `recipes.contract.Ask.call`. `had_effects`: a call that must not be repeated was made, or may have been."""

    def __init__(
        self, request: Request, use: ToolUse, *, journalled: Mapping[str, list[Completion]], record: AnswerRecorder
    ) -> None:
        self._request = request
        self._use = use
        self._journalled = journalled
        self._record = record
        self._number = 0
        self.had_effects = False

    async def call(self, name: str, arguments: dict[str, Any], state: Any) -> Called:
        """Raises AskFailed where there is no result: the tool hung or died, or an earlier run may have made the call."""
        if self._use.toolbox is None:
            raise AskFailed(Reason.TOOL_FAILED, f"{name}: no tools run here")
        self._number += 1
        key = f"call/{self._number}/{digest(self._request.id, name, arguments)}"
        found = self._journalled.get(key)
        self.had_effects |= not self._use.faces[name].may_repeat
        called = _read(found[0].text) if found else await self._called(self._use.toolbox, key, name, arguments, state)
        if called.failure:
            raise AskFailed(Reason.TOOL_FAILED, f"{name}: {called.failure}")
        return called

    async def _called(self, toolbox: Toolbox, key: str, name: str, arguments: dict[str, Any], state: Any) -> Called:
        if toolbox.faces[name].may_repeat:
            called = await toolbox.call(name, arguments, state)
            self._record(self._request, key, [_ended(called)])
            return called
        self._refuse_unknown(name)
        try:
            called = await toolbox.call(name, arguments, state, begin=partial(self._begin, key))
        except StorageError:
            raise AskFailed(Reason.TOOL_FAILED, f"{name}: not called, for the journal could not be written") from None
        await self._note(key, called)
        return called

    def _begin(self, key: str) -> None:
        self._use.record_now(self._request, f"{key}/{_BEGUN}", [Completion("", _BEGUN, None, None)])

    def _refuse_unknown(self, name: str) -> None:
        """Raise AskFailed where an earlier run began a call of this number and no result of this very call is known."""
        begun = f"call/{self._number}/"
        if any(key.startswith(begun) and key.endswith(_BEGUN) for key in self._journalled):
            detail = f"{name}: call {self._number} of an interrupted run may have been made; it is not repeated"
            raise AskFailed(Reason.TOOL_INTERRUPTED, detail)

    async def _note(self, key: str, called: Called) -> None:
        try:
            await asyncio.to_thread(self._use.record_now, self._request, key, [_ended(called)])
        except StorageError:  # the call was made: the next flush tries again, as for every ask
            self._record(self._request, key, [_ended(called)])


def _ended(called: Called) -> Completion:
    return Completion(json.dumps([called.text, called.is_error, called.state, called.failure]), _ENDED, None, None)


def _read(text: str) -> Called:
    return Called(*json.loads(text))


def open_tools(recipe: Recipe, options: Any, record_now: AnswerRecorder | None) -> ToolUse:
    """The tools that a recipe runs, opened; `record_now` is None where nothing is journalled.

    Raises JobError for a tool that cannot be run as the job declares it, and for one with effects where there is no journal.
    """
    programs = list(recipe.programs(options))
    if not any(program.function or program.command for program in programs):
        return NO_TOOLS
    toolbox = Toolbox(programs)
    toolbox.open()
    try:
        _refuse_bad_schemas(toolbox.faces)
        effects = [face.name for face in toolbox.faces.values() if not face.may_repeat]
        if effects and record_now is None:
            raise JobError(
                f"recipe.tools: wanted a journal, without which a call of '{effects[0]}' might be made twice, got none; raise "
                "limits.journal_flush_s, or say `idempotent: true` of tools that may be called again"
            )
    except JobError:
        toolbox.close()
        raise
    return ToolUse(toolbox, record_now or no_recorder)


def _refuse_bad_schemas(faces: Mapping[str, Face]) -> None:
    for face in faces.values():
        try:
            require_schema(face.parameters)
        except ValueError as error:
            raise JobError(f"recipe.tools: the parameters of tool '{face.name}': {error}") from None
