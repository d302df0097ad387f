"""Run one request's recipe to its end: every slot gets a draft or a reason, every token is counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth_ray.ask.spent import Spent
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.errors import AskFailed, EngineDied, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.job.models import Sampling, teacher_role
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.recipes.contract import Completion, Constraint, Recipe
from synth_ray.recipes.finish_reasons import fault_of_ending
from synth_ray.records import Draft, Message, Outcome, Reason, Request, digest

log = logging.getLogger(__name__)

AnswerRecorder = Callable[[Request, str, list[Completion]], None]
"""Called for every finished ask with its request, its key and its answers."""

THINKING = "<think>"
"""How the answer of a model that thinks begins, where its server does not take the thought apart."""

_THINKS = (
    f"recipe.reasoning: answers begin with {THINKING}, and rows keep the thought in their text; say reasoning: ['<think>', "
    "'</think>'] (recipe distill), or turn thinking off (models.teacher.chat_template_kwargs)"
)

NO_ANSWERS: Mapping[str, list[Completion]] = {}


def _no_recorder(_request: Request, _key: str, _answers: list[Completion]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class RoleRules:
    """Which role answers as a request's teacher (by the request's id), and what its tokens cost.

    `prices`: US dollars per million prompt and completion tokens, by role.
    """

    teacher_role_of: Callable[[str], str] = lambda _: "teacher"
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)


DEFAULT_ROLES = RoleRules()


class Asker:
    """Turns requests into outcomes. It has no state per request, so any number may run at once."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        options: Any,
        teachers: Mapping[str, Teacher],
        sampling: Sampling,
        deadline_s: float,
        roles: RoleRules = DEFAULT_ROLES,
        record: AnswerRecorder = _no_recorder,
    ) -> None:
        self._recipe = recipe
        self._options = options
        self._teachers = teachers
        self._sampling = sampling.model_dump()
        self._roles = roles
        self._deadline_s = deadline_s
        self._record = record
        self._takes_reasoning = getattr(options, "reasoning", None) is not None
        self._notes: list[str] = []

    @classmethod
    def of(cls, job: Job, teachers: Mapping[str, Teacher], record: AnswerRecorder = _no_recorder) -> Asker:
        """The asker of a job's recipe."""
        return cls(
            recipe_of(job),
            options=options_of(job.recipe),
            teachers=teachers,
            sampling=job.sampling,
            deadline_s=job.limits.request_deadline_s,
            roles=RoleRules(
                teacher_role_of=lambda request: teacher_role(job.models.teacher_index_of(request)),
                prices={role: model.usd_per_1m for role, model in job.models.by_role().items()},
            ),
            record=record,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed in the answers that the job may want to be changed for."""
        return tuple(self._notes)

    def _on_answers(self, request: Request, key: str, answers: list[Completion]) -> None:
        self._record(request, key, answers)
        if not self._notes and not self._takes_reasoning and any(answer.text.lstrip().startswith(THINKING) for answer in answers):
            self._notes.append(_THINKS)
            log.warning("%s", _THINKS)

    async def run(self, request: Request, journalled: Mapping[str, list[Completion]] = NO_ANSWERS) -> Outcome:
        """The outcome of one request. Raises only EngineDied and ServiceRefused: every other failure is recorded in the outcome.

        An ask whose key is in `journalled` was answered before an interruption and is not sent again.
        """
        role = self._roles.teacher_role_of(request.id)
        ask = _RequestAsks(request, self._teachers, role, self._sampling, journalled, self._on_answers, self._roles.prices)
        try:
            async with asyncio.timeout(self._deadline_s):
                drafts = await self._recipe.make(request, ask, self._options)
            reason, detail = Reason.RECIPE_ERROR, "the recipe made fewer drafts than it declared slots"
        except AskFailed as error:
            drafts, reason, detail = [], Reason(error.reason), error.detail
        except TimeoutError:
            drafts, reason, detail = [], Reason.DEADLINE, f"not done after {self._deadline_s:g} s"
        except (EngineDied, ServiceRefused):
            raise
        except Exception as error:
            # A recipe is user code: an exception costs this request's rows and is counted; its message may quote the row, so only
            # the type is kept.
            drafts, reason, detail = [], Reason.RECIPE_ERROR, type(error).__name__
        return ask.outcome(drafts[: request.slots], reason, detail)


class _RequestAsks:
    """The `ask` object of one request: computes keys, merges sampling options, counts tokens and cost."""

    def __init__(
        self,
        request: Request,
        teachers: Mapping[str, Teacher],
        teacher_role: str,
        sampling: dict[str, Any],
        journalled: Mapping[str, list[Completion]],
        record: AnswerRecorder,
        prices: Mapping[str, tuple[float, float]],
    ) -> None:
        self._request = request
        self._teachers = teachers
        self._teacher_role = teacher_role
        self._sampling = sampling
        self._journalled = journalled
        self._record = record
        self._prices = prices
        self._times_asked: dict[str, int] = {}
        self._spent = Spent()
        self._attempts: dict[str, int] = {}
        self._last_prompt: list[Message] = []

    async def __call__(self, messages: list[Message], **options: Any) -> Completion:
        return (await self.many(messages, 1, **options))[0]

    async def many(
        self,
        messages: list[Message],
        n: int,
        *,
        role: str = "teacher",
        constraint: Constraint | None = None,
        **sampling: Any,
    ) -> list[Completion]:
        if role == "teacher":
            self._last_prompt = messages
        key = self._key(role, messages, n, constraint, sampling)
        prompt = Prompt(messages, key, n, constraint, {**self._sampling, **sampling})
        answers = self._journalled.get(key)
        answers_for = self._teacher_role if role == "teacher" else role
        if answers is None:
            answers = await self._teachers[answers_for].answer(prompt)
            self._record(self._request, key, answers)
        self._spent.add(messages, answers, self._prices.get(answers_for, (0.0, 0.0)))
        _raise_if_none_is_usable(answers)
        return answers

    def _key(self, *parts: Any) -> str:
        """The key depends on what is asked and how often it was asked before, never on timing: asks may run side by side."""
        key = digest("ask", self._request.id, self._request.random_seed, *parts)
        times = self._times_asked[key] = self._times_asked.get(key, 0) + 1
        return key if times == 1 else digest(key, times)

    def attempt(self, reason: str) -> None:
        self._attempts[reason] = self._attempts.get(reason, 0) + 1

    def outcome(self, drafts: list[Draft], reason: Reason, detail: str) -> Outcome:
        spent, missing = self._spent, self._request.slots - len(drafts)
        for draft in drafts:
            _judge_ending(draft)
        drafts = drafts + [Draft(self._last_prompt, "", reason=reason, detail=detail) for _ in range(missing)]
        return Outcome(
            self._request,
            drafts,
            spent.prompt,
            spent.completion,
            spent.cached,
            self._attempts,
            spent.nano_usd,
            estimated_tokens=spent.estimated,
        )


def _raise_if_none_is_usable(answers: list[Completion]) -> None:
    """Raises AskFailed where every answer is without text for a reason of its own: no recipe can go on with that."""
    faults = [fault_of_ending(answer.finish_reason, answer.text) for answer in answers]
    if faults[0] is not None and not any(fault is None or answer.text for fault, answer in zip(faults, answers, strict=True)):
        raise AskFailed(*faults[0])


def _judge_ending(draft: Draft) -> None:
    """Give a draft that ended in a way that no check may pass its reason."""
    fault = fault_of_ending(draft.finish_reason, draft.completion)
    if draft.reason is None and fault is not None:
        draft.reason, draft.detail = fault
