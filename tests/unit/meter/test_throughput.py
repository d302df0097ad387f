"""What a replica tells of itself between answers changes its load, and nothing that is measured at answers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.job.running import Cluster
from synth_ray.meter.throughput import Throughput


def test_a_replica_that_only_tells_its_load_has_not_answered() -> None:
    now = [0.0]
    throughput = Throughput(Cluster(), lambda: now[0])
    throughput.begin()
    throughput.on_ready(0, TeacherFacts("vllm", "m", "", max_running=8, max_model_len=4096))
    throughput.tick(in_flight=8, queue_is_empty=True, window_binds=False)

    def tell(at: float, load: Load, answered: list[AnsweredRows]) -> dict[str, Any]:
        now[0] = at
        throughput.on_answered(0, answered, load)
        assert throughput.replica_loads()[0].running == load.running
        return throughput.summary()

    def busy(steps: int) -> Load:
        return Load(8, 0, steps=steps, running_sum=8 * steps)

    before = tell(10.0, busy(0), [])
    assert (before["first_answer_s"], before["tail_s"], before["replicas"][0]["requests"]) == (0.0, 0.0, 0)
    rows = AnsweredRows(0, (0,), pa.record_batch({"position": [0]}), {"prompt": 1, "completion": 10, "cached": 0})
    tell(20.0, busy(100), [rows])
    after = tell(30.0, Load(1, 0, steps=300, running_sum=1000), [])
    assert (after["first_answer_s"], after["tail_s"], after["replicas"][0]["occupancy"]) == (20.0, 0.0, 1.0)
    assert after["tokens_s"]["completion"] == 0.5  # 10 in the 20 s to the last answer
