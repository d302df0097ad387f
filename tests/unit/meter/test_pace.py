"""The facts of a run's progress: rates are of the last minute of this run, and no number is one that JSON has not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.meter.pace import Pace, ProgressFacts
from synth_ray.meter.tally import Tally
from tests.unit.meter.test_spending import Clock


def run_at(rate: float, seconds: float, tally: Tally, pace: Pace, clock: Clock) -> ProgressFacts:
    """`rate` requests a second, each with a slot of ten tokens, all accepted at once."""
    begin, done = clock.now, tally.requests_done
    while clock.now < begin + seconds:
        clock.now += 0.25
        tally.requests_done = tally.slots_done = done + int((clock.now - begin) * rate)
        tally.tokens["completion"] = 10 * tally.requests_done
        tally.accepted = tally.slots_done + tally.slots_earlier
        tally.replica_s = clock.now
        pace.observe(tally)
    return pace.facts()


def test_the_time_left_follows_the_rate_of_the_last_minute_not_the_start() -> None:
    clock, tally = Clock(), Tally(requests_planned=10_000)
    pace = Pace(clock)
    clock.now = 600.0  # the replicas take ten minutes to start
    pace.observe(tally)
    assert pace.facts().eta_s is None and pace.facts().completion_tokens_s is None
    fast = run_at(10.0, 300.0, tally, pace, clock)
    assert fast.requests_s == pytest.approx(10.0, rel=0.02) and fast.completion_tokens_s == pytest.approx(100.0, rel=0.02)
    assert fast.eta_s == pytest.approx(700.0, rel=0.02)
    slow = run_at(2.0, 65.0, tally, pace, clock)
    assert slow.requests_s == pytest.approx(2.0, rel=0.05)
    assert slow.eta_s == pytest.approx((10_000 - tally.requests_done) / 2, rel=0.05)


def test_what_earlier_runs_committed_is_done_but_not_part_of_the_rate() -> None:
    clock, tally = Clock(), Tally(requests_planned=10_000, requests_earlier=9_000)
    facts = run_at(10.0, 50.0, tally, pace := Pace(clock), clock)
    assert (facts.done, facts.share) == (9_500, 0.95)
    assert facts.eta_s == pytest.approx(50.0, rel=0.05)
    assert pace.facts().record()["total"] == 10_000


def test_the_time_left_to_a_target_reckons_with_the_share_that_is_accepted() -> None:
    clock, tally = Clock(), Tally(rows_wanted=1000, in_flight=4)
    pace = Pace(clock)
    for _ in range(60):
        clock.now += 1.0
        tally.slots_done += 20
        pace.observe(tally)
        assert pace.facts().eta_s is None  # no chunk is admitted, so nobody knows how many rows are accepted
    tally.accepted, tally.rejected["near_duplicate"] = 500, 500
    facts = pace.facts()
    assert (facts.unit, facts.done, facts.total) == ("rows", 500, 1000)
    assert facts.eta_s == pytest.approx((1000 - 200) / 20, rel=0.02)  # 1,000 slots are wanting, 200 wait for admission
    tally.slots_done += 5000
    pace.observe(tally)
    assert (pace.facts().eta_s or 0.0) > 0  # enough was answered, and what is in flight is still to come


def test_the_expected_cost_goes_on_as_it_does_now() -> None:
    clock, tally = Clock(), Tally(requests_planned=1000, usd=5.0)
    pace = Pace(clock)
    for _ in range(100):
        clock.now += 1.0
        tally.requests_done += 5
        tally.usd = (tally.usd or 0) + 0.02
        tally.replica_s += 2.0
        pace.observe(tally)
    facts = pace.facts()
    assert facts.usd == pytest.approx(7.0) and facts.usd_expected == pytest.approx(9.0, rel=0.01)
    assert facts.replica_hours_expected == pytest.approx(400 / 3600, rel=0.02)


counts = st.integers(0, 5000)
ticks = st.lists(
    st.tuples(st.floats(0, 500), counts, counts, counts, st.integers(0, 50), st.floats(0, 1e6), st.booleans()), max_size=40
)


@given(ticks, st.sampled_from(["requests", "rows", "chunks"]), st.integers(0, 10**6))
def test_no_fact_is_negative_or_not_a_number_and_what_is_done_only_grows(
    ticks: list[tuple[float, int, int, int, int, float, bool]], unit: str, total: int
) -> None:
    clock, tally = Clock(), Tally()
    tally.requests_planned = total if unit == "requests" else None
    tally.rows_wanted = total if unit == "rows" else None
    pace, done = Pace(clock), 0
    for seconds, requests, accepted, rejected, in_flight, usd, observed in ticks:
        clock.now += seconds
        tally.requests_done += requests
        tally.slots_done += accepted + rejected
        tally.accepted += accepted
        tally.rejected["echo"] += rejected
        tally.tokens["completion"] += requests
        tally.in_flight, tally.chunks_admitted = in_flight, tally.chunks_admitted + 1
        tally.usd = (tally.usd or 0.0) + usd
        if observed:
            pace.observe(tally)
        record = pace.facts().record()
        json.dumps(record, allow_nan=False)
        numbers = [record["eta_s"], record["requests_s"], *record["cost"].values(), *record["tokens_s"].values(), record["share"]]
        assert all(number >= 0 for number in numbers if number is not None)
        assert (record["share"] or 0) <= 1
        if observed:
            assert record["done"] >= done
            done = record["done"]
        if record["cost"]["usd_expected"] is not None:
            assert record["cost"]["usd_expected"] >= record["cost"]["usd"] - 1e-3
    assert len(pace._samples) <= 241
