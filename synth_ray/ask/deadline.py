"""When a request is given up: after the job's own time, or after a time that follows from its answers' length and the speed of
its engines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from synth_ray.ask.teacher import Load

LEAST_S = 600.0
"""A deadline that follows from the speed is never shorter."""
_PATIENCE = 4.0
"""How many times longer than at the mean speed a request may take: it waits for a place in the engine, and may be slow."""
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

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Raises TimeoutError when what is inside takes longer than `seconds`, as they are at that time, while the clock goes."""
        loop = asyncio.get_running_loop()
        began = loop.time() - self._stood_s()
        timers: list[asyncio.TimerHandle] = []
        async with asyncio.timeout(None) as timeout:

            def look() -> None:
                end = began + self._stood_s() + self.seconds
                if end <= loop.time():
                    timeout.reschedule(end)
                else:
                    timers[:] = [loop.call_at(max(end, loop.time() + _LOOK_S), look)]

            look()
            try:
                yield
            finally:
                for timer in timers:
                    timer.cancel()
