"""Asks that wait for a batch: when the next batch is due, how large it is, and how long the provider is left alone."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

from synth_ray.ask.batches.results import Reply
from synth_ray.job.served import BatchApi

_GROWTH, _MOST_GROWTH = 1.5, 10.0
_REFUSALS_UNTIL_HALVED = 3
_LEAST_SHARE = 64


@dataclass(eq=False, slots=True)
class PendingAsk:
    """One pending ask: its line of the batch file, and how many batches ended without answering it. `uncounted` of these were no
    tries: they were of earlier runs, or the provider never began them.
    """

    key: str
    n: int
    line: bytes
    reply: asyncio.Future[Reply]
    tries: int = 0
    uncounted: int = 0

    def resolve(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


class UnsentAsks:
    """Law: a batch is due when it is full, or when nothing was added for `batch.quiet_s`. Once the provider had no room for a
    batch, nothing is sent for a pause that grows, and then one batch alone, until one is accepted. Batches become smaller when
    the provider has no room for one although no other of ours is there: it may be larger than the provider's whole limit.
    """

    def __init__(self, section: BatchApi) -> None:
        self._section = section
        self._asks: deque[PendingAsk] = deque()
        self._bytes = 0
        self._last_added = 0.0
        self._most, self._least = section.part_requests, 1
        self._refusals = 0
        self._held_until = 0.0
        self._awaits_room = False

    def __len__(self) -> int:
        return len(self._asks)

    def add(self, pending: PendingAsk) -> None:
        self._asks.append(pending)
        self._bytes += len(pending.line)
        self._last_added = time.monotonic()

    def due_in(self) -> float:
        """Seconds until the next batch may be sent; infinite while the fate of the one before is waited for."""
        if self._awaits_room:
            return math.inf
        is_full = len(self._asks) >= self._most or self._bytes >= self._section.part_bytes
        quiet_until = 0.0 if is_full else self._last_added + self._section.quiet_s
        return max(quiet_until, self._held_until) - time.monotonic()

    def take(self) -> list[PendingAsk]:
        """The asks of the next batch, up to its size limits. Asks that were given up meanwhile are left out."""
        part: list[PendingAsk] = []
        size = 0
        while self._asks and len(part) < self._most:
            size += len(self._asks[0].line)
            if part and size > self._section.part_bytes:
                break
            pending = self._asks.popleft()
            self._bytes -= len(pending.line)
            if pending.reply.done():
                size -= len(pending.line)
            else:
                part.append(pending)
        self._awaits_room = bool(part) and self._refusals > 0
        return part

    def on_accepted(self) -> None:
        """The provider works on a batch: there is room."""
        self._awaits_room = False
        if self._refusals and time.monotonic() >= self._held_until:
            self._refusals = 0
        self._most = min(self._section.part_requests, 2 * self._most)

    def on_no_room(self, requests: int, *, alone: bool) -> float:
        """The provider had no room for a batch of so many requests, `alone` if no other of ours was there. Returns the pause."""
        self._awaits_room = False
        now = time.monotonic()
        if now >= self._held_until:  # otherwise it was sent together with the one that began this pause
            self._refusals += 1
            growth = min(_MOST_GROWTH, _GROWTH ** (self._refusals - 1))
            self._held_until = now + growth * self._section.poll_s
            if alone and self._refusals % _REFUSALS_UNTIL_HALVED == 0:
                self._least = max(self._least, requests // _LEAST_SHARE)
                self._most = max(self._least, min(self._most, requests) // 2)
        return self._held_until - now
