"""When a request is given up: after the job's own time, or after a time that follows from its answers' length and the speed of
its engines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType

from synth_ray.ask.teacher import Load

LEAST_S = 600.0
"""A deadline that follows from the speed is never shorter."""
_PATIENCE = 4.0
"""How many times longer than at the mean speed a request may take: it waits for a place in the engine, and may be slow."""
IGNORED_S = 5.0
"""Seconds that a cancelled recipe may take to end."""
_LOOK_S = 0.05
"""While the clock stands, its end is looked for no more often."""
_TOLD_STEPS = 32
"""Steps of an engine from which on their mean duration is its speed."""


class Deadline:
    """Law: without a time of the job's own, no request is given up before all its tokens could have been made at the speed that
    the engines show, several times over; the speed counts at that moment, not when the request began.

    A token of one sequence takes one step of an engine that tells its steps. Others tell none, so the mean time of an answer's
    tokens counts too, from what `observe` was told; until it was told any, that of the slowest server that is not given up. The
    clock stands while no engine of a role is up.
    """

    def __init__(
        self,
        fixed_s: float | None,
        *,
        tokens: int,
        loads: Callable[[], Iterable[Load]] = lambda: (),
        slowest_token_s: float = 0.0,
        tools_s: float = 0.0,
        stood_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`tokens`: the most that the answers of one request may have in all. `loads`: of the engines, now. `slowest_token_s`:
        seconds that a token may take of which nothing is observed. `tools_s`: the longest that the tools of a request may run.
        `stood_s`: how long the clock stood, so far.
        """
        self._fixed_s = fixed_s
        self._tokens = tokens
        self._loads = loads
        self._slowest_token_s = slowest_token_s
        self._tools_s = tools_s
        self._stood_s = stood_s
        self._answer_s = 0.0
        self._answer_tokens = 0
        self._early: dict[Limit, None] = {}
        self._timed: asyncio.AbstractEventLoop | None = None

    def observe(self, seconds: float, tokens: int) -> None:
        """An answer of so many tokens took so long, waiting included."""
        self._answer_s += seconds
        self._answer_tokens += tokens

    @property
    def seconds(self) -> float:
        if self._fixed_s is not None:
            return self._fixed_s
        return max(LEAST_S, _PATIENCE * self._tokens * self._token_s()) + self._tools_s

    def _token_s(self) -> float:
        steps = [load.busy_s / load.steps for load in self._loads() if load.steps >= _TOLD_STEPS]
        observed = self._answer_s / self._answer_tokens if self._answer_tokens else self._slowest_token_s
        return max([*steps, observed])

    @property
    def text(self) -> str:
        """What to say of a request that was given up."""
        if self._fixed_s is not None:
            return f"not done after {self._fixed_s:g} s"
        return f"not done after {LEAST_S + self._tools_s:g} s, and {_PATIENCE:g} times what its answers take"

    def limit(self, on_ignored: Callable[[], None] = lambda: None) -> Limit:
        """Raises TimeoutError when what is inside takes longer than `seconds`, as they are at that time, while the clock goes.
        Yields whether it was this that raised one. `on_ignored` is called IGNORED_S later if what is inside goes on all the same.
        """
        return Limit(self, on_ignored)

    @property
    def least_s(self) -> float:
        """What `seconds` never fall below: until then there is nothing to look for."""
        return LEAST_S if self._fixed_s is None else self._fixed_s

    def stood_s(self) -> float:
        """How long the clock stood, so far."""
        return self._stood_s()

    def begin(self, limit: Limit) -> None:
        """Look at this request when it may be late. All wait for the same time, so one timer, for the oldest, is enough."""
        self._early[limit] = None
        if self._timed is not limit.loop:
            self._timed = limit.loop
            limit.loop.call_at(limit.entered + self.least_s, self._look_at_oldest)

    def end(self, limit: Limit) -> None:
        self._early.pop(limit, None)

    def _look_at_oldest(self) -> None:
        self._timed, loop = None, asyncio.get_running_loop()
        while self._early:
            limit = next(iter(self._early))
            if (due := limit.entered + self.least_s) > loop.time():
                self._timed = loop
                loop.call_at(due, self._look_at_oldest)
                return
            del self._early[limit]
            limit.look()


class Limit:
    """A `with` block of one request, in its task. Only one that may be late has a timer of its own: nearly all end before."""

    __slots__ = ("_began", "_cancelling", "_deadline", "_is_over", "_on_ignored", "_task", "_timer", "entered", "loop")

    def __init__(self, deadline: Deadline, on_ignored: Callable[[], None]) -> None:
        self._deadline, self._on_ignored = deadline, on_ignored
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def __enter__(self) -> Callable[[], bool]:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request has a deadline only in a task")
        self._task, self._cancelling = task, task.cancelling()
        self.loop = task.get_loop()
        self.entered = self.loop.time()
        self._began = self.entered - self._deadline.stood_s()
        self._deadline.begin(self)
        return lambda: self._is_over

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._deadline.end(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def look(self) -> None:
        """End the request if it is late, or look again when it may be."""
        loop, deadline = self.loop, self._deadline
        end = self._began + deadline.stood_s() + deadline.seconds
        if end <= loop.time():
            self._is_over = True
            self._task.cancel()
            self._timer = loop.call_later(IGNORED_S, self._on_ignored)
        else:
            self._timer = loop.call_at(max(end, loop.time() + _LOOK_S), self.look)
