"""A run's cost is counted once, kept, and stops it before the budget is exceeded; the roofline is given or says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.teacher import ModelSize, TeacherFacts
from synth_ray.job.running import Budget
from synth_ray.meter.costs import COSTS, CostRecords
from synth_ray.meter.roofline import Peak, Work, peak_of, roofline
from synth_ray.meter.spending import Spending
from synth_ray.storage import open_storage


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    max_usd=st.floats(0.01, 0.5),
    earlier=st.floats(0, 0.3),
    moves=st.lists(st.tuples(st.sampled_from(["ready", "lost", "answered"]), st.integers(0, 3)), max_size=30),
    turn=st.floats(0.2, 0.5),
)
def test_a_stopped_run_has_not_passed_its_budget(
    max_usd: float, earlier: float, moves: list[tuple[str, int]], turn: float
) -> None:
    clock = Clock()
    spending = Spending(Budget(gpu_hour_usd=3.0, max_usd=max_usd), clock, earlier={"usd": earlier})
    spending.begin()
    spending.on_ready(9, 0.0)
    ready: set[int] = set()
    for _ in range(100_000):
        if spending.stop_reason():
            break
        before = spending.usd_all_runs
        move, replica = moves.pop() if moves else ("answered", 0)
        if move == "ready" and replica not in ready:
            spending.on_ready(replica, 0.0)
            ready.add(replica)
        elif move == "lost" and replica in ready:
            spending.on_replica_gone(replica)
            ready.discard(replica)
        elif move == "answered":
            spending.on_answered(3)
        assert spending.usd_all_runs >= before - 1e-9
        clock.now += turn
    unreserved = turn / 3600 * 3.0  # a replica that became ready between two checks had no cost reserved
    assert earlier >= max_usd or spending.usd_all_runs <= max_usd + unreserved


def test_waiting_for_a_place_costs_nothing_and_loading_costs_as_much_for_the_first_as_for_others() -> None:
    clock = Clock()
    spending = Spending(Budget(gpu_hour_usd=3600.0, max_usd=1000.0, max_seconds=5000), clock)
    spending.begin()
    clock.now = 4000.0
    assert (spending.usd, spending.stop_reason()) == (0.0, "")
    spending.on_ready(0, 90.0)
    assert spending.usd == 90.0
    clock.now += 10.0
    spending.on_ready(1, 80.0)
    assert spending.replica_seconds == 180.0
    clock.now += 5.0
    spending.on_replica_gone(0)
    spending.on_replica_gone(2)  # it was never up
    assert spending.replica_seconds == 190.0
    clock.now = 5000.0
    assert "budget.max_seconds" in spending.stop_reason(), "which runs from the start of the run"


def test_a_run_winds_down_once_requests_in_flight_would_use_up_the_budget() -> None:
    clock = Clock()
    spending = Spending(Budget(gpu_hour_usd=3600.0, max_usd=1000.0), clock)
    spending.begin()
    spending.on_ready(0, 0.0)
    clock.now = 1.0
    spending.on_answered(1)
    clock.now = 101.0
    spending.on_answered(1000)  # ten a second
    assert not spending.should_wind_down(1000)  # the requests in flight take 50 s more, $899 is left
    clock.now = 960.0
    assert spending.should_wind_down(1000)
    assert not spending.stop_reason()
    clock.now = 996.0
    assert "budget.max_usd" in spending.stop_reason()


def test_costs_of_earlier_runs_are_summed_once_and_a_killed_run_keeps_its_last_record(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    clock = Clock()
    first = CostRecords(storage, clock=clock)
    assert (first.runs, first.earlier.total()) == (1, 0)
    clock.now = 30.0
    first.save_if_due(lambda: {"usd": 1.0, "replica_s": 10.0})
    first._thread.shutdown()  # and killed
    second = CostRecords(storage, clock=clock)
    assert second.earlier["usd"] == 1.0
    assert second.close({"usd": 2.0, "replica_s": 5.0, "completion": 7}) == {"usd": 3.0, "replica_s": 15.0, "completion": 7}
    third = CostRecords(storage, clock=clock)
    assert (third.runs, third.earlier["usd"]) == (3, 3.0)
    assert [json.loads(storage.read(e.path)) for e in storage.list(COSTS)][2] == {}


LLAMA_8B = ModelSize(parameters=8_030_000_000, weight_bytes=16_060_000_000, kv_bytes=131_072, layers=32, heads=32, head_dim=128)


def test_the_roofline_agrees_with_a_published_case_and_names_the_bound() -> None:
    facts = TeacherFacts("vllm", "m", "", max_running=1333, max_model_len=4096, kv_tokens=400_000, size=LLAMA_8B)
    result = roofline(facts, Work(1000, 220_000, 200_000, 12_553.0), peak_of("NVIDIA H100 80GB HBM3", fp8=False))
    assert result["bound"] == "compute"
    assert result["roof_tokens_s"] == pytest.approx(29_125, rel=0.02)
    assert result["share"] == pytest.approx(0.43, abs=0.01)
    memory_bound = roofline(facts, Work(1000, 220_000, 200_000, 12_553.0), Peak(989e12, 0.2e12))
    assert memory_bound["bound"] == "memory"


@pytest.mark.parametrize("device", ["", "NVIDIA GeForce RTX 9999"])
def test_an_unknown_device_has_no_roofline_unless_the_job_gives_its_peaks(device: str) -> None:
    facts = TeacherFacts("vllm", "m", "", 64, 4096, kv_tokens=1000, size=LLAMA_8B, device=device)
    assert "cluster.peak_tflops" in roofline(facts, Work(1, 1, 1, 1.0), peak_of(device, fp8=False))["not_told"]
    assert peak_of(device, fp8=False, tflops=1.0, gb_s=1.0) == Peak(1e12, 1e9)
