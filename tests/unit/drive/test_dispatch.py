"""What is asked where and in which order: each request once, by simulated replicas under the route's own driver."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulated import SimulatedReplica, seed, simulate
from synth_ray.drive.lengths import LengthPredictor
from synth_ray.drive.request_queue import RequestQueue
from synth_ray.records import Request


def request(number: int, text: str = "p") -> Request:
    return Request(f"r{number}", number // 8, number % 8, seed(number, prompt=text), slots=1)


def long(document: int) -> str:
    return f"document {document} " + "x" * 600


moves = st.tuples(
    st.sampled_from(["add", "take", "chunk", "end", "return", "gone", "longest"]), st.integers(0, 2), st.integers(1, 7)
)


@given(total=st.integers(1, 40), moves=st.lists(moves, max_size=60))
def test_whatever_is_added_put_back_and_taken_each_request_is_taken_once(total: int, moves: list[tuple[str, int, int]]) -> None:
    lengths = LengthPredictor()
    pending = RequestQueue(lengths)
    fresh = [request(i, long(i % 3) if i % 2 else "short") for i in range(total)]
    held: dict[int, list[Request]] = {0: [], 1: [], 2: []}
    ended: list[Request] = []
    for move, replica, n in moves:
        match move:
            case "add":
                pending.add(fresh[:n])
                del fresh[:n]
            case "take":
                held[replica] += pending.take(replica, n)
            case "chunk":
                held[replica] += pending.take_from_chunk(n, 3)
            case "end":
                lengths.observe((r, 10.0 * n) for r in held[replica][:n])
                ended += held[replica][:n]
                del held[replica][:n]
            case "return":
                pending.put_back(held[replica])
                held[replica] = []
            case "gone":
                pending.on_replica_gone(replica)
            case "longest":
                pending.longest_first()
        assert len(pending) + len(fresh) + sum(map(len, held.values())) + len(ended) == total
    pending.add(fresh)
    ended += [r for rest in held.values() for r in rest] + pending.take(0, total)
    assert sorted(r.id for r in ended) == sorted(f"r{i}" for i in range(total))


def test_requests_of_one_long_prefix_go_together_to_the_replica_that_has_it() -> None:
    pending = RequestQueue(LengthPredictor())
    pending.add(request(i, long(i % 4)) for i in range(40))
    first, second = pending.take(0, 10), pending.take(1, 10)
    assert {r.seed.fields["prompt"] for r in first} == {long(0)}
    assert {r.seed.fields["prompt"] for r in second} == {long(1)}
    pending.add(request(i, long(1)) for i in range(40, 44))
    assert {r.seed.fields["prompt"] for r in pending.take(0, 10)} == {long(2)}
    assert {r.seed.fields["prompt"] for r in pending.take(1, 14)} == {long(3), long(1)}


def test_what_was_learned_long_goes_first_once_all_is_planned() -> None:
    lengths = LengthPredictor()
    lengths.observe((request(1000 + i, "x" * size), 10.0 * size) for i, size in enumerate([20, 400] * 20))
    pending = RequestQueue(lengths)
    pending.add(request(i, "y" * (400 if i == 17 else 20)) for i in range(30))
    assert pending.take(0, 1)[0].id == "r0"
    pending.longest_first()
    assert pending.take(0, 1)[0].id == "r17"


@settings(max_examples=15)
@given(
    slots=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=120),
    late=st.integers(0, 40),
)
def test_any_replicas_joining_at_any_time_answer_every_request_once(slots: list[int], lengths: list[int], late: int) -> None:
    seeds = [seed(i, prompt="p" * (i % 50)) for i in range(len(lengths))]
    replicas = [SimulatedReplica(n) for n in slots]
    pool, driver = simulate(
        seeds,
        replicas,
        lambda r: lengths[int(r.id[1:])],
        chunk=16,
        joins=[0, *[late] * (len(slots) - 1)],
    )
    assert len(pool.ended_at) == len(lengths)
    assert driver.dispatcher.in_flight == driver.dispatcher.queued == 0


def test_replicas_are_full_until_the_tail_and_the_idle_ones_are_given_back() -> None:
    tokens = [20 + (i * 37) % 80 for i in range(2_000)]
    seeds = [seed(i, prompt="p" * t) for i, t in enumerate(tokens)]
    pool, _ = simulate(seeds, [SimulatedReplica(16) for _ in range(4)], lambda r: tokens[int(r.id[1:])], teachers=4)
    steps = sum(one.before_tail[0] * one.slots for one in pool.replicas)
    assert sum(one.before_tail[1] for one in pool.replicas) / steps >= 0.97
    assert pool.steps <= 1.1 * sum(tokens) / 64 + 100
    assert len(pool.released) >= 3


@pytest.mark.parametrize("level", [True, False])
def test_a_replica_that_joins_at_the_end_is_given_what_others_had_queued(level: bool) -> None:
    seeds = [seed(i, prompt="p") for i in range(64)]
    pool, _ = simulate(seeds, [SimulatedReplica(8), SimulatedReplica(8)], lambda _: 40, joins=[0, 40 if level else 1 << 30])
    assert pool.steps <= (200 if level else 400)


def test_beside_a_request_a_thousand_times_slower_a_replica_stays_full_and_the_request_is_accounted() -> None:
    tokens = [20 + (i * 37) % 80 for i in range(2_000)]
    tokens[7] = 60_000
    seeds = [seed(i, prompt=f"p{i}") for i in range(len(tokens))]
    pool, _ = simulate(seeds, [SimulatedReplica(32)], lambda r: tokens[int(r.id[1:])], chunk=64)
    steps, running = pool.replicas[0].before_tail
    assert steps > 2_000
    assert running / (32 * steps) >= 0.95
    assert len(pool.ended_at) == 2_000
    assert 60_000 <= pool.steps <= 60_100
