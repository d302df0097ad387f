"""The share of failed slots: an exact bound, in plan order."""

from __future__ import annotations

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.rows import AnsweredRows, engine_failure, rows_by_chunk
from synth_ray.drive.failed_share import FailedShare, chance_of_at_least
from synth_ray.records import Draft, Outcome, Reason, Request, Seed


def requests(n: int) -> list[Request]:
    return [Request(f"r{position}", 0, position, Seed("s", "l", "train", {}), 1) for position in range(n)]


def ended(request: Request, *, fails: bool) -> AnsweredRows:
    if fails:
        return engine_failure(request, "HTTP 400")
    return rows_by_chunk([Outcome(request, [Draft([], "an answer")])])[0]


def share_of(failures: list[bool], limit: float, order: list[int] | None = None) -> FailedShare:
    share, planned = FailedShare(limit), requests(len(failures))
    share.on_planned(0, planned)
    for position in order if order is not None else range(len(failures)):
        share.on_answered(ended(planned[position], fails=failures[position]))
    return share


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_bound_is_the_exact_binomial_tail(failed: int, slots: int, limit: float) -> None:
    failed = min(failed, slots)
    exact = sum(comb(slots, k) * limit**k * (1 - limit) ** (slots - k) for k in range(failed, slots + 1))
    assert chance_of_at_least(failed, of=slots, share=limit) == pytest.approx(exact, rel=1e-6)


def test_twenty_failures_are_enough_and_nineteen_are_not() -> None:
    assert not share_of([True] * 19, 0.5).is_above_limit
    stopped = share_of([True] * 20, 0.5)
    assert (stopped.is_above_limit, stopped.is_total) == (True, True)
    assert stopped.message() == (
        "limits.max_failed_share: 20 of the first 20 slots failed, at most 50% may; most often engine_error (HTTP 400)"
    )
    assert not share_of([True] * 5_000, 1.0).is_above_limit


def test_a_share_at_the_limit_or_below_never_stops_a_run_of_any_length() -> None:
    draw = random.Random(3)
    share, planned = FailedShare(0.5), requests(2_000)
    share.on_planned(0, planned)
    for request in planned:
        share.on_answered(ended(request, fails=draw.random() < 0.4))
        assert not share.is_above_limit
    above = [draw.random() < 0.7 for _ in range(400)]
    assert share_of(above, 0.5).is_above_limit


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.randoms())
def test_the_order_of_the_ends_does_not_change_the_count(failures: list[bool], draw: random.Random) -> None:
    order = list(range(len(failures)))
    draw.shuffle(order)
    share = share_of(failures, 0.5, order)
    assert (share.slots, share.failed) == (len(failures), sum(failures))


def test_what_fails_at_once_does_not_count_before_the_slots_planned_earlier_have_ended() -> None:
    fails = [position % 10 == 9 for position in range(400)]
    quick = [position for position, fail in enumerate(fails) if fail]
    share = share_of(fails, 0.5, quick)
    assert (share.slots, share.failed, share.is_above_limit) == (0, 0, False)


def test_a_run_whose_answers_die_of_the_deadline_stops_with_that_advice() -> None:
    """A quarter is too much, and half of the first hundred far too much: the job's deadline is at fault, not the teacher."""

    def late(share: float, limit: float) -> FailedShare:
        counted, planned, draw = FailedShare(limit), requests(100), random.Random(5)
        counted.on_planned(0, planned)
        for request in planned:
            drafts = [Draft([], "", reason=Reason.DEADLINE, detail="late")] if draw.random() < share else [Draft([], "an answer")]
            counted.on_answered(rows_by_chunk([Outcome(request, drafts)])[0])
        return counted

    stopped = late(0.49, 0.5)
    assert stopped.is_above_limit
    assert stopped.message().startswith("limits.request_deadline_s: ")
    assert "leave it out" in stopped.message()
    assert not late(0.2, 0.5).is_above_limit
    assert not late(1.0, 1.0).is_above_limit  # who says that everything may fail is believed
