from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.meter.metrics import BY_NAME, MAX_SERIES, METRICS, SHOWN_REPLICAS, Readings
from synth_ray.meter.tally import PUBLISHING, ReplicaLoad, Tally
from synth_ray.meter.telemetry import MAX_CHUNK_SPANS, ChunkSpans
from synth_ray.meter.waits import Moment, Wait, seconds_by_wait
from synth_ray.records import FAILED, Reason
from synth_ray.storage.retry import Retry, StoreCalls, Transient, store_calls

ROLES = ("judge", "reward", "embedding", "user")


def readings(times: list[float]) -> Readings:
    """`times[0]` is the time of both clocks."""
    return Readings(usd_budget=20.0, store=lambda: StoreCalls(5, 2, 1), clock=lambda: times[0], wall=lambda: 1e9 + times[0])


def full_tally(numbers: range) -> Tally:
    """Everything that can have a value has one: every reason, four pools, and these replicas."""
    failed = Counter({reason.value: 1 for reason in FAILED})
    return Tally(
        accepted=7,
        rejected=Counter({reason.value: 2 for reason in Reason if reason not in FAILED}),
        failed=failed,
        tokens=Counter(prompt=10, completion=20, cached=3, reasoning=4, estimated=5, nano_usd=9, judge_prompt=6),
        requests_planned=100,
        requests_earlier=10,
        requests_done=20,
        rows_wanted=50,
        usd=3.0,
        replicas=2,
        replicas_lost=3,
        pools=dict.fromkeys(ROLES, 2),
        pools_starting=dict.fromkeys(ROLES, 1),
        pools_lost=Counter(judge=1),
        replica_loads={n: ReplicaLoad(("teacher", *ROLES)[n % 5], 3, 1, 1000 * n) for n in numbers},
        seconds=Counter({wait.value: 1.5 for wait in Wait}),  # type: ignore[arg-type]
        chunks_earlier=2,
        chunks_planned=5,
        chunks_committed=3,
        chunks_admitted=4,
    )


def test_a_job_never_has_more_series_than_allowed_however_many_replicas_come_and_go() -> None:
    """Series live on after their replica: those of all numbers that a run ever had count together."""
    times, seen = [0.0], set()
    reading = readings(times)
    for start in range(0, 400, 20):
        times[0] += 30
        tally = full_tally(range(start, start + 20))
        tally.slots_done = start  # it goes on, so that there are rates
        reading.observe(tally)
        values = reading.values()
        assert all(math.isfinite(value) for value in values.values())
        seen |= set(values)
    assert len(seen) <= MAX_SERIES
    assert {name for name, _ in seen} == {metric.name for metric in METRICS}
    assert all(len(labels) == len(BY_NAME[name].labels) for name, labels in seen)
    replicas = {labels[1] for name, labels in seen if name.startswith("replica_") and len(labels) == 2}
    assert replicas == {"others", *map(str, range(SHOWN_REPLICAS))}


def test_values_are_the_tallys_and_those_of_the_moment_end_with_the_run() -> None:
    times = [0.0]
    reading = readings(times)
    times[0] = 5.0
    tally = full_tally(range(2))
    tally.replica_loads[0] = ReplicaLoad("teacher", 3, 1, 500)
    reading.observe(tally)
    reading.values()
    times[0] = 15.0
    tally.replica_loads[0] = ReplicaLoad("teacher", 4, 0, 900)
    reading.observe(tally)
    values = reading.values()
    assert values["replica_tokens_per_second", ("teacher", "0")] == 40.0
    assert values["replicas", ("teacher", "lost")] == 2 and values["replicas", ("judge", "lost")] == 1
    assert values["requests", ("done",)] == 30 and values["chunks", ("planned",)] == 7 and values["chunks", ("committed",)] == 5
    assert values["rows", ("failed",)] == len(FAILED) and values["rows_by_reason", ("failed", "no_answer")] == 1
    assert values["stage", ("generating",)] == 1 and values["stage_seconds", ("preparing",)] == 5
    assert values["frontier_timestamp_seconds", ()] == 1e9 + 5 and values["updated_timestamp_seconds", ()] == 1e9 + 15
    assert values["usd_budget", ()] == 20 and values["store_calls", ("retried",)] == 2
    tally.stage = PUBLISHING
    reading.observe(tally)
    times[0] = 18.0
    reading.enter("ended")
    ended = reading.values()
    assert ended["stage", ("ended",)] == 1 and ended["stage_seconds", ("publishing",)] == 3 and ended["active", ()] == 0
    for name, labels in (("replica_running", ("teacher", "0")), ("replicas", ("teacher", "up")), ("requests", ("in_flight",))):
        assert ended[name, labels] == 0
    assert (ended["rows", ("accepted",)], ended["usd", ()], ended["replicas", ("teacher", "lost")]) == (7, 3.0, 2)


moments = st.builds(
    Moment,
    elapsed_s=st.floats(0, 1e4),
    planning_s=st.floats(0, 1e4),
    admitting_s=st.floats(0, 1e4),
    replicas=st.integers(0, 3),
    full_share=st.floats(0, 1),
    all_planned=st.booleans(),
    is_held=st.booleans(),
    is_staging=st.booleans(),
)


@given(moments)
def test_the_seconds_of_a_moment_add_up(moment: Moment) -> None:
    seconds = seconds_by_wait(moment)
    assert math.isclose(sum(seconds.values()), moment.elapsed_s) and min(seconds.values()) >= 0


@pytest.mark.parametrize(
    ("changes", "wait"),
    [
        ({"replicas": 0}, Wait.STARTING),
        ({"admitting_s": 0.9}, Wait.ADMISSION),
        ({"planning_s": 0.9}, Wait.PLANNING),
        ({"all_planned": True}, Wait.TAIL),
        ({"is_held": True, "is_staging": True}, Wait.STAGING),
        ({"is_held": True}, Wait.OLDEST_CHUNK),
        ({}, Wait.HANDING_OUT),
    ],
)
def test_hungry_replicas_have_one_cause(changes: dict[str, Any], wait: Wait) -> None:
    calm = {"elapsed_s": 1.0, "planning_s": 0.0, "admitting_s": 0.0, "replicas": 2, "full_share": 0.25}
    moment = Moment(**{**calm, "all_planned": False, "is_held": False, "is_staging": False, **changes})
    assert seconds_by_wait(moment)[wait] == (1.0 if wait == Wait.STARTING else 0.75)


@given(st.lists(st.integers(1, 40), max_size=3000))
def test_the_spans_of_chunks_are_bounded_and_leave_no_chunk_out(steps: list[int]) -> None:
    spans: list[dict[str, int]] = []
    made = ChunkSpans(lambda _name, _parent, _began, facts: spans.append(facts), now_ns=lambda: 0)
    tally = Tally()
    for step in steps:
        tally.chunks_admitted += step
        tally.accepted += 2 * step
        made.observe(tally, None)
    made.end(None)
    assert len(spans) <= MAX_CHUNK_SPANS
    assert sum(span["synth_ray.chunks"] for span in spans) == tally.chunks_admitted
    assert sum(span["synth_ray.rows"] for span in spans) == tally.slots


def test_requests_to_a_store_are_counted() -> None:
    before = store_calls()
    answers = iter([Transient("busy"), Transient("busy"), 3])

    def act(_: int) -> int:
        answer = next(answers)
        if isinstance(answer, Transient):
            raise answer
        return answer

    Retry(sleep=lambda _: None).call(act, name="x")
    after = store_calls()
    assert (after.sent - before.sent, after.retried - before.retried, after.given_up - before.given_up) == (1, 2, 0)
