"""The `ask` object of one request: computes keys, merges sampling options, takes thoughts apart, counts tokens and cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from synth_ray.ask.spent import FREE, Spent
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.ask.thoughts import Marks, thought_apart
from synth_ray.ask.tool_calls import NO_TOOLS, AnswerRecorder, ToolCalls, ToolUse
from synth_ray.errors import AskFailed
from synth_ray.job.served import Prices
from synth_ray.recipes.contract import Completion, Constraint, user
from synth_ray.recipes.finish_reasons import LENGTH, fault_of_ending
from synth_ray.recipes.seed_thoughts import place_thoughts
from synth_ray.records import Draft, Message, Outcome, Reason, Request, digest
from synth_ray.toolbox.programs import Called, Face


@dataclass(frozen=True, slots=True)
class RoleRules:
    """Which role answers as a request's teacher (by the request's id), what its tokens cost, and how its thoughts are marked.

    `prices`: of tokens, by role. `marks`: around a thought in plain text, by role;
    `thoughts` is what becomes of them, and of those that seeds bring; None where rows have no place for them. `tools` runs what
    the recipe calls. `thinks`: roles whose thoughts count among the tokens of an answer, and may be longer than a short verdict.
    """

    teacher_role_of: Callable[[str], str] = lambda _: "teacher"
    prices: Mapping[str, Prices] = field(default_factory=dict)
    marks: Mapping[str, Marks] = field(default_factory=dict)
    thoughts: Literal["keep", "drop", "only"] | None = None
    tools: ToolUse = NO_TOOLS
    thinks: frozenset[str] = frozenset()


class RequestAsks:
    """See `recipes.contract.Ask`."""

    def __init__(
        self,
        request: Request,
        teachers: Mapping[str, Teacher],
        *,
        sampling: dict[str, Any],
        journalled: Mapping[str, list[Completion]],
        record: AnswerRecorder,
        rules: RoleRules,
        on_answered: Callable[[float, int], None] = lambda _seconds, _tokens: None,
    ) -> None:
        """`on_answered` is told how many seconds an ask took, and how many tokens its longest answer has."""
        self._request = request
        self._teachers = teachers
        self._teacher_role = rules.teacher_role_of(request.id)
        self._sampling = sampling
        self._journalled = journalled
        self._record = record
        self._rules = rules
        self._on_answered = on_answered
        self._times_asked: dict[str, int] = {}
        self._spent = Spent()
        self._role_tokens: dict[str, int] = {}
        self._attempts: dict[str, int] = {}
        self._last_prompt: list[Message] = []
        self._waiting: list[asyncio.Task[Any]] = []
        self._has_ended = False
        self._calls: ToolCalls | None = None

    async def __call__(self, messages: list[Message], **options: Any) -> Completion:
        return (await self.many(messages, 1, **options))[0]

    async def many(
        self,
        messages: list[Message],
        n: int,
        *,
        role: str = "teacher",
        constraint: Constraint | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **sampling: Any,
    ) -> list[Completion]:
        if role == "teacher":
            self._last_prompt = messages
        key = self._key(role, messages, n, constraint, sampling, *([list(tools)] if tools else []))
        asked = {**self._sampling, **self._with_room_to_think(role, sampling)}
        answers = await self._answers(role, Prompt(messages, key, n, constraint, asked, tools=list(tools)))
        _raise_if_none_is_usable(answers)
        return answers

    def _with_room_to_think(self, role: str, sampling: dict[str, Any]) -> dict[str, Any]:
        """A recipe's own limit is for the answer alone: a thought gets the tokens of the job's, else the answer would be cut."""
        if role not in self._rules.thinks or "max_tokens" not in sampling:
            return sampling
        return {**sampling, "max_tokens": sampling["max_tokens"] + self._sampling.get("max_tokens", 0)}

    async def score(self, messages: list[Message], answer: str, *, role: str = "teacher", top_k: int = 0) -> Completion:
        key = self._key("score", role, messages, answer, top_k)
        prompt = Prompt(messages, key, sampling={"top_k_logprobs": top_k}, kind="score", given=answer)
        return (await self._answers(role, prompt))[0]

    async def rate(self, messages: list[Message], answer: str, *, role: str = "judge") -> Mapping[str, float]:
        prompt = Prompt(messages, self._key("rate", role, messages, answer), kind="rate", given=answer)
        return (await self._answers(role, prompt))[0].scores or {}

    async def embed(self, text: str, *, role: str = "judge") -> list[float]:
        messages: list[Message] = [{"role": "user", "content": text}]
        return (await self._answers(role, Prompt(messages, self._key("embed", role, text), kind="embed")))[0].vector or []

    async def instruct(self, messages: list[Message], *, role: str = "teacher", **sampling: Any) -> Completion:
        key = self._key("instruct", role, messages, sampling)
        answers = await self._answers(role, Prompt(messages, key, sampling={**self._sampling, **sampling}, kind="instruct"))
        _raise_if_none_is_usable(answers)
        return answers[0]

    @property
    def tools(self) -> Mapping[str, Face]:
        return self._rules.tools.faces

    async def call(self, name: str, arguments: dict[str, Any], *, state: Any = None) -> Called:
        if self._calls is None:
            self._calls = ToolCalls(self._request, self._rules.tools, journalled=self._journalled, record=self._record)
        return await self._calls.call(name, arguments, state)

    async def _answers(self, role: str, prompt: Prompt) -> list[Completion]:
        """The answers to one prompt, from the journal or from the role's engine."""
        answered_by = self._teacher_role if role == "teacher" else role
        if self._has_ended:
            raise AskFailed(Reason.RECIPE_ERROR, "asked after its request had ended")
        answers = self._journalled.get(prompt.key)
        if answers is None:
            marks, began = self._rules.marks.get(answered_by), time.monotonic()
            answers = [thought_apart(answer, marks) for answer in await self._asked(answered_by, prompt)]
            self._on_answered(time.monotonic() - began, max(answer.completion_tokens or 0 for answer in answers))
            self._record(self._request, prompt.key, answers)
        asked = [*prompt.messages, user(prompt.given)] if prompt.given else prompt.messages
        before = self._spent.prompt, self._spent.completion
        self._spent.add(asked, answers, self._rules.prices.get(answered_by, FREE))
        if role != "teacher":
            spent = {"prompt": self._spent.prompt - before[0], "completion": self._spent.completion - before[1]}
            for name, tokens in ((f"{role}_{kind}", tokens) for kind, tokens in spent.items() if tokens):
                self._role_tokens[name] = self._role_tokens.get(name, 0) + tokens
        return answers

    async def _asked(self, role: str, prompt: Prompt) -> list[Completion]:
        task = asyncio.current_task()
        if task is None:
            return await self._teachers[role].answer(prompt)
        self._waiting.append(task)
        try:
            return await self._teachers[role].answer(prompt)
        finally:
            self._waiting.remove(task)

    def end(self) -> None:
        """The request has ended: cancel what tasks of its recipe still ask, and let them ask no more."""
        self._has_ended = True
        for task in self._waiting:
            if task is not asyncio.current_task():
                task.cancel()

    def _key(self, *parts: Any) -> str:
        """The key depends on what is asked and how often it was asked before, never on timing: asks may run side by side."""
        key = digest("ask", self._request.id, self._request.random_seed, *parts)
        times = self._times_asked[key] = self._times_asked.get(key, 0) + 1
        return key if times == 1 else digest(key, times)

    def attempt(self, reason: str) -> None:
        self._attempts[reason] = self._attempts.get(reason, 0) + 1

    def _lasting(self, reason: Reason | None, detail: str) -> tuple[Reason | None, str]:
        """A request that called a tool with effects must not be asked again as if nothing had happened."""
        if self._calls is not None and self._calls.had_effects and reason in _ASKED_AGAIN:
            return Reason.TOOL_INTERRUPTED, f"{reason} after a call with effects"
        return reason, detail

    def outcome(self, drafts: list[Draft], reason: Reason, detail: str) -> Outcome:
        spent, missing = self._spent, self._request.slots - len(drafts)
        for draft in drafts:
            _judge_ending(draft)
            if self._rules.thoughts is not None:
                place_thoughts(draft, self._request.seed.fields)
                _apply_policy(draft, self._rules.thoughts)
            draft.reason, draft.detail = self._lasting(draft.reason, draft.detail)
        lasting, detail = self._lasting(reason, detail)
        drafts = drafts + [Draft(self._last_prompt, "", reason=lasting, detail=detail) for _ in range(missing)]
        return Outcome(
            self._request,
            drafts,
            spent.prompt,
            spent.completion,
            spent.cached,
            self._attempts,
            spent.nano_usd,
            estimated_tokens=spent.estimated,
            reasoning_tokens=spent.reasoning,
            role_tokens=self._role_tokens,
        )


_ASKED_AGAIN = (Reason.DEADLINE, Reason.ENGINE_ERROR)
"""Reasons of rows that `--retry-failed` asks again."""


def _raise_if_none_is_usable(answers: list[Completion]) -> None:
    """Raises AskFailed where every answer is without text for a reason of its own: no recipe can go on with that."""
    first = fault_of_ending(answers[0].finish_reason, answers[0].text)
    if first is not None and not any(answer.text or not fault_of_ending(answer.finish_reason, "") for answer in answers):
        raise AskFailed(*first)


def _judge_ending(draft: Draft) -> None:
    """Give a draft that ended in a way that no check may pass its reason."""
    fault = fault_of_ending(draft.finish_reason, draft.completion)
    if draft.reason is None and fault is not None:
        draft.reason, draft.detail = fault


def _apply_policy(draft: Draft, thoughts: str) -> None:
    """Drop the thoughts of a row, or make the last one its completion. One without an answer is cut, whatever becomes of it."""
    if thoughts == "keep":
        return
    if draft.reason is None and draft.finish_reason == LENGTH and draft.reasoning.strip() and not draft.completion.strip():
        draft.reason, draft.detail = Reason.TRUNCATED_THOUGHT, ""
    draft.prompt = [{name: text for name, text in turn.items() if name != "reasoning"} for turn in draft.prompt]
    rejected = draft.fields.pop("rejected_reasoning", None)
    if thoughts == "only":
        draft.fields |= {"rejected": rejected} if rejected else {}
        if draft.reason is None and not draft.reasoning.strip():
            draft.reason, draft.detail = Reason.NO_THOUGHT, "recipe.reasoning: only"
        draft.completion = draft.reasoning
        draft.completion_tokens, draft.reasoning_tokens = draft.reasoning_tokens or draft.completion_tokens, None
    if draft.reasoning and not draft.copied:
        draft.logprobs = draft.top_k = None  # they are of the thought and the answer, and would show what was left out
    draft.reasoning = ""
