"""Order and routing of requests, and each asked once, with simulated replicas under the real driver."""

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


def long_prompt(document: int) -> str:
    return f"document {document} " + "x" * 600


moves = st.tuples(
    st.sampled_from(["add", "take", "chunk", "end", "return", "lost", "longest"]), st.integers(0, 2), st.integers(1, 7)
)


@given(total=st.integers(1, 40), moves=st.lists(moves, max_size=60))
def test_each_request_is_taken_once_for_any_order_of_queue_operations(total: int, moves: list[tuple[str, int, int]]) -> None:
    lengths = LengthPredictor()
    pending = RequestQueue(lengths)
    unqueued = [request(i, long_prompt(i % 3) if i % 2 else "short") for i in range(total)]
    in_flight: dict[int, list[Request]] = {0: [], 1: [], 2: []}
    ended: list[Request] = []
    for move, replica, n in moves:
        match move:
            case "add":
                pending.add(unqueued[:n])
                del unqueued[:n]
            case "take":
                in_flight[replica] += pending.take(replica, n)
            case "chunk":
                in_flight[replica] += pending.take_from_chunk(n, 3)
            case "end":
                lengths.observe((r, 10.0 * n) for r in in_flight[replica][:n])
                ended += in_flight[replica][:n]
                del in_flight[replica][:n]
            case "return":
                pending.put_back(in_flight[replica])
                in_flight[replica] = []
            case "lost":
                pending.on_replica_gone(replica)
            case "longest":
                pending.longest_first()
        assert len(pending) + len(unqueued) + sum(map(len, in_flight.values())) + len(ended) == total
    pending.add(unqueued)
    ended += [r for requests in in_flight.values() for r in requests] + pending.take(0, total)
    assert sorted(r.id for r in ended) == sorted(f"r{i}" for i in range(total))


def test_requests_with_a_shared_prefix_go_to_the_replica_that_has_it_cached() -> None:
    pending = RequestQueue(LengthPredictor())
    pending.add(request(i, long_prompt(i % 4)) for i in range(40))
    first, second = pending.take(0, 10), pending.take(1, 10)
    assert {r.seed.fields["prompt"] for r in first} == {long_prompt(0)}
    assert {r.seed.fields["prompt"] for r in second} == {long_prompt(1)}
    pending.add(request(i, long_prompt(1)) for i in range(40, 44))
    assert {r.seed.fields["prompt"] for r in pending.take(0, 10)} == {long_prompt(2)}
    assert {r.seed.fields["prompt"] for r in pending.take(1, 14)} == {long_prompt(3), long_prompt(1)}


def test_requests_predicted_to_be_longest_go_first_once_all_are_planned() -> None:
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
    join_step=st.integers(0, 40),
)
def test_replicas_that_join_at_any_time_answer_every_request_once(slots: list[int], lengths: list[int], join_step: int) -> None:
    seeds = [seed(i, prompt="p" * (i % 50)) for i in range(len(lengths))]
    replicas = [SimulatedReplica(n) for n in slots]
    pool, driver = simulate(
        seeds,
        replicas,
        lambda r: lengths[int(r.id[1:])],
        chunk=16,
        joins=[0, *[join_step] * (len(slots) - 1)],
    )
    assert len(pool.ended_at) == len(lengths)
    assert driver.dispatcher.in_flight == driver.dispatcher.queued == 0


def test_replicas_stay_full_until_the_tail_and_idle_replicas_are_released() -> None:
    tokens = [20 + (i * 37) % 80 for i in range(2_000)]
    seeds = [seed(i, prompt="p" * t) for i, t in enumerate(tokens)]
    pool, _ = simulate(seeds, [SimulatedReplica(16) for _ in range(4)], lambda r: tokens[int(r.id[1:])], teachers=4)
    steps = sum(replica.before_tail[0] * replica.slots for replica in pool.replicas)
    assert sum(replica.before_tail[1] for replica in pool.replicas) / steps >= 0.97
    assert pool.steps <= 1.1 * sum(tokens) / 64 + 100
    assert len(pool.released) >= 3


@pytest.mark.parametrize("joins", [True, False])
def test_a_replica_that_joins_late_gets_requests_queued_at_others(joins: bool) -> None:
    seeds = [seed(i, prompt="p") for i in range(64)]
    pool, _ = simulate(seeds, [SimulatedReplica(8), SimulatedReplica(8)], lambda _: 40, joins=[0, 40 if joins else 1 << 30])
    assert pool.steps <= (200 if joins else 400)


def test_a_request_a_thousand_times_slower_leaves_its_replica_full_and_is_answered() -> None:
    tokens = [20 + (i * 37) % 80 for i in range(2_000)]
    tokens[7] = 60_000
    seeds = [seed(i, prompt=f"p{i}") for i in range(len(tokens))]
    pool, _ = simulate(seeds, [SimulatedReplica(32)], lambda r: tokens[int(r.id[1:])], chunk=64)
    steps, running = pool.replicas[0].before_tail
    assert steps > 2_000
    assert running / (32 * steps) >= 0.95
    assert len(pool.ended_at) == 2_000
    assert 60_000 <= pool.steps <= 60_100
