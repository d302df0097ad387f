"""When a request is given up: a fixed time, or one that follows from the speed of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import LEAST_S, Deadline
from synth_ray.ask.pooled_teacher import PooledTeacher
from synth_ray.ask.teacher import Load
from synth_ray.job.load import job_from
from synth_ray.job.models import Model


@given(st.integers(1, 100_000), st.floats(1e-4, 10.0), st.integers(32, 10_000))
def test_all_its_tokens_can_be_made_before_it_at_the_speed_of_the_engine(tokens: int, step_s: float, steps: int) -> None:
    deadline = Deadline(None, tokens=tokens, loads=lambda: [Load(steps=steps, busy_s=steps * step_s)])
    assert deadline.seconds >= max(LEAST_S, 2 * tokens * step_s)


@given(st.integers(1, 100_000), st.lists(st.tuples(st.floats(0.0, 1e4), st.integers(1, 10_000)), min_size=1))
def test_where_no_step_is_told_the_speed_of_the_answers_counts(tokens: int, answers: list[tuple[float, int]]) -> None:
    deadline = Deadline(None, tokens=tokens, loads=lambda: [Load()])
    for seconds, made in answers:
        deadline.observe(seconds, made)
    mean = sum(seconds for seconds, _ in answers) / sum(made for _, made in answers)
    assert deadline.seconds == pytest.approx(max(LEAST_S, 4 * tokens * mean))


@given(st.floats(1e-4, 10.0), st.floats(0.0, 1e4), st.integers(1, 10_000), st.floats(0.0, 1e4))
def test_the_slowest_of_all_engines_counts_and_the_time_of_tools_is_added(
    step_s: float, took_s: float, made: int, tools_s: float
) -> None:
    """One engine tells its steps, a server tells none: until it has answered, it may be as slow as a server can be."""
    deadline = Deadline(
        None, tokens=1000, loads=lambda: [Load(steps=50, busy_s=50 * step_s), Load()], slowest_token_s=0.2, tools_s=tools_s
    )
    assert deadline.seconds == pytest.approx(4 * 1000 * max(step_s, 0.2) + tools_s)
    deadline.observe(took_s, made)
    assert deadline.seconds == pytest.approx(max(LEAST_S, 4 * 1000 * max(step_s, took_s / made)) + tools_s)


def test_a_request_has_the_time_of_its_servers_and_of_the_tools_that_run() -> None:
    def seconds_of(models: dict[str, object], **recipe: object) -> float:
        job = job_from({"name": "n", "seeds": "s.jsonl", "recipe": recipe, "models": models, "output": "out"})
        return Asker.of(job, {})._deadline.seconds

    scripted: dict[str, object] = {"teacher": {"engine": "scripted"}}
    tool = {"function": "os.path:basename", "seconds": 40}
    assert seconds_of(scripted, name="converse", tools=[tool]) == LEAST_S + 32 * 40
    assert seconds_of(scripted, name="converse", tools=[{"name": "t", "parameters": {"type": "object"}}]) == LEAST_S
    served = {"teacher": {"engine": "endpoint", "model": "m", "endpoint": {"urls": "http://localhost:1/v1"}}}
    assert seconds_of(served, name="converse", turns=3) == 4 * 5 * 512 / 5


@given(st.floats(0.001, 1e6))
def test_a_time_of_the_jobs_own_holds_whatever_the_speed(seconds: float) -> None:
    deadline = Deadline(seconds, tokens=1000, loads=lambda: [Load(steps=100, busy_s=1e6)])
    assert deadline.seconds == seconds


def test_it_ends_what_takes_too_long_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed at the end counts: an engine that shows itself slower meanwhile gives more time."""
    monkeypatch.setattr("synth_ray.ask.deadline.LEAST_S", 0.05)
    speed = [0.0]

    def loads() -> Iterable[Load]:
        return [Load(steps=100, busy_s=100 * speed[0])]

    async def work(takes_s: float, slower: float) -> str:
        speed[0] = 0.0
        try:
            with Deadline(None, tokens=100, loads=loads).limit():
                speed[0] = slower
                await asyncio.sleep(takes_s)
        except TimeoutError:
            return "given up"
        return "done"

    assert asyncio.run(work(0.0, 0.0)) == "done"
    assert asyncio.run(work(30.0, 0.0)) == "given up"
    assert asyncio.run(work(0.3, 0.01)) == "done"  # 4 x 100 tokens x 10 ms
    assert asyncio.run(work(30.0, 0.0005)) == "given up"


def test_each_of_many_requests_side_by_side_has_its_own_time() -> None:
    """Half of them begin later; of each half some end in time, and what cancels one from outside is no deadline."""
    deadline = Deadline(2.0, tokens=1)

    async def work(waits_s: float, takes_s: float) -> str:
        await asyncio.sleep(waits_s)
        began = asyncio.get_running_loop().time()
        try:
            with deadline.limit():
                await asyncio.sleep(takes_s)
        except TimeoutError:
            return "given up" if asyncio.get_running_loop().time() - began >= 2.0 else "given up too early"
        return "done"

    async def all_of_them() -> list[Any]:
        tasks = [asyncio.create_task(work(waits_s, takes_s)) for waits_s in (0.0, 0.6) for takes_s in (0.0, 0.1, 30.0, 30.0)]
        asyncio.get_running_loop().call_later(0.3, tasks[2].cancel)
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, cancelled, *rest = asyncio.run(all_of_them())
    assert [first, second, *rest] == ["done", "done", "given up", "done", "done", "given up", "given up"]
    assert isinstance(cancelled, asyncio.CancelledError)
    assert asyncio.run(work(0.0, 30.0)) == "given up"  # on another loop


def test_its_clock_stands_while_a_pool_has_no_replica() -> None:
    """The time before is counted, the time without a replica is not, and the rest of the deadline is left after it."""

    async def work(*, comes_back: bool) -> str:
        pool = PooledTeacher(Model(engine="scripted"))
        up: dict[int, Any] = {0: SilentLink}
        pool.set_replicas(up)
        try:
            with Deadline(0.5, tokens=1, stood_s=lambda: pool.down_s).limit():
                pool.set_replicas({})
                await asyncio.sleep(1.0)
                if comes_back:
                    pool.set_replicas(up)
                    await asyncio.sleep(30.0)
        except TimeoutError:
            return "given up"
        return "done"

    assert asyncio.run(work(comes_back=False)) == "done"
    assert asyncio.run(work(comes_back=True)) == "given up"


class SilentLink:
    max_running = 1
