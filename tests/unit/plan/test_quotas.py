from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.target import Balance
from synth_ray.plan.cells import Cells, apportion, cell_of
from synth_ray.plan.pool_sampler import PoolSampler
from synth_ray.plan.quotas import QuotaRules, Quotas
from synth_ray.records import Seed

SIZE, LAG = 16, 3


def quotas(wanted: list[int], **more: Any) -> Quotas:
    rules: dict[str, Any] = {"slots": 1, "lag": LAG, "close_below": 0.02, "max_requests": 100_000}
    rules |= {name: more.pop(name) for name in rules if name in more}
    return Quotas(wanted, **{"directed": True, "rules": QuotaRules(**rules)} | more)


def run(wanted: list[int], rates: list[float], order: random.Random, **more: Any) -> tuple[list[list[int]], Quotas]:
    """The whole plan; chunks are admitted in order, each at a moment that `order` draws."""
    plan = quotas(wanted, **more)
    chunks: list[list[int]] = []
    remaining = np.array(wanted)
    frontier = 0
    while True:
        requests = plan.next_requests(len(chunks), SIZE) if len(chunks) - frontier < 8 else None
        if requests is not None and not requests.any():
            return chunks, plan
        if requests is not None:
            plan.on_planned(len(chunks), requests)
            chunks.append(requests.tolist())
        while frontier < len(chunks) and (requests is None or order.random() < 0.5):
            draw = random.Random(frontier)
            good = [sum(draw.random() < rate for _ in range(n)) for n, rate in zip(chunks[frontier], rates, strict=True)]
            admitted = np.minimum(remaining, good)
            remaining -= admitted
            plan.on_admitted(frontier, admitted)
            frontier += 1
            requests = requests if requests is not None else np.zeros(1)


cells = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1.0, 0.7, 0.3, 0.1])), min_size=1, max_size=6)


@given(cells, st.integers(0, 2**32))
def test_the_plan_depends_on_admitted_counts_and_not_on_their_timing(cells_drawn: list[tuple[int, float]], seed: int) -> None:
    wanted, rates = [w for w, _ in cells_drawn], [r for _, r in cells_drawn]
    first, plan = run(wanted, rates, random.Random(seed), close_below=0.0)
    second, _ = run(wanted, rates, random.Random(seed + 1), close_below=0.0)
    assert first == second
    assert plan.accepted.tolist() == wanted
    assert plan.shortfall() == ""
    assert all(sum(chunk) <= SIZE for chunk in first)


@given(cells, st.integers(0, 2**32))
def test_no_cell_is_asked_more_requests_than_its_pool_has(cells_drawn: list[tuple[int, float]], seed: int) -> None:
    wanted, rates = [w for w, _ in cells_drawn], [r for _, r in cells_drawn]
    supply = [w // 2 * 3 for w in wanted]
    chunks, plan = run(wanted, rates, random.Random(seed), close_below=0.0, supply=supply, at_most=True)
    requested = np.sum(chunks, axis=0) if chunks else np.zeros(len(wanted))
    assert all(requested <= supply)
    assert all((plan.accepted == wanted) | (requested == supply))
    assert plan.shortfall() == ""
    _, short = run(wanted, rates, random.Random(seed), close_below=0.0, supply=supply)
    assert ("without more seeds" in short.shortfall()) == bool((short.accepted < wanted).any())


def test_cells_that_accept_everything_are_asked_exactly_their_targets() -> None:
    chunks, _ = run([40, 0, 7], [1.0, 1.0, 1.0], random.Random(1))
    assert np.sum(chunks, axis=0).tolist() == [40, 0, 7]


def test_a_cell_that_accepts_nothing_is_closed_and_reported_and_the_others_are_filled() -> None:
    chunks, plan = run([30, 30], [0.5, 0.0], random.Random(2))
    assert plan.closed.tolist() == [False, True]
    assert plan.accepted.tolist() == [30, 0]
    assert np.sum(chunks, axis=0)[1] < 128 + SIZE * (LAG + 1)
    assert plan.shortfall() == (
        "target: 30 of 60 rows accepted, 1 of 2 cells short; 1 closed, accepted at less than target.close_below"
    )


def test_requests_end_at_the_configured_maximum() -> None:
    chunks, plan = run([30], [0.1], random.Random(3), max_requests=50)
    assert np.sum(chunks) == 50
    assert "target.max_requests of 50 reached" in plan.shortfall()


@given(st.lists(st.integers(-1, 3), min_size=4, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
def test_no_request_is_drawn_twice_and_a_resumed_sampler_draws_the_same(pools: list[int], takes: list[int], data: Any) -> None:
    pool_of = np.array(pools)
    nonempty = [p for p in range(4) if p in pools]

    def order(epoch: int) -> Any:
        return np.random.default_rng(epoch).permutation(len(pools))

    def requests(take: int, at: int) -> Any:
        counts = np.zeros(4, np.int64)
        for pool in nonempty:
            counts[pool] = (take + at * pool) % 6
        return counts

    sampler = PoolSampler(order, pool_of, 4)
    chunks = [sampler.take(requests(take, at)) for at, take in enumerate(takes)]
    flat = [number for chunk in chunks for number in chunk]
    assert len(set(flat)) == len(flat)
    for chunk, (at, take) in zip(chunks, enumerate(takes), strict=True):
        seeds = [order(n // len(pools))[n % len(pools)] for n in chunk]
        assert np.bincount(pool_of[seeds], minlength=4).tolist() == requests(take, at).tolist()
    cut = data.draw(st.integers(0, len(takes)))
    resumed = PoolSampler(order, pool_of, 4)
    for at in range(cut):
        assert resumed.skip(chunks[at]).tolist() == requests(takes[at], at).tolist()
    assert [resumed.take(requests(takes[at], at)) for at in range(cut, len(takes))] == chunks[cut:]


def seeds(*labels: str | None) -> list[Seed]:
    return [Seed(str(i), str(i), "train", {"prompt": "?"} | ({"label": x} if x else {})) for i, x in enumerate(labels)]


def observed_cells(balance: Balance | None, *labels: str | None) -> Cells:
    cells = Cells(balance)
    assert len(list(cells.seed_codes.observe(seeds(*labels)))) == len(labels)
    return cells


def test_wanted_rows_by_cell() -> None:
    labels = ("b", "a", "b", None, "b")
    assert observed_cells(None, *labels).wanted_rows(9) == {"": 9}
    assert observed_cells(Balance(by="label", shares="equal"), *labels).wanted_rows(9) == {"a": 5, "b": 4}
    assert observed_cells(Balance(by="label", up_to=2), *labels).wanted_rows(None) == {"a": 1, "b": 0}
    cells = observed_cells(Balance(by="label", like={"path": "x"}), *labels)
    assert cells.wanted_rows(10, seeds("a", "b", "b", "b", None)) == {"a": 3, "b": 7}
    assert cells.seed_codes.cells_of_seeds(["a", "b"]).tolist() == [1, 0, 1, -1, 1]
    with pytest.raises(JobError, match="wanted a seed in every cell, got none in 1 of 2"):
        observed_cells(Balance(by="label", shares={"a": 1, "c": 1}), *labels).wanted_rows(10)
    with pytest.raises(JobError, match="name shares by value"):
        observed_cells(Balance(by="other", shares="equal"), *labels).wanted_rows(10)


VALUES = st.lists(st.text(" |\\a", max_size=5), min_size=2, max_size=2)


@given(st.lists(VALUES, min_size=2, max_size=30), st.sampled_from([["x"], ["x", "y"]]))
@example([["a | b", "c"], ["a", "b | c"], ["a |", "b"], ["a", "| b"], ["a \\| b", "c"]], ["x", "y"])
def test_different_values_are_different_cells_and_plain_ones_are_joined(rows: list[list[str]], by: list[str]) -> None:
    values = {tuple(row[: len(by)]) for row in rows}
    names = {cell_of(dict(zip(by, of_row, strict=True)), by): of_row for of_row in values}
    assert len(names) == len(values)
    assert all(name == " | ".join(of_row) for name, of_row in names.items() if not {"|", "\\"} & set("".join(of_row)))
    assert cell_of({"x": "a | b"}, ["x"]) == "a | b"


@given(st.dictionaries(st.text(max_size=3), st.floats(0.01, 100), min_size=1), st.integers(0, 10_000))
def test_parts_sum_to_the_whole_and_are_within_one_of_their_share(shares: dict[str, float], total: int) -> None:
    parts = apportion(shares, total)
    assert sum(parts.values()) == total
    assert all(abs(parts[name] - total * share / sum(shares.values())) <= 1 for name, share in shares.items())
