"""Replicas are moved between pools towards the best division, and only where that pays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pools import RATIOS, TOTALS, Tandem, measure
from synth_ray.drive.pool_sizer import Move, PoolSizer, PoolState


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_from_the_worst_division_the_pools_come_to_the_speed_of_the_best(ratio: tuple[float, float], total: int) -> None:
    run = measure(ratio, total, seed=total, run_s=1500.0, warm_s=700.0)
    assert float(str(run["share of the best, warm"])) >= 0.95
    assert float(str(run["without moving"])) < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_the_best_division_stays_as_it_is(seed: int) -> None:
    run = Tandem(4, 4, (1, 1), seed=seed, sized=True, run_s=1500.0).run()
    assert run.sizes == [(0.0, 4, 4)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def advised(
    sizes: tuple[int, int], work_s: tuple[float, float], *, left: float | None, start_s: float, changing: int = 0
) -> Move | None:
    """What is advised after a thousand requests that took `work_s` replica-seconds in each pool."""
    clock = Clock()
    sizer = PoolSizer(clock)
    names = ("teacher", "judge")
    first = {name: PoolState(up, 0, 0.0) for name, up in zip(names, sizes, strict=True)}
    assert sizer.advise(first, requests=0, in_flight=0, left=left, start_s=start_s) is None
    clock.now = 1000 * max(work / up for work, up in zip(work_s, sizes, strict=True))
    later = {name: PoolState(up, changing, 1000 * work) for name, up, work in zip(names, sizes, work_s, strict=True)}
    return sizer.advise(later, requests=1000, in_flight=10, left=left, start_s=start_s)


@settings(max_examples=200)
@given(
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    work_s=st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)),
    left=st.one_of(st.none(), st.floats(0, 1e6)),
    start_s=st.floats(0, 600),
)
def test_a_move_makes_the_slowest_pool_faster_and_leaves_each_pool_a_replica(
    sizes: tuple[int, int], work_s: tuple[float, float], left: float | None, start_s: float
) -> None:
    move = advised(sizes, work_s, left=left, start_s=start_s)
    if move is None:
        return
    now = {"teacher": sizes[0], "judge": sizes[1]}
    work = {"teacher": work_s[0], "judge": work_s[1]}
    then = {**now, move.origin: now[move.origin] - move.replicas, move.target: now[move.target] + move.replicas}
    assert min(then.values()) >= 1
    assert min(then[name] / work[name] for name in then) > min(now[name] / work[name] for name in now)


def test_a_move_must_pay_for_the_start_and_nothing_moves_while_anything_starts() -> None:
    assert advised((3, 1), (1.0, 3.0), left=1e6, start_s=60.0) == Move("teacher", "judge", 2)
    assert advised((3, 1), (1.0, 3.0), left=10.0, start_s=60.0) is None
    assert advised((3, 1), (1.0, 3.0), left=1e6, start_s=60.0, changing=1) is None
    assert advised((2, 2), (1.0, 1.01), left=1e6, start_s=0.0) is None
