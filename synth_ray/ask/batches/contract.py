"""The seam to a provider of batches: what one must do so that no request is paid for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Literal, Protocol

from synth_ray.ask.batches.calls import Calls, TryLater
from synth_ray.ask.batches.records import BatchRecord
from synth_ray.ask.batches.results import EndedBatch
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import ServiceRefused

Status = Literal["waiting", "begun", "ended", "failed", "gone"]
"""Of a batch: `failed` has ended without having begun."""

LOOKS = 3
"""How often a provider must say that a batch is gone."""

LOOK_PAUSES = (1 / 3, 1.0, 2.0)
"""Pauses between looks for a batch, in units of `batch.poll_s`: what was just made may not be listed everywhere at once."""


class BatchProvider(Protocol):
    """Law: a request is paid for at most once. The record of a batch is stored before `create`, with its name and the time, and
    again with the provider's id after it. Whoever comes to a record without an id, after a crash or a lost reply, calls `find`,
    which knows the batch again by what the provider keeps of our name:

    - OpenAI: as metadata of the batch. Exact, once the batch is listed.
    - Gemini: as its display name. Exact, once the batch is listed.
    - Bedrock: as the job's name, and as the token by which a repeated creation is none. Exact.
    - Anthropic: nowhere, but in the custom ids, which are shown once the batch has ended. `find` waits for the end of each batch
      that was created since the record's time, has as many requests and is not known to be another, and then looks at one custom
      id. Exact, once the batch is listed, as long as its results are kept (29 days); another's batch can cost time, never money.

    Nobody says how soon a created batch is listed, so `found` looks four times, over 10/3 of `batch.poll_s` (100 s by default),
    before it believes that there is none. `create` is never simply repeated where its reply may have been lost. A batch that is
    listed later than that is not found: this window is where the law rests on the provider's speed.
    """

    most_answers: int
    """Of one request; where more are wanted, each is a request of its own."""

    def request(self, prompt: Prompt) -> bytes:
        """One request of a batch, as JSON on a line. Raises ServiceRefused, by the job's key, for what the provider cannot do."""
        ...

    async def create(self, record: BatchRecord, requests: Sequence[bytes], known: Collection[str]) -> str:
        """Send the requests, in the order of the record's ids; returns the batch's id at the provider. `known`: see `find`."""
        ...

    async def find(self, record: BatchRecord, known: Collection[str]) -> str:
        """The id of the batch that this record was written for; empty if none is listed. `known` are ids of other batches."""
        ...

    async def end_of(self, record: BatchRecord, on_begun: Callable[[], None]) -> EndedBatch | None:
        """Wait for the end of the record's batch, and read its results; None for one that is gone. Each line of the results has
        the form of OpenAI's, with the ask's key as its custom id.
        """
        ...


class NeverCreated(ServiceRefused):
    """The provider refuses to create a batch: there is none to look for later."""


async def found(provider: BatchProvider, record: BatchRecord, known: Collection[str], poll_s: float) -> str:
    """Look for a record's batch until the last of LOOK_PAUSES has passed; empty if the provider never listed it."""
    for pause in (0.0, *LOOK_PAUSES):
        await asyncio.sleep(pause * poll_s)
        if batch := await provider.find(record, known):
            return batch
    return ""


async def create_once(
    provider: BatchProvider,
    record: BatchRecord,
    known: Collection[str],
    calls: Calls,
    post: Callable[[], Awaitable[str | TryLater]],
) -> str:
    """Repeat `post` until it returns the id of the created batch. Where its reply may be lost, the batch is looked for first.

    Raises NeverCreated where the provider refuses the creation, and no reply before may have been lost.
    """
    patience, may_exist = calls.patience(), False
    while True:
        try:
            created = await post()
        except ServiceRefused as refusal:
            raise refusal if may_exist else NeverCreated(str(refusal)) from None
        if not isinstance(created, TryLater):
            return created
        may_exist = may_exist or not created.is_refusal
        await patience.pause(created)
        if not created.is_refusal and (existing := await found(provider, record, known, calls.poll_s)):
            return existing


async def wait_until_ended(look: Callable[[], Awaitable[Status]], poll_s: float, on_begun: Callable[[], None]) -> bool:
    """Poll with growing pauses until `look` says that the batch has ended. False: it said several times that it is gone."""
    pause, gone = poll_s, 0
    while gone < LOOKS:
        status = await look()
        gone = gone + 1 if status == "gone" else 0
        if status in ("begun", "ended"):
            on_begun()
        if status in ("ended", "failed"):
            return True
        await asyncio.sleep(pause)
        pause = min(1.3 * pause, 10 * poll_s)
    return False
