"""A replica of a role's pool, as a recipe's process sees it: prompts go out and answers come in, several to a message."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

from synth_ray.ask.pooled_teacher import LinkEnded
from synth_ray.ask.role_server import Answered
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import EngineDied, SynthRayError
from synth_ray.recipes.contract import Completion

Call = Callable[..., Awaitable[Any]]
"""`call(method, *arguments)` of `RoleServer`, wherever it runs; raises EngineDied when that place is gone."""

_GATHER_S = 0.01
_COLLECT_WAIT_S = 10.0


class RoleLink:
    """Used on one event loop. Law: every `answer` ends: with the answers, with the error of the prompt, with EngineDied once the
    replica is gone, or with LinkEnded once the replica refuses the link. Cancelling one cancels it at the replica. The order of
    prompts is kept. What a replica forgot, because it had not heard of this process for long, it is asked again.
    """

    def __init__(self, call: Call, *, max_running: int) -> None:
        self.max_running = max_running
        self._call = call
        self._client = uuid.uuid4().hex
        self._numbers = count()
        self._waiting: dict[int, tuple[Prompt, asyncio.Future[list[Completion]]]] = {}
        self._outbox: list[tuple[int, Prompt]] = []
        self._cancelled: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_sending = self._is_collecting = False
        self._end: EngineDied | None = None

    async def answer(self, prompt: Prompt) -> list[Completion]:
        if self._end is not None:
            raise self._end
        number = next(self._numbers)
        future: asyncio.Future[list[Completion]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = prompt, future
        self._outbox.append((number, prompt))
        self._start()
        try:
            return await future
        except asyncio.CancelledError:
            self._cancelled.append(number)
            self._start()
            raise
        finally:
            self._waiting.pop(number, None)

    def _start(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            self._spawn(self._send())
        if not self._is_collecting:
            self._is_collecting = True
            self._spawn(self._collect())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        """Send what gathers while the message before it is under way."""
        await asyncio.sleep(_GATHER_S)
        try:
            while (self._outbox or self._cancelled) and self._end is None:
                prompts, self._outbox = self._outbox, []
                cancelled, self._cancelled = self._cancelled, []
                # A prompt may be cancelled before it was sent.
                if prompts := [(number, prompt) for number, prompt in prompts if number in self._waiting]:
                    await self._call("submit", self._client, prompts)
                if cancelled:
                    await self._call("cancel", self._client, cancelled)
        except SynthRayError as error:
            self._end_with(error)
        finally:
            self._is_sending = False

    async def _collect(self) -> None:
        try:
            while self._waiting and self._end is None:
                answered = await self._call("collect", self._client, _COLLECT_WAIT_S)
                if answered is None:
                    self._ask_again()
                else:
                    self._settle(answered)
        except SynthRayError as error:
            self._end_with(error)
        finally:
            self._is_collecting = False

    def _ask_again(self) -> None:
        """Ask everything again, as a client that the replica does not know."""
        self._client = uuid.uuid4().hex
        self._cancelled = []
        self._outbox = [(number, prompt) for number, (prompt, _) in self._waiting.items()]
        self._start()

    def _settle(self, answered: Sequence[Answered]) -> None:
        for number, result in answered:
            _, future = self._waiting.get(number, (None, None))
            if future is None or future.done():
                continue
            if isinstance(result, SynthRayError):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _end_with(self, error: SynthRayError) -> None:
        self._end = error if isinstance(error, EngineDied) else LinkEnded(str(error))
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(self._end)
