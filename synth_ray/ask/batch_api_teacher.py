"""A model behind a provider's batch API: asks are collected into batches, which are answered within a day."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from synth_ray.ask.batch_provider import BatchProvider
from synth_ray.ask.batch_records import BatchRecord, BatchRecords, batch_name
from synth_ray.ask.openai_protocol import completions_in, error_for_status, headers_of, path_of, request_body
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.errors import AskFailed, EngineDied, ServiceRefused, SynthRayError
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason
from synth_ray.storage import Storage

_MAX_MODEL_LEN = 1 << 20
Reply = list[Completion] | AskFailed | EngineDied | ServiceRefused
Lines = dict[str, dict[str, Any]]


@dataclass(eq=False, slots=True)
class _PendingAsk:
    """One pending ask: its line of the batch file, and how many batches ended without answering it, `earlier_tries` of them in
    earlier runs.
    """

    key: str
    n: int
    line: bytes
    reply: asyncio.Future[Reply]
    tries: int = 0
    earlier_tries: int = 0


class BatchApiTeacher:
    """Law: an ask is sent again only when the batch that held it ended without its answer; whatever was sent before a crash is
    found at the provider and collected. Custom ids are the asks' keys, the same in every run. A batch is sent when it is full, or
    when nothing was asked for `batch.quiet_s`, so that requests at one step of a recipe go together.
    """

    def __init__(self, model: Model, storage: Storage | None = None) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        self._records = BatchRecords(storage)
        self._sent_earlier: dict[str, list[BatchRecord]] = {}
        self._line_tasks: dict[str, asyncio.Task[Lines | None]] = {}
        self._unanswered: set[_PendingAsk] = set()
        self._unsent: deque[_PendingAsk] = deque()
        self._bytes = 0
        self._last_asked = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sender: asyncio.Task[Any] | None = None
        self._provider: BatchProvider | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure = ""

    def open(self) -> TeacherFacts:
        """Load the records of batches that earlier runs sent. Raises MissingResource without the key. The provider is called at
        the first ask.
        """
        headers_of("batch", self._section.key_env)
        records = list(self._records.all())
        for record in records:
            for key in record.ids:
                self._sent_earlier.setdefault(key, []).append(record)
        return TeacherFacts(
            engine="batch_api",
            model=self._model.model,
            revision=self._model.revision,
            max_running=self._section.max_running,
            max_model_len=_MAX_MODEL_LEN,
            engine_args={"flavour": self._section.flavour, "sent_before": len(records)},
        )

    async def answer(self, prompt: Prompt) -> list[Completion]:
        if self._failure:
            raise EngineDied(self._failure)
        self._bind_to_loop(asyncio.get_running_loop())
        pending = _PendingAsk(prompt.key, prompt.n, self._line(prompt), asyncio.get_running_loop().create_future())
        self._unanswered.add(pending)
        try:
            if prompt.key in self._sent_earlier:
                self._start(self._resume_sent(pending))
            else:
                self._gather(pending)
            reply = await pending.reply
        finally:
            self._unanswered.discard(pending)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _line(self, prompt: Prompt) -> bytes:
        body = request_body(self._model, prompt, is_vllm=self._section.flavour == "vllm")
        line = {"custom_id": prompt.key, "method": "POST", "url": f"/v1/{path_of(self._model)}", "body": body}
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

    def _bind_to_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """HTTP connections belong to an event loop; open new ones when the loop is another one."""
        if self._loop is not loop:
            self._loop, self._provider = loop, BatchProvider(self._model)

    @property
    def _open_provider(self) -> BatchProvider:
        assert self._provider is not None
        return self._provider

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(self._fail_all_on_error(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _fail_all_on_error(self, work: Coroutine[Any, Any, None]) -> None:
        """Any error in a batch task fails every pending ask, so that no caller waits for ever."""
        try:
            await work
        except Exception as error:
            self._failure = str(error) if isinstance(error, SynthRayError) else f"models.batch: {type(error).__name__}"
            for pending in self._unanswered:
                _resolve(pending, EngineDied(self._failure))

    # Sending.

    def _gather(self, pending: _PendingAsk) -> None:
        self._unsent.append(pending)
        self._bytes += len(pending.line)
        self._last_asked = time.monotonic()
        if self._sender is None or self._sender.done():
            self._sender = self._start(self._send_when_quiet())

    async def _send_when_quiet(self) -> None:
        while self._unsent:
            quiet_s = self._last_asked + self._section.quiet_s - time.monotonic()
            if quiet_s <= 0 or self._is_full:
                self._start(self._send(self._take_batch()))
            else:
                await asyncio.sleep(min(quiet_s, self._section.quiet_s / 10))

    @property
    def _is_full(self) -> bool:
        return len(self._unsent) >= self._section.part_requests or self._bytes >= self._section.part_bytes

    def _take_batch(self) -> list[_PendingAsk]:
        """The pending asks for the next batch, up to its size limits."""
        part: list[_PendingAsk] = []
        size = 0
        while self._unsent and len(part) < self._section.part_requests:
            size += len(self._unsent[0].line)
            if part and size > self._section.part_bytes:
                break
            part.append(self._unsent.popleft())
            self._bytes -= len(part[-1].line)
        return part

    async def _send(self, part: list[_PendingAsk]) -> None:
        keys = tuple(pending.key for pending in part)
        record = BatchRecord(batch_name(keys, [pending.tries for pending in part]), keys)
        self._records.keep(record)
        batch = await self._open_provider.create(record.name, b"".join(pending.line for pending in part))
        record = replace(record, batch=batch)
        self._records.keep(record)
        lines = await self._lines(record)
        for pending in part:
            self._resolve_or_retry(pending, lines.get(pending.key))

    # Receiving.

    async def _resume_sent(self, pending: _PendingAsk) -> None:
        """Resolve an ask that an earlier run sent, with the answer of whichever of its batches has one."""
        answers = [
            lines for record in self._sent_earlier[pending.key] if (lines := await self._wait_until_ended(record)) is not None
        ]
        replies = [reply for lines in answers if (reply := _reply(lines.get(pending.key), pending.n)) is not None]
        if replies:
            _resolve(pending, replies[-1])
        else:
            pending.tries = pending.earlier_tries = len(answers)
            self._gather(pending)

    async def _wait_until_ended(self, record: BatchRecord) -> Lines | None:
        """One task per batch polls for its end; every ask of the batch awaits that task."""
        if record.name not in self._line_tasks:
            self._line_tasks[record.name] = asyncio.get_running_loop().create_task(self._lines_of_earlier_batch(record))
        return await self._line_tasks[record.name]

    async def _lines_of_earlier_batch(self, record: BatchRecord) -> Lines | None:
        """The state of a batch of an earlier run; None where the provider does not know it, because it was never created."""
        if not record.batch:
            record = replace(record, batch=await self._open_provider.find(record.name))
            if not record.batch:
                self._records.forget(record)
                return None
            self._records.keep(record)
        return await self._lines(record)

    async def _lines(self, record: BatchRecord) -> Lines:
        """Result lines of an ended batch, however it ended, by custom id."""
        provider = self._open_provider
        batch = await provider.wait_until_ended(record.batch)
        lines = [*await provider.lines(batch.get("error_file_id")), *await provider.lines(batch.get("output_file_id"))]
        return {line["custom_id"]: line for line in lines}

    def _resolve_or_retry(self, pending: _PendingAsk, line: dict[str, Any] | None) -> None:
        """Resolve the ask with its result line; without one, send it again in a later batch, as often as the job allows."""
        reply = _reply(line, pending.n)
        if reply is not None:
            _resolve(pending, reply)
        elif pending.tries - pending.earlier_tries >= self._section.retries:
            _resolve(pending, AskFailed(Reason.ENGINE_ERROR, f"no answer in {pending.tries - pending.earlier_tries + 1} batches"))
        elif not pending.reply.done():
            pending.tries += 1
            self._gather(pending)

    def load(self) -> Load:
        return Load(running=len(self._unanswered))

    def close(self) -> None:
        """Batches at the provider continue; the next run collects them."""
        if self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in [*self._tasks, *self._line_tasks.values()]])


def _reply(line: dict[str, Any] | None, n: int) -> Reply | None:
    """The reply in a result line; None where there is none or where a retry may succeed."""
    response = (line or {}).get("response") or {}
    status = int(response.get("status_code") or 0)
    if status == 200:
        return completions_in(response.get("body"), n)
    return error_for_status(status, json.dumps(response.get("body"))) if 400 <= status < 500 and status != 429 else None


def _resolve(pending: _PendingAsk, reply: Reply) -> None:
    if not pending.reply.done():
        pending.reply.set_result(reply)
