"""Run one request's recipe to its end: every slot gets a draft or a reason, every token is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from synth_ray.ask.deadline import Deadline
from synth_ray.ask.pooled_teacher import PooledTeacher
from synth_ray.ask.request_asks import RequestAsks, RoleRules
from synth_ray.ask.teacher import Load, Teacher
from synth_ray.ask.thoughts import Marks
from synth_ray.ask.tool_calls import NO_TOOLS, AnswerRecorder, ToolUse, no_recorder
from synth_ray.ask.vllm.chat_template import local_renderer
from synth_ray.ask.vllm.parser_choice import engine_parser
from synth_ray.errors import AskFailed, EngineDied, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.job.models import Model, is_teacher, teacher_role
from synth_ray.job.sampling import Sampling
from synth_ray.job.served import SLOWEST_TOKENS_S
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.recipes.contract import Completion, Recipe
from synth_ray.recipes.making import BadDrafts, made_drafts
from synth_ray.records import Draft, Outcome, Reason, Request
from synth_ray.toolbox.programs import Program

NO_ANSWERS: Mapping[str, list[Completion]] = {}


_ASKS_OF_A_CALL = 2
"""A tool is chosen, and its arguments are asked for."""

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
        deadline: Deadline,
        roles: RoleRules = DEFAULT_ROLES,
        record: AnswerRecorder = no_recorder,
    ) -> None:
        self._recipe = recipe
        self._options = options
        self._teachers = teachers
        self._sampling = sampling.model_dump()
        self._roles = roles
        self._deadline = deadline
        self._record = record

    @classmethod
    def of(
        cls, job: Job, teachers: Mapping[str, Teacher], record: AnswerRecorder = no_recorder, tools: ToolUse = NO_TOOLS
    ) -> Asker:
        """The asker of a job's recipe."""
        recipe, options = recipe_of(job), options_of(job.recipe)
        return cls(
            recipe,
            options=options,
            teachers=teachers,
            sampling=job.sampling,
            deadline=_deadline(job, teachers),
            roles=RoleRules(
                teacher_role_of=lambda request: teacher_role(job.models.teacher_index_of(request)),
                prices={role: model.usd_per_1m for role, model in job.models.by_role().items()},
                marks=_marks(job),
                thoughts=job.recipe.reasoning or ("keep" if job.keeps_reasoning else None),
                tools=tools,
                thinks=thinking_judge(job.models.judge),
            ),
            record=record,
        )

    async def run(
        self,
        request: Request,
        journalled: Mapping[str, list[Completion]] = NO_ANSWERS,
        give_up: Callable[[Outcome], None] = lambda _: None,
    ) -> Outcome:
        """The outcome of one request. Raises only EngineDied and ServiceRefused, and CancelledError where the caller cancels it:
        whatever else a recipe does is recorded in the outcome.

        An ask whose key is in `journalled` was answered before an interruption and is not sent again. `give_up` is told the
        outcome of a request whose recipe goes on after its deadline has cancelled it; what is returned later is not to be used.
        """
        ask = RequestAsks(
            request,
            self._teachers,
            sampling=self._sampling,
            journalled=journalled,
            record=self._record,
            rules=self._roles,
            on_answered=self._deadline.observe,
        )
        try:
            return await self._outcome(request, ask, give_up)
        finally:
            ask.end()

    async def _outcome(self, request: Request, ask: RequestAsks, give_up: Callable[[Outcome], None]) -> Outcome:
        deadline = self._deadline

        def on_ignored() -> None:
            ask.end()
            give_up(ask.outcome([], Reason.DEADLINE, f"{deadline.text}, and its recipe does not end when it is cancelled"))

        drafts: list[Draft] = []
        try:
            with deadline.limit(on_ignored) as is_over:
                drafts = await made_drafts(self._recipe, request, ask, self._options)
            reason, detail = Reason.RECIPE_ERROR, "the recipe made fewer drafts than it declared slots"
        except AskFailed as error:
            reason, detail = _reason_of(error)
        except (EngineDied, ServiceRefused):
            raise
        except BaseException as error:
            # A recipe is user code: whatever it raises costs this request's rows and is counted; a message may quote the row, so
            # only the type is kept. Only a cancellation that it did not make up is the program's own.
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            reason, detail = Reason.RECIPE_ERROR, str(error) if isinstance(error, BadDrafts) else type(error).__name__
            if isinstance(error, TimeoutError) and is_over():
                reason, detail = Reason.DEADLINE, deadline.text
        return ask.outcome(drafts[: request.slots], reason, detail)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason_of(error: AskFailed) -> tuple[Reason, str]:
    """A recipe may raise it by itself, with a reason that is none."""
    try:
        return Reason(error.reason), str(error.detail)
    except ValueError:
        return Reason.RECIPE_ERROR, "AskFailed with a reason that is none"


def _deadline(job: Job, teachers: Mapping[str, Teacher]) -> Deadline:
    """As this replica's engines show it."""
    engines = {id(teacher): teacher for teacher in teachers.values()}
    is_served = any(model.engine == "endpoint" for model in job.models.by_role().values())
    pools = [teacher for teacher in engines.values() if isinstance(teacher, PooledTeacher)]
    return request_deadline(
        job,
        loads=lambda: [teacher.load() for teacher in engines.values()],
        slowest_token_s=1 / SLOWEST_TOKENS_S if is_served else 0.0,
        stood_s=lambda: sum(pool.down_s for pool in pools),
    )


def request_deadline(
    job: Job,
    *,
    loads: Callable[[], Iterable[Load]],
    slowest_token_s: float = 1 / SLOWEST_TOKENS_S,
    stood_s: Callable[[], float] = lambda: 0.0,
) -> Deadline:
    """The time of one request: the job's own, or what its answers may take at the speed of its engines. See `Deadline`."""
    recipe, options = recipe_of(job), options_of(job.recipe)
    asks = max(1, recipe.asks(options))
    calls, tools_s = _tools_of(recipe.programs(options), getattr(options, "max_steps", 1))
    return Deadline(
        job.limits.request_deadline_s or _batch_window_s(job, asks),
        tokens=(asks + _ASKS_OF_A_CALL * calls) * job.longest_answer,
        loads=loads,
        slowest_token_s=slowest_token_s,
        tools_s=tools_s,
        stood_s=stood_s,
    )


def _tools_of(programs: Sequence[Program], max_calls: int) -> tuple[int, float]:
    """The most calls of running tools in one request, and the seconds that they and the check at the end may take."""
    running = [program.seconds for program in programs if (program.function or program.command) and not program.is_check]
    ending = sum(program.seconds for program in programs if program.is_check)
    return (max_calls, max_calls * max(running) + ending) if running else (0, ending)


def _batch_window_s(job: Job, asks: int) -> float | None:
    """The time that provider's batches may take for all asks of one request, one after the other; None without any."""
    hours = [model.batch.window_hours for model in job.models.by_role().values() if model.batch is not None]
    return 3600.0 * (max(hours) * asks + 1) if hours else None


def thinking_judge(judge: Model | None) -> frozenset[str]:
    """The judge's role, where a thought may come before its verdict and has no budget of its own. An engine that has a parser of
    thoughts lets a verdict begin behind one.
    """
    if judge is None or judge.task != "generate" or (judge.reasoning is not None and judge.reasoning.budget is not None):
        return frozenset()
    unsaid = judge.engine == "vllm" and judge.reasoning is None
    thinks = judge.may_think or (unsaid and bool(engine_parser(judge, local_renderer(judge))))
    return frozenset({"judge"}) if thinks else frozenset()


def _marks(job: Job) -> dict[str, Marks]:
    """Marks around thoughts by role, where the job gives them: the recipe's own are the teachers'."""
    given = {role: model.reasoning.marks for role, model in job.models.by_role().items() if model.reasoning is not None}
    own = job.recipe.marks
    return given | ({role: own for role in job.models.by_role() if is_teacher(role)} if own is not None else {})
