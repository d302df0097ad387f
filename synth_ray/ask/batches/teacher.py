"""A model behind a provider's batch API: asks are collected into batches, which are answered within a day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from synth_ray.ask.batches.contract import BatchProvider, NeverCreated, found
from synth_ray.ask.batches.errors import meaning_of, prompt_texts
from synth_ray.ask.batches.providers import provider_of
from synth_ray.ask.batches.queue import PendingAsk, UnsentAsks
from synth_ray.ask.batches.records import BatchRecord, BatchRecords, batch_name, place_of
from synth_ray.ask.batches.results import EndedBatch, Reply, code_in, failures_in, reply_in
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.errors import AskFailed, EngineDied, ServiceRefused, SynthRayError, TeacherError
from synth_ray.job.models import Model
from synth_ray.job.served import BatchApi
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason, digest
from synth_ray.storage import Storage

log = logging.getLogger(__name__)

_MAX_MODEL_LEN = 1 << 20
_SHOWN_ERRORS = 3
_GONE = "models.batch: batch %s is gone at the provider (its record is %s): what it held of %d requests is asked again"


class BatchApiTeacher:
    """Law: an ask is sent again only when the batch that held it ended without its answer; whatever was sent before a crash is
    found at the provider and collected. Custom ids are the asks' keys, the same in every run. A batch is sent when it is full, or
    when nothing was asked for `batch.quiet_s`, so that requests at one step of a recipe go together.

    A batch that the provider had no room for was no try; one that it refuses for what is the same in all stops the run.
    """

    def __init__(self, model: Model, storage: Storage | None = None) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        self._records = BatchRecords(storage)
        self._sent_earlier: dict[str, list[BatchRecord]] = {}
        self._end_tasks: dict[str, asyncio.Task[EndedBatch | None]] = {}
        self._known: set[str] = set()
        self._unanswered: set[PendingAsk] = set()
        self._unsent = UnsentAsks(self._section)
        self._at_provider = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sender: asyncio.Task[Any] | None = None
        self._provider: BatchProvider | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: TeacherError | None = None

    def open(self) -> TeacherFacts:
        """Load the records of batches that earlier runs sent. Raises MissingResource without the key. The provider is called at
        the first ask.
        """
        provider_of(self._model)
        records = list(self._records.all())
        for record in records:
            self._known |= {record.batch} - {""}
            for key in record.ids:
                self._sent_earlier.setdefault(key, []).append(record)
        return TeacherFacts(
            engine="batch_api",
            model=self._model.model,
            revision=self._model.revision,
            max_running=self._section.max_running,
            max_model_len=_MAX_MODEL_LEN,
            engine_args={"provider": self._section.provider, "flavour": self._section.flavour, "sent_before": len(records)},
        )

    async def answer(self, prompt: Prompt) -> list[Completion]:
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))
        if prompt.kind != "chat" or prompt.sampling.get("top_k_logprobs"):
            raise ServiceRefused(
                "recipe: wanted a model that tells log-probabilities by token id, or does more than chat, got a batch API; take "
                "engine: vllm"
            )
        self._bind_to_loop(asyncio.get_running_loop())
        if prompt.n > self._open_provider.most_answers:
            return await self._answer_one_by_one(prompt)
        request = self._open_provider.request(prompt)
        pending = PendingAsk(prompt.key, prompt.n, request, asyncio.get_running_loop().create_future())
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

    async def _answer_one_by_one(self, prompt: Prompt) -> list[Completion]:
        """Several answers of a provider that gives fewer to a request: each is a request of its own, whose prompt is paid for."""
        keys = [prompt.key, *(digest(prompt.key, "answer", number) for number in range(1, prompt.n))]
        replies = await asyncio.gather(*(self.answer(replace(prompt, key=key, n=1)) for key in keys))
        return [replace(reply[0], asked_alone=number > 0) for number, reply in enumerate(replies)]

    def _bind_to_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """HTTP connections belong to an event loop; open new ones when the loop is another one."""
        if self._loop is not loop:
            self._loop, self._provider = loop, provider_of(self._model)

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
            why = str(error) if isinstance(error, SynthRayError) else f"models.batch: {type(error).__name__}"
            kind = ServiceRefused if isinstance(error, ServiceRefused) else EngineDied
            self._failure = kind(why)
            for pending in self._unanswered:
                pending.resolve(kind(why))

    # Sending.

    def _gather(self, pending: PendingAsk) -> None:
        self._unsent.add(pending)
        if self._sender is None or self._sender.done():
            self._sender = self._start(self._send_when_due())

    async def _send_when_due(self) -> None:
        while self._unsent:
            due_s = self._unsent.due_in()
            if due_s > 0:
                await asyncio.sleep(min(due_s, self._section.quiet_s / 10))
            elif part := self._unsent.take():
                self._start(self._send(part))

    async def _send(self, part: list[PendingAsk]) -> None:
        keys = tuple(pending.key for pending in part)
        name, section = batch_name(keys, [pending.tries for pending in part]), self._section
        record = BatchRecord(name, keys, at=time.time(), provider=section.provider, url=section.base_url)
        self._records.keep(record)
        self._at_provider += 1
        try:
            requests = [pending.line for pending in part]
            record = self._confirm(record, await self._open_provider.create(record, requests, self._known))
            ended = await self._end_of(record, self._unsent.on_accepted)
        except NeverCreated:
            self._records.forget(record)
            raise
        finally:
            self._at_provider -= 1
        own, is_try = self._read_failure(ended, part)
        for pending in part:
            line = ended.lines.get(pending.key)
            why = code_in(line) or next((error.code for error in ended.errors), "")
            self._resolve_or_retry(pending, reply_in(line, pending.n) or own.get(pending.key), is_try=is_try, why=why)

    def _read_failure(self, ended: EndedBatch, part: list[PendingAsk]) -> tuple[dict[str, AskFailed], bool]:
        """The failures of prompts that a failed batch names, and whether the batch was a try for the others.

        Raises ServiceRefused where every batch would fail in the same way.
        """
        own, others = failures_in(ended.errors if ended.status == "failed" else [], [pending.key for pending in part])
        if not others:
            self._unsent.on_accepted()
            return own, not own
        texts = prompt_texts(pending.line for pending in part)
        shown = "; ".join(dict.fromkeys(error.shown(texts) for error in others[:_SHOWN_ERRORS]))
        meaning = meaning_of(others)
        if meaning == "refused":
            raise ServiceRefused(f"models.batch: wanted the provider to take a batch, got {shown}")
        if meaning == "wait":
            is_alone = not self._at_provider and all(task.done() for task in self._end_tasks.values())
            pause = self._unsent.on_no_room(len(part), alone=is_alone)
            log.warning("models.batch: no room for %d requests (%s): waiting %.1f s to send them again", len(part), shown, pause)
            return own, False
        self._unsent.on_accepted()
        log.warning("models.batch: a batch of %d requests failed (%s)", len(part), shown)
        return own, True

    # Receiving.

    async def _resume_sent(self, pending: PendingAsk) -> None:
        """Resolve an ask that an earlier run sent, with the answer of whichever of its batches has one."""
        records = self._sent_earlier[pending.key]
        here = [record for record in records if record.is_at(self._section)]
        for record in records:
            if record not in here and pending.key not in record.unanswered:
                raise _sent_elsewhere(record, self._section)
        ended = [end for record in here if (end := await self._wait_until_ended(record)) is not None]
        replies = [reply for end in ended if (reply := reply_in(end.lines.get(pending.key), pending.n)) is not None]
        if replies:
            pending.resolve(replies[-1])
        else:
            pending.tries = pending.uncounted = len(ended) + len(records) - len(here)
            self._gather(pending)

    async def _wait_until_ended(self, record: BatchRecord) -> EndedBatch | None:
        """One task per batch polls for its end; every ask of the batch awaits that task."""
        if record.name not in self._end_tasks:
            self._end_tasks[record.name] = asyncio.get_running_loop().create_task(self._end_of_earlier(record))
        return await self._end_tasks[record.name]

    async def _end_of_earlier(self, record: BatchRecord) -> EndedBatch | None:
        """The end of a batch of an earlier run; None where the provider does not know it, because it was never created."""
        if not record.batch:
            batch = await found(self._open_provider, record, self._known, self._section.poll_s)
            if not batch:
                self._records.forget(record)
                return None
            record = self._confirm(record, batch)
        return await self._end_of(record)

    def _confirm(self, record: BatchRecord, batch: str) -> BatchRecord:
        """Keep the record with the provider's id of its batch."""
        record = replace(record, batch=batch)
        self._records.keep(record)
        self._known.add(batch)
        return record

    async def _end_of(self, record: BatchRecord, on_begun: Callable[[], None] = lambda: None) -> EndedBatch:
        """Wait for a batch's end and read its results. What is gone at the provider has no lines: its asks are sent again."""
        ended = await self._open_provider.end_of(record, on_begun)
        if ended is None:
            log.warning(_GONE, record.batch, place_of(record), len(record.ids))
        ended = ended or EndedBatch("gone")
        left = frozenset(key for key in record.ids if not isinstance(reply_in(ended.lines.get(key), 1), list))
        if left != record.unanswered:
            self._records.keep(replace(record, unanswered=left))
        return ended

    def _resolve_or_retry(self, pending: PendingAsk, reply: Reply | None, *, is_try: bool, why: str) -> None:
        """Resolve the ask with its reply; without one, send it again in a later batch, as often as the job allows."""
        tried = pending.tries - pending.uncounted
        if reply is not None:
            pending.resolve(reply)
        elif is_try and tried >= self._section.retries:
            last = f"; the last: {why}" if why else ""
            pending.resolve(AskFailed(Reason.ENGINE_ERROR, f"no answer in {tried + 1} batches{last}"))
        elif not pending.reply.done():
            pending.tries += 1
            pending.uncounted += not is_try
            self._gather(pending)

    def load(self) -> Load:
        return Load(running=len(self._unanswered))

    def close(self) -> None:
        """Batches at the provider continue; the next run collects them."""
        if self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in [*self._tasks, *self._end_tasks.values()]])


def _sent_elsewhere(record: BatchRecord, section: BatchApi) -> ServiceRefused:
    """What an ask is refused with whose answer another provider may have: asked here, it would be paid for again."""
    return ServiceRefused(
        f"models.batch: wanted {_place(record.provider, record.url)}, to which requests were sent (their record is "
        f"{place_of(record)}), got {_place(section.provider, section.base_url)}; set provider and url back until they are "
        "collected, or delete the record and pay for them again"
    )


def _place(provider: str, url: str) -> str:
    return f"{provider} at {url}" if url else provider
