"""`synth-ray preview`: the first rendered prompts and a few answers, to look at before a run."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from synth_ray.ask.asker import Asker
from synth_ray.ask.engines import open_engines, unique_engines
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.cli.job import job_of
from synth_ray.job.document import Job
from synth_ray.prepare.preparation import prepare
from synth_ray.records import Draft, Outcome, Request
from synth_ray.scrub.scrubber import open_scrubber


class RecordingTeacher:
    """A teacher that records the first prompt of each ask, then passes it on."""

    def __init__(self, inner: Teacher) -> None:
        self._inner = inner
        self.first: dict[str, Prompt] = {}

    async def answer(self, prompt: Prompt) -> list[object]:
        self.first.setdefault(prompt.key, prompt)
        return list(await self._inner.answer(prompt))


def main(arguments: argparse.Namespace) -> int:
    job = job_of(arguments)
    with tempfile.TemporaryDirectory() as spool:
        prepared = prepare(job, spool=Path(spool), file=arguments.job)
        requests, job = prepared.planner.chunk(0)[: arguments.rows], prepared.job
        if arguments.prompts_only:
            job = _without_a_model(job)
        outcomes = _ask(job, requests)
    printer = _Printer(job, raw=arguments.raw)
    for outcome, prompts in outcomes:
        printer.print_request(outcome, prompts, answers=not arguments.prompts_only)
    return 0


def _without_a_model(job: Job) -> Job:
    """The same job with a scripted teacher in every role: the prompts are the job's, and no answer is shown."""
    scripted = job.models.teacher.model_copy(update={"engine": "scripted"})
    judge = scripted if job.models.judge else None
    return job.model_copy(update={"models": job.models.model_copy(update={"teacher": scripted, "others": [], "judge": judge})})


def _ask(job: Job, requests: list[Request]) -> list[tuple[Outcome, list[Prompt]]]:
    engines = open_engines(job.models.by_role())

    async def ask_one(request: Request) -> tuple[Outcome, list[Prompt]]:
        recorders = {role: RecordingTeacher(opened.teacher) for role, opened in engines.items()}
        asker = Asker.of(job, recorders)  # type: ignore[arg-type]
        outcome = await asker.run(request)
        return outcome, [p for recorder in recorders.values() for p in recorder.first.values()]

    async def ask_all() -> list[tuple[Outcome, list[Prompt]]]:
        return list(await asyncio.gather(*[ask_one(request) for request in requests]))

    try:
        return asyncio.run(ask_all())
    finally:
        for opened in unique_engines(engines):
            opened.engine.close()


class _Printer:
    """Prints requests and their answers; the text is scrubbed unless `raw`."""

    def __init__(self, job: Job, *, raw: bool) -> None:
        self._scrubber = None if raw else open_scrubber(job.scrub)

    def _text(self, text: str) -> str:
        return text if self._scrubber is None else str(self._scrubber.record(text).value)

    def print_request(self, outcome: Outcome, prompts: list[Prompt], *, answers: bool) -> None:
        seed = outcome.request.seed
        print(f"━━ request {outcome.request.position} · seed {seed.source}:{seed.line} · split {seed.split}")
        for number, prompt in enumerate(prompts):
            for message in prompt.messages:
                print(f"ask {number} · {message['role']}:\n{_indented(self._text(message['content']))}")
        for slot, draft in enumerate(outcome.drafts if answers else []):
            self._print_draft(slot, draft)
        print()

    def _print_draft(self, slot: int, draft: Draft) -> None:
        if draft.reason is not None:
            print(f"slot {slot} · failed: {draft.reason} {draft.detail}")
            return
        print(
            f"slot {slot} · {draft.completion_tokens} tokens, {draft.finish_reason}:\n{_indented(self._text(draft.completion))}"
        )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
