"""Asks a target about every case, several at once, and grades the answers. An interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.journal import Journal
from synth_ray.ask.journal_sweeper import delete_segments
from synth_ray.ask.request_asks import RoleRules
from synth_ray.ask.segments import Answers, read_journal
from synth_ray.ask.teacher import Teacher
from synth_ray.errors import AskFailed, StorageError
from synth_ray.evaluate.cases import Case
from synth_ray.evaluate.target import RETRIES, Target
from synth_ray.evaluate.verdicts import Graded, Grader, Verdict
from synth_ray.job.cores import usable_cores
from synth_ray.job.judge import Judging
from synth_ray.job.sampling import Sampling
from synth_ray.recipes.contract import Ask, Completion, Recipe, conversation
from synth_ray.recipes.finish_reasons import fault_of_ending
from synth_ray.records import FAILED, Draft, Outcome, Request, Seed, canonical_json, digest
from synth_ray.storage import Storage
from synth_ray.verify.sandbox import Sandbox

log = logging.getLogger(__name__)

_CHUNK = 0
"""All cases are one chunk of the journal: it is kept until the results are written."""
_FLUSH_S = 0.5
_BEGUN = "_synth/eval.json"
"""Written first, so that a place where nothing can be written is found before anything is asked."""

Watch = Callable[[int, int], None]
"""Called with the number of cases that ended, and of all."""


DEFAULT_RUBRIC = Judging(criteria={"correct": "free of errors, and does what was asked"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How the cases are asked. `system` is put before a case without a system message of its own. `timeout_s` is for one try."""

    system: str = ""
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, max_tokens=1024))
    in_flight: int = 16
    timeout_s: float = 120.0
    verify: str = ""
    rubric: Judging = DEFAULT_RUBRIC


@dataclass(frozen=True, slots=True)
class Result:
    """How one case ended. `answer` is None where there is none; then the verdict is failed, and `reason` says why."""

    case: Case
    graded: Graded
    answer: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results in the order of their ids. `tokens` are prompt and completion tokens of target and judge, as their servers
    counted them or, where they did not, by length. `continued`: cases that an earlier, interrupted evaluation had answered.
    """

    results: list[Result]
    tokens: Mapping[str, int]
    continued: int


def evaluate(
    cases: Sequence[Case],
    target: Target,
    settings: Settings,
    store: Storage,
    *,
    judge: Target | None = None,
    watch: Watch = lambda _done, _all: None,
) -> Evaluation:
    """Ask and grade every case. The journal in `store` keeps what was answered until `forget_answers`.

    Raises StorageError where the store takes nothing, and MissingResource where a target is not there, before anything is asked;
    EngineDied and ServiceRefused where a target is gone: the same evaluation goes on from there.
    """
    grader = Grader(verify=settings.verify, judge=settings.rubric if judge else None, sandbox=_sandbox(cases, settings))
    store.write(_BEGUN, canonical_json({"target": target.name, "cases": len(cases)}))
    teachers = _opened(target, judge)
    journalled = read_journal(store, _CHUNK)
    journal = Journal(store, flush_s=_FLUSH_S, on_error=_log_error)
    asked = _Asked(cases, grader, settings)
    identity = digest("evaluate", target.identity, judge.identity if judge else None, settings.sampling.model_dump())
    requests = [_request(case, position, identity) for position, case in enumerate(cases)]
    journal.open()
    with closing(journal):
        outcomes = asyncio.run(asked.outcomes(requests, teachers, journalled, journal, watch))
    results = sorted((_result(case, outcomes[case.id]) for case in cases), key=lambda result: result.case.id)
    return Evaluation(results, _tokens(outcomes.values()), sum(request.id in journalled for request in requests))


def forget_answers(store: Storage) -> None:
    """Remove the journal: the evaluation has ended, or is to begin afresh."""
    delete_segments(store, _CHUNK)
    store.delete(_BEGUN)


def _sandbox(cases: Sequence[Case], settings: Settings) -> Sandbox | None:
    """A sandbox that works, where any case needs one. Raises MissingResource where this host cannot isolate a program."""
    plain = Grader(verify=settings.verify)
    if not any(case.tests and plain.verifier_of(case) == "code" for case in cases):
        return None
    sandbox = Sandbox()
    sandbox.probe()
    return sandbox


def _opened(target: Target, judge: Target | None) -> dict[str, Teacher]:
    teachers = {"teacher": target.teacher} | ({"judge": judge.teacher} if judge is not None else {})
    for teacher in teachers.values():
        teacher.open()
    return teachers


def _request(case: Case, position: int, identity: str) -> Request:
    """A request whose id, and with it the keys of its asks, changes with the case and with what answers it."""
    seed = Seed(case.id, "", "", {})
    return Request(digest("evaluate", identity, case.id, case.digest), _CHUNK, position, seed, slots=1)


class _Asked:
    """The recipe that asks about a case and grades the answer."""

    def __init__(self, cases: Sequence[Case], grader: Grader, settings: Settings) -> None:
        self._cases = {case.id: case for case in cases}
        self._grader = grader
        self._settings = settings
        self._checks = asyncio.Semaphore(usable_cores())

    async def outcomes(
        self,
        requests: Sequence[Request],
        teachers: Mapping[str, Teacher],
        journalled: Mapping[str, Answers],
        journal: Journal,
        watch: Watch,
    ) -> dict[str, Outcome]:
        """The outcome of every request, by case. The first that finds a teacher gone ends all."""
        settings, ended, waiting = self._settings, dict[str, Outcome](), iter(requests)
        asker = Asker(
            Recipe(name="evaluate", options=Judging, make=self._make),
            options=None,
            teachers=teachers,
            sampling=settings.sampling,
            deadline=Deadline(
                2 * (RETRIES + 2) * (settings.timeout_s + 30.0), tokens=1
            ),  # of both asks with all their retries: a safeguard
            roles=RoleRules(thinks=frozenset({"judge"})),  # a server does not say whether its model thinks
            record=journal.record,
        )

        async def work() -> None:
            for request in waiting:
                ended[request.seed.id] = await asker.run(request, journalled.get(request.id, {}))
                watch(len(ended), len(requests))

        workers = [asyncio.ensure_future(work()) for _ in range(min(settings.in_flight, len(requests)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return ended

    async def _make(self, request: Request, ask: Ask, _options: object) -> list[Draft]:
        case = self._cases[request.seed.id]
        messages = case.messages
        if self._settings.system and messages[0]["role"] != "system":
            messages = [*conversation(self._settings.system, "")[:1], *messages]
        answer = await ask(messages)
        _refuse_fault(answer)
        text = answer.text
        graded = await self._graded(case, text, ask)
        if graded.verdict is not Verdict.PASSED and not answer.is_whole:
            graded = replace(graded, detail=f"{graded.detail}; the answer was cut off ({answer.finish_reason})")
        return [Draft(messages, text, {"graded": graded})]

    async def _graded(self, case: Case, text: str, ask: Ask) -> Graded:
        if self._grader.verifier_of(case) != "code":
            return await self._grader.grade(case, text, ask)
        async with self._checks:  # more programs than cores would run out of their time
            graded = await asyncio.to_thread(self._grader.check, case, text)
        return graded if graded.verdict is not Verdict.UNDECIDED else await self._grader.grade(case, text, ask)


def _refuse_fault(answer: Completion) -> None:
    """Raise AskFailed for an answer that a fault of the server cut. One that is refused or filtered is graded like any other."""
    fault = fault_of_ending(answer.finish_reason, answer.text)
    if fault is not None and fault[0] in FAILED:
        raise AskFailed(*fault)


def _result(case: Case, outcome: Outcome) -> Result:
    draft = outcome.drafts[0]
    if "graded" in draft.fields:
        return Result(case, draft.fields["graded"], draft.completion)
    reason = draft.reason.value if draft.reason is not None else ""
    return Result(case, Graded(Verdict.FAILED, "", draft.detail), None, reason)


def _tokens(outcomes: Iterable[Outcome]) -> dict[str, int]:
    counted = list(outcomes)
    return {"prompt": sum(o.prompt_tokens for o in counted), "completion": sum(o.completion_tokens for o in counted)}


def _log_error(error: StorageError) -> None:
    log.warning("the answers so far could not be written, the next try follows: %s", error)
