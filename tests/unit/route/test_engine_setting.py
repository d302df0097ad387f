"""A sweep's setting as keys of the job: more engines on a GPU divide its memory and its price, and lose no GPU."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.device_memory import refuse_full_devices, sharing_replicas
from synth_ray.job.document import Job
from synth_ray.route.engine_setting import (
    ENGINES_PER_GPU,
    default_sweep,
    engines_on_device,
    job_with,
    keys_of,
    refuse_unfit_sweep,
    setting_of,
    tokens_per_dollar,
)
from synth_ray.route.engine_sweep import MIN_SPEEDUP, Measurement, best_of


def job(engine_args: dict[str, Any], cluster: dict[str, Any], price: float = 0.0) -> Job:
    return Job.model_validate(
        {
            "name": "tuned",
            "seeds": "s.jsonl",
            "recipe": "distill",
            "models": {"teacher": {"model": "Qwen/Qwen3-1.7B", "engine_args": engine_args}},
            "output": "out",
            "cluster": cluster,
            "budget": {"gpu_hour_usd": price},
        }
    )


@given(gpus=st.integers(1, 8), before=st.integers(1, 6), engines=st.integers(1, 6), said=st.sampled_from([None, 0.9, 0.6]))
def test_another_number_of_engines_keeps_the_gpus_their_price_and_what_is_used_of_their_memory(
    gpus: int, before: int, engines: int, said: float | None
) -> None:
    memory = {} if said is None else {"gpu_memory_utilization": said / before}
    part = {} if before == 1 else {"gpus_per_teacher": int(1e4 / before) / 1e4}
    old = job(memory, {"teachers": gpus * before, **part}, price=3.0 / before)
    new = job_with(old, {**setting_of(old, on_cpu=False), ENGINES_PER_GPU: engines}, on_cpu=False)
    new = Job.model_validate(new.model_dump())
    refuse_full_devices(new)
    assert engines_on_device(new, on_cpu=False) == engines
    assert new.cluster.teachers == gpus * engines
    assert new.budget.gpu_hour_usd * engines == pytest.approx(3.0, rel=1e-4)
    assert tokens_per_dollar(new, 100.0, on_cpu=False) == pytest.approx(tokens_per_dollar(old, 100.0, on_cpu=False), rel=1e-4)
    if engines > 1:
        [kind] = sharing_replicas(new)
        assert engines * kind.shares[0] == pytest.approx(said or 0.9, rel=0.01)


def test_engine_arguments_alone_leave_the_cluster_as_it_is() -> None:
    old = job({"max_num_seqs": 64}, {"teachers": 4, "gpus_per_teacher": 0.5}, price=1.5)
    setting = {**setting_of(old, on_cpu=False), "max_num_seqs": 256}
    assert keys_of(old, setting, on_cpu=False) == {"models.teacher.engine_args": {"max_num_seqs": 256}}
    assert job_with(old, setting, on_cpu=False).cluster == old.cluster


def test_a_price_or_none_ranks_by_what_one_accelerator_makes() -> None:
    old = job({"tensor_parallel_size": 2}, {}, price=6.0)
    assert tokens_per_dollar(old, 1000.0, on_cpu=False) == 1_200_000
    assert tokens_per_dollar(job({}, {}), 1000.0, on_cpu=False) is None
    one, two = Measurement({"a": 1}, tokens_s=1000.0), Measurement({"a": 2}, tokens_s=1000 * MIN_SPEEDUP * 1.5, devices=2)
    assert best_of([one, two]) is one
    assert best_of([two, one]) is one


def test_several_engines_are_tried_only_where_the_job_could_be_written_with_them() -> None:
    several = {ENGINES_PER_GPU: (1, 2)}
    assert ENGINES_PER_GPU in default_sweep(job({}, {}), on_cpu=False)
    assert ENGINES_PER_GPU not in default_sweep(job({}, {}), on_cpu=True)
    assert ENGINES_PER_GPU not in default_sweep(job({"tensor_parallel_size": 2}, {}), on_cpu=False)
    refuse_unfit_sweep(job({}, {}), several, on_cpu=False)
    refuse_unfit_sweep(job({}, {"engine": "local"}), several, on_cpu=True)
    with pytest.raises(JobError, match="would wait for a GPU"):
        refuse_unfit_sweep(job({}, {}), several, on_cpu=True)
    with pytest.raises(JobError, match=r"an engine on one accelerator .* got one on 2"):
        refuse_unfit_sweep(job({"tensor_parallel_size": 2}, {}), several, on_cpu=False)
    with pytest.raises(JobError, match="whole numbers from 1 as engines_per_gpu, got 0"):
        refuse_unfit_sweep(job({}, {}), {ENGINES_PER_GPU: (0, 2)}, on_cpu=False)
