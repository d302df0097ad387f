"""`synth-ray preview`: the first rendered prompts, and the records that would be made of the answers."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from synth_ray.ask.asker import Asker
from synth_ray.ask.engine_start import start_of
from synth_ray.ask.engines import open_engines, unique_engines
from synth_ray.ask.teacher import Load, Prompt, Teacher, TemplateUse
from synth_ray.ask.tool_calls import ToolUse, open_tools
from synth_ray.ask.top_k import ready_models
from synth_ray.cli.estimate import estimate_lines
from synth_ray.cli.job import job_of
from synth_ray.dataset.top_k import TOP_K_COLUMNS
from synth_ray.errors import JobError, StorageError
from synth_ray.job.document import Job
from synth_ray.prepare.estimate import estimate
from synth_ray.prepare.lengths import lengths_of_preview
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.recipes.contract import Completion
from synth_ray.records import Outcome, Request, Verdict
from synth_ray.route.preview import MAX_COMPARED, PreviewedRow, first_requests, is_compared, preview_rows
from synth_ray.scrub.scrubber import Scrubber, open_scrubber

_LONGEST_TEXT = 4000
_SHOWN_APART = (
    "id", "messages", "prompt", "completion", "reasoning", "verdict", "reason", "detail", "logprobs", *TOP_K_COLUMNS, "fields",
)  # fmt: skip
_PROVENANCE = (
    "split",
    "origin",
    "depth",
    "teacher",
    "revision",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "finish_reason",
)
_DIGESTS = ("seed", "lineage", "recipe", "prompt_digest", "ask_digest", "witness", "similarity")

Asked = list[tuple[Outcome, list[Prompt]]]


class RecordingTeacher:
    """A teacher that records the first prompt of each ask, then passes it on."""

    def __init__(self, inner: Teacher) -> None:
        self._inner = inner
        self.first: dict[str, Prompt] = {}

    async def answer(self, prompt: Prompt) -> list[object]:
        self.first.setdefault(prompt.key, prompt)
        return list(await self._inner.answer(prompt))

    def load(self) -> Load:
        """Of the teacher: a request's deadline follows from its speed."""
        return self._inner.load()


def main(arguments: argparse.Namespace) -> int:
    job = job_of(arguments)
    with tempfile.TemporaryDirectory() as spool:
        prepared = prepare(job, spool=Path(spool), file=arguments.job)
        requests = first_requests(prepared, arguments.rows, folder=Path(spool) / "plan")
        if arguments.prompts_only:
            asked, _ = _ask(_without_a_model(prepared.job), requests, may_have_effects=True)
            _print(prepared, asked, [], raw=arguments.raw)
            return 0
        asked, seconds = _ask(prepared.job, requests)
        rows = preview_rows(prepared, [outcome for outcome, _ in asked], raw=arguments.raw)
        _print(prepared, asked, rows, raw=arguments.raw)
        for line in _estimate_lines(prepared, asked, rows, seconds):
            print(line)
    return 0


def _estimate_lines(prepared: Prepared, asked: Asked, rows: Sequence[PreviewedRow], seconds: float) -> Iterator[str]:
    """What the whole plan would take if all its requests were like these."""
    accepted = sum(row.columns["verdict"] == Verdict.ACCEPTED.value for row in rows)
    outcomes = [outcome for outcome, _ in asked]
    at_once = prepared.job.models.teacher.max_running
    lengths = lengths_of_preview(outcomes, accepted=accepted, rows=len(rows), seconds=seconds, at_once=at_once)
    guess = estimate(prepared, prepared.job, lengths)
    if guess.asks:
        yield f"the whole plan, by these rows: {guess.asks:,} asks"
        yield from estimate_lines(guess)


def _without_a_model(job: Job) -> Job:
    """The same job with a scripted teacher in every role: the prompts are the job's, and no answer is shown."""
    models = job.models
    scripted = {role: model.model_copy(update={"engine": "scripted"}) for role, model in models.by_role().items()}
    judge, gate = scripted.get("judge"), job.check.judge
    if judge is not None and judge.task == "classify" and not judge.scoring.labels:
        labels = [gate.label if gate is not None else getattr(options_of(job.recipe), "label", "")]
        scripted["judge"] = judge.model_copy(update={"scoring": judge.scoring.model_copy(update={"labels": labels})})
    own = {role: scripted.get(role) for role in ("teacher", "judge", "embedder")}
    return job.model_copy(update={"models": models.model_copy(update={"others": [], **own})})


def _ask(job: Job, requests: list[Request], *, may_have_effects: bool = False) -> tuple[Asked, float]:
    """The outcomes with their prompts, and the seconds from the first ask to the last answer. No tool with effects is called;
    raises JobError where the job has one, unless it may.
    """
    recipe, options = recipe_of(job), options_of(job.recipe)
    with ExitStack() as opened_here:
        tools = open_tools(recipe, options, _refuse_call)
        opened_here.callback(tools.close)
        if not may_have_effects:
            _refuse_effects(tools)
        engines = open_engines(ready_models(job), use=TemplateUse.of(recipe, options), start=start_of(job))
        for opened in unique_engines(engines):
            opened_here.callback(opened.engine.close)

        async def ask_one(request: Request) -> tuple[Outcome, list[Prompt]]:
            recorders = {role: RecordingTeacher(opened.teacher) for role, opened in engines.items()}
            asker = Asker.of(job, recorders, tools=tools)  # type: ignore[arg-type]
            outcome = await asker.run(request)
            return outcome, [p for recorder in recorders.values() for p in recorder.first.values()]

        async def ask_all() -> Asked:
            return list(await asyncio.gather(*[ask_one(request) for request in requests]))

        began = time.monotonic()
        return asyncio.run(ask_all()), time.monotonic() - began


def _refuse_effects(tools: ToolUse) -> None:
    effects = [face.name for face in tools.faces.values() if not face.may_repeat]
    if effects:
        raise JobError(
            f"recipe.tools: wanted tools that may be called again, got '{effects[0]}', whose calls may have effects; "
            "preview makes no such call: use --prompts-only, or say `idempotent: true` of tools that may be called again"
        )


def _refuse_call(_request: Request, _key: str, _answers: list[Completion]) -> None:
    """What cannot be recorded is not called."""
    raise StorageError("preview keeps no journal")


def _print(prepared: Prepared, asked: Asked, rows: Sequence[PreviewedRow], *, raw: bool) -> None:
    """Print each request with its prompts and its rows. Rows are scrubbed already, as a run would; prompts are scrubbed here."""
    scrubber = None if raw else open_scrubber(prepared.job.scrub)
    for outcome, prompts in asked:
        request = outcome.request
        seed = request.seed
        print(f"━━ request {request.number} · seed {seed.source}:{seed.line} · split {seed.split}")
        for number, prompt in enumerate(prompts):
            for message in prompt.messages:
                print("\n".join(_message_lines(f"ask {number} · ", _scrubbed(dict(message), scrubber))))
        if rows and outcome.attempts:
            print(f"discarded · {', '.join(f'{reason} {n}' for reason, n in sorted(outcome.attempts.items()))}")
        for row in rows:
            if row.request == request.id:
                print("\n".join(_row_lines(row)))
        print()
    if rows:
        print("\n".join(_summary(prepared, rows)))


def _summary(prepared: Prepared, rows: Sequence[PreviewedRow]) -> Iterator[str]:
    counts = Counter(_verdict(row.columns) for row in rows)
    yield f"rows      {len(rows):,}: {', '.join(f'{n:,} {verdict}' for verdict, n in sorted(counts.items()))}"
    if not is_compared(prepared):
        yield f"          not compared with the seeds and the real rows, which are more than {MAX_COMPARED:,}: a run does"


def _verdict(columns: Mapping[str, Any]) -> str:
    return f"{columns['verdict']}({columns['reason']})" if columns["reason"] else str(columns["verdict"])


def _row_lines(row: PreviewedRow) -> Iterator[str]:
    """A record: its verdict, then everything that would be published of it."""
    columns = row.columns
    why = f" · {columns['detail']}" if columns["detail"] else ""
    like = f" · like {columns['witness']} ({columns['similarity'] or 0:.3f})" if columns["witness"] else ""
    yield f"slot {row.slot} · {_verdict(columns)}{why}{like} · flags {', '.join(row.flags) or 'none'}"
    yield f"  {', '.join(f'{name} {columns[name]}' for name in _PROVENANCE if columns.get(name) not in (None, ''))}"
    messages = columns["messages"] or []
    for message in messages:
        yield from _message_lines("  ", message)
    said = [message.get(name) for message in messages for name in ("content", "reasoning")]
    for name in ("prompt", "reasoning", "completion"):
        if columns.get(name) and columns[name] not in said:
            yield f"  {name}:\n{_indented(columns[name])}"
    for name, value in _fields(columns).items():
        yield f"  {name}: {_bounded(_text(value))}"


def _message_lines(before: str, message: Mapping[str, Any]) -> Iterator[str]:
    yield f"{before}{message['role']}:\n{_indented(_text(message.get('content') or ''))}"
    for name, value in message.items():
        if name not in ("role", "content") and value not in (None, "", [], {}):
            yield f"    {name}: {_bounded(_text(value))}"


def _scrubbed(message: dict[str, Any], scrubber: Scrubber | None) -> dict[str, Any]:
    if scrubber is None:
        return message
    scrubbed = scrubber.records([message])[0].value
    return dict(scrubbed) if scrubbed is not None else {"role": message["role"], "content": "(it could not be scrubbed)"}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _fields(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the recipe and the seed: those that became columns, and the rest."""
    known = {*_SHOWN_APART, *_PROVENANCE, *_DIGESTS}
    promoted = {name: value for name, value in columns.items() if name not in known and value is not None}
    rest = json.loads(columns["fields"] or "{}")
    return promoted | {f"fields.{name}": value for name, value in rest.items()}


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in _bounded(text).splitlines() or [""])


def _bounded(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]} … ({len(text) - _LONGEST_TEXT:,} of {len(text):,} characters are not shown)"
