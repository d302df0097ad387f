"""The teacher of a role whose engines are a pool: each ask goes to the least loaded replica, and a dead one's asks to others."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from typing import Protocol

from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.errors import AskFailed, EngineDied
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason

KILLER_DETAIL = "an engine died with this ask in flight among others, one among few, and one with it alone"

_SUSPECTS_AT_ONCE = (8, 1)
"""How many asks that were in flight at one death, and at two, are asked again at a time."""


class LinkEnded(EngineDied):
    """A link that answers nothing any more, whatever it is asked, while its replica may still be up."""


class Link(Protocol):
    """One replica of the pool. `answer` raises EngineDied once it is gone, LinkEnded once the link is, whatever it was asked."""

    max_running: int

    async def answer(self, prompt: Prompt) -> list[Completion]: ...


class PooledTeacher:
    """See `teacher.Teacher`; everything but `load` is called on one event loop.

    Law: an ask depends on its prompt alone, so one whose replica died is asked again at another; after a third death, in which no
    other suspect of this process was in flight, it fails as `engine_error`. A replica that was retired in order makes nothing
    suspect; a link that ended counts as a death. While no replica is up, asks wait.
    """

    def __init__(self, model: Model, *, on_asked: Callable[[], None] = lambda: None) -> None:
        """`on_asked` is called when an ask has come: the recipe's process may then start another request."""
        self._model = model
        self._on_asked = on_asked
        self._replicas: Mapping[int, Callable[[], Link]] = {}
        self._links: dict[int, Link] = {}
        self._gone: set[int] = set()
        self._down_s, self._down_since = 0.0, time.monotonic()
        self._retired: frozenset[int] = frozenset()
        self._clients = 1
        self._asked: Counter[int] = Counter()
        self._pending = 0
        self._changed = asyncio.Event()
        self._turns = [asyncio.Semaphore(n) for n in _SUSPECTS_AT_ONCE]

    def set_replicas(
        self, replicas: Mapping[int, Callable[[], Link]], *, retired: Collection[int] = (), clients: int = 1
    ) -> None:
        """The replicas that are up, by number, and how to reach each; those that were taken away in order; and how many processes
        share the pool.
        """
        self._replicas = replicas
        self._retired = self._retired | frozenset(retired)
        self._clients = max(1, clients)
        up = [number for number in replicas if number not in self._gone | self._retired]
        new = [number for number in up if number not in self._links]
        random.shuffle(new)  # else every process would send its first asks to the same replica
        kept = {number: link for number, link in self._links.items() if number in up}
        self._set_links(kept | {number: replicas[number]() for number in new})
        self._changed.set()

    def _set_links(self, links: dict[int, Link]) -> None:
        down_s, was_up = self.down_s, bool(self._links)
        self._links = links
        if links:
            self._down_s = down_s
        elif was_up:
            self._down_since = time.monotonic()

    @property
    def is_up(self) -> bool:
        """Whether any replica is."""
        return bool(self._links)

    @property
    def down_s(self) -> float:
        """How long no replica was up, so far: what waits then is not to blame."""
        return self._down_s + (0.0 if self._links else time.monotonic() - self._down_since)

    @property
    def max_running(self) -> int:
        """This process's share of what the pool runs at once."""
        return -(-sum(link.max_running for link in self._links.values()) // self._clients)

    def open(self) -> TeacherFacts:
        """What the job says: the pool's replicas tell their own facts to whoever started them."""
        model = self._model
        return TeacherFacts(model.engine, model.name, model.revision, max_running=model.max_running, max_model_len=0)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        deaths = 0
        self._pending += prompt.n
        self._on_asked()
        try:
            while deaths <= len(_SUSPECTS_AT_ONCE):
                async with AsyncExitStack() as turn:
                    if deaths:
                        await turn.enter_async_context(self._turns[deaths - 1])
                    number, link = await self._least_loaded()
                    answers = await self._answer_at(number, link, prompt)
                if answers is not None:
                    return answers
                deaths += number not in self._retired
            raise AskFailed(Reason.ENGINE_ERROR, KILLER_DETAIL)
        finally:
            self._pending -= prompt.n

    async def _answer_at(self, number: int, link: Link, prompt: Prompt) -> list[Completion] | None:
        """The answers; None where the replica or the link to it is gone. A new link takes the place of one that ended."""
        self._asked[number] += prompt.n
        try:
            return await link.answer(prompt)
        except LinkEnded:
            if self._links.get(number) is link:
                self._links[number] = self._replicas[number]()
            return None
        except EngineDied:
            self._gone.add(number)
            self._set_links({n: other for n, other in self._links.items() if n != number})
            return None
        finally:
            self._asked[number] -= prompt.n

    async def _least_loaded(self) -> tuple[int, Link]:
        """The replica with the fewest asks for what it can run; among equals the one that was chosen longest ago."""
        while not self._links:
            self._changed.clear()
            await self._changed.wait()
        number = min(self._links, key=lambda n: self._asked[n] / self._links[n].max_running)
        self._links[number] = link = self._links.pop(number)
        return number, link

    def load(self) -> Load:
        """This process's asks: those within its share of the pool count as running, the rest as waiting."""
        pending, share = self._pending, self.max_running
        return Load(running=min(pending, share), waiting=max(0, pending - share))

    def close(self) -> None:
        """The replicas are ended by whoever started them."""
