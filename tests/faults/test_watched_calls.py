"""On Ray: what an actor raises in a call that nobody waits for is found, and so is a call that did not arrive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from synth_ray.cluster.watched_calls import WatchedCalls
from synth_ray.errors import SynthRayError

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def actor_class() -> Iterator[Any]:
    import ray

    class Taker:
        def take(self, number: int) -> None:
            if number == 3:
                raise ValueError("the text of a row")

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.remote(num_cpus=0)(Taker)
    ray.shutdown()


def found(calls: WatchedCalls) -> list[Any]:
    """What is told until every call has ended."""
    told, until = [], time.monotonic() + 60
    while len(calls) and time.monotonic() < until:
        told += calls.failures()
        time.sleep(0.01)
    return told


def test_the_error_of_a_call_that_nobody_waits_for_is_raised_without_its_text(actor_class: Any) -> None:
    calls, actor = WatchedCalls(), actor_class.remote()
    for number in range(3):
        calls.watch(actor.take.remote(number), 7, actor)
    assert (found(calls), calls.failures()) == ([], [])
    calls.watch(actor.take.remote(3), 7, actor)
    with pytest.raises(SynthRayError, match="ValueError") as raised:
        found(calls)
    assert "the text of a row" not in str(raised.value)
    assert calls.failures() == []


def test_a_call_that_did_not_arrive_is_told_with_its_actor(actor_class: Any) -> None:
    import ray

    calls, actor = WatchedCalls(), actor_class.remote()
    ray.get(actor.take.remote(0))
    ray.kill(actor)
    calls.watch(actor.take.remote(1), 7, actor)
    [(number, of, _)] = found(calls)
    assert (number, of) == (7, actor)
