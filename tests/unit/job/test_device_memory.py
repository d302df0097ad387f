"""Engines that share an accelerator have parts of its memory that fit it together, or the job is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.device_memory import (
    KV_BYTES,
    USABLE,
    UTILIZATION,
    device_fraction,
    memory_notes,
    refuse_full_devices,
    replicas_on_device,
    sharing_replicas,
    utilizations,
)
from synth_ray.job.document import Job
from synth_ray.route.parts import share_of

JUDGE = {"model": "mistralai/Mistral-7B-Instruct-v0.3"}


def job(teacher: dict[str, Any], cluster: dict[str, Any], **more: Any) -> Job:
    models = {"teacher": {"model": "Qwen/Qwen3-8B", "engine_args": teacher}, **more}
    return Job.model_validate(
        {"name": "share", "seeds": "s.jsonl", "recipe": "distill", "models": models, "output": "out", "cluster": cluster}
    )


@given(replicas=st.integers(1, 12), engines=st.integers(1, 4), digits=st.sampled_from([2, 4, 16]))
def test_the_engines_of_all_replicas_on_a_device_have_the_usable_part_of_it_together(
    replicas: int, engines: int, digits: int
) -> None:
    fraction = int(10**digits / replicas) / 10**digits if replicas > 1 else 1.0
    shares = utilizations([{}] * engines, fraction)
    assert len(set(shares)) == 1
    assert replicas * sum(shares) <= USABLE + 1e-9
    assert replicas * sum(shares) >= USABLE - replicas * (10**-digits + engines * 1e-4)
    assert replicas_on_device(job({}, {"teachers": 99}), "teacher", fraction) >= replicas


@given(said=st.floats(0.05, 0.95), fraction=st.floats(0.1, 1.0))
def test_what_an_engine_says_itself_it_gets_and_the_others_have_the_rest(said: float, fraction: float) -> None:
    engines: list[dict[str, Any]] = [{UTILIZATION: said}, {}, {KV_BYTES: 10**9}]
    if USABLE * fraction - said < 2e-4:
        with pytest.raises(JobError, match="wanted a part of"):
            utilizations(engines, fraction)
        return
    first, *rest = utilizations(engines, fraction)
    assert first == said
    assert rest[0] == rest[1] > 0
    assert first + sum(rest) <= USABLE * fraction + 1e-9


@pytest.mark.parametrize(
    ("cluster", "on_cpu", "fraction"),
    [
        ({}, False, 1.0),
        ({"teachers": 8, "gpus_per_teacher": 1}, False, 1.0),
        ({"teachers": 8, "gpus_per_teacher": 0}, False, 1.0),
        ({"teachers": 8, "gpus_per_teacher": 0.25}, False, 0.25),
        ({"teachers": 8, "gpus_per_teacher": 0.25}, True, 0.25),
        ({"teachers": 4, "engine": "local"}, False, 0.25),
        ({"teachers": 4, "engine": "local"}, True, 1.0),
        ({"teachers": 4, "engine": "local", "gpus_per_teacher": 1}, False, 1.0),
    ],
)
def test_a_replicas_part_of_a_device_is_what_it_requests_or_one_of_its_threads(
    cluster: dict[str, Any], on_cpu: bool, fraction: float
) -> None:
    assert device_fraction(job({}, cluster), on_cpu=on_cpu) == fraction


@pytest.mark.parametrize(
    ("teacher", "cluster", "more", "total"),
    [
        ({UTILIZATION: 0.9}, {"teachers": 2, "gpus_per_teacher": 0.5}, {}, "1.8: 2 × 0.9 (teacher)"),
        ({UTILIZATION: 0.45}, {"teachers": 2, "gpus_per_teacher": 0.5}, {}, ""),
        ({UTILIZATION: 0.9}, {"teachers": 1, "gpus_per_teacher": 0.5}, {}, ""),  # the other half is someone else's
        ({UTILIZATION: 0.4}, {"teachers": 5, "gpus_per_teacher": 0.3333}, {}, "1.2: 3 × 0.4 (teacher)"),
        ({UTILIZATION: 0.6}, {"teachers": 2, "engine": "local"}, {}, "1.2: 2 × 0.6 (teacher)"),
        ({UTILIZATION: 0.6}, {"teachers": 1, "gpus_per_teacher": 1}, {"judge": JUDGE}, ""),
        (
            {UTILIZATION: 0.6},
            {"gpus_per_teacher": 1},
            {"judge": JUDGE | {"engine_args": {UTILIZATION: 0.5}}},
            "1.1: 1 × 0.6 (teacher), 1 × 0.5 (teacher)",
        ),
        ({UTILIZATION: 0.6}, {"gpus_per_teacher": 2}, {"judge": JUDGE | {"engine_args": {UTILIZATION: 0.6}}}, ""),
        (
            {UTILIZATION: 0.7},
            {"pools": "separate", "gpus_per_teacher": 0.5, "gpus_per_judge": 0.5},
            {"judge": JUDGE},
            "1.15: 1 × 0.7 (teacher), 1 × 0.45 (judge)",
        ),
        ({}, {"pools": "separate", "gpus_per_teacher": 0.5, "gpus_per_judge": 0.5}, {"judge": JUDGE}, ""),
        ({}, {"teachers": 8, "gpus_per_teacher": 0.25}, {"judge": JUDGE}, ""),
    ],
)
def test_a_job_whose_engines_want_more_than_a_device_together_is_refused(
    teacher: dict[str, Any], cluster: dict[str, Any], more: dict[str, Any], total: str
) -> None:
    made = job(teacher, cluster, **more)
    if not total:
        refuse_full_devices(made)
        return
    with pytest.raises(JobError) as refused:
        refuse_full_devices(made)
    assert f"got {total};" in str(refused.value)


@given(
    parts=st.tuples(*[st.sampled_from([None, 1, 0.75, 0.5, 0.3333, 0.25, 0.2, 0.1])] * 2),
    replicas=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    separate=st.booleans(),
    engine=st.sampled_from(["ray", "local"]),
)
def test_parts_that_are_not_said_by_hand_always_fit_a_device(
    parts: tuple[float | None, float | None], replicas: tuple[int, int], separate: bool, engine: str
) -> None:
    cluster = {"engine": engine, "teachers": replicas[0], "gpus_per_teacher": parts[0]}
    cluster |= {"pools": "separate", "judges": replicas[1], "gpus_per_judge": parts[1]} if separate else {}
    shared = job({}, cluster, judge=JUDGE)
    refuse_full_devices(shared)
    for kind in sharing_replicas(shared):
        assert kind.at_once * sum(kind.shares) <= USABLE + 1e-3


def test_an_engine_without_any_memory_left_is_refused() -> None:
    with pytest.raises(JobError, match=r"wanted a part of 0\.9 of the device left for 1 of 2 engines .* got 0\.95 taken"):
        refuse_full_devices(job({UTILIZATION: 0.95}, {"gpus_per_teacher": 1}, judge=JUDGE))


def test_what_engines_share_is_told() -> None:
    shared = job({}, {"teachers": 6, "gpus_per_teacher": 0.5}, judge=JUDGE)
    told = (
        "4 engines of teacher replicas, 2 at once, share an accelerator: each has 0.225 of its memory; they start one after the"
    )
    assert [note.removesuffix(" other") for note in memory_notes(shared)] == [told]
    assert "0.25 of VLLM_CPU_KVCACHE_SPACE" in memory_notes(shared, on_cpu=True)[0]
    assert memory_notes(job({}, {"teachers": 6})) == []
    assert memory_notes(job({}, {"teachers": 1, "gpus_per_teacher": 0.5})) == []


def test_the_parts_of_a_job_share_an_accelerator_as_its_replicas_do(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = job({}, {"engine": "local", "teachers": 4, "gpus_per_teacher": 0.25}).model_copy(deep=True)
    divided = whole.model_copy(update={"plan": whole.plan.model_copy(update={"parts": 2})})
    part = share_of(divided, 0)
    assert part.cluster.teachers == 2
    assert [kind.shares for kind in sharing_replicas(part)] == [kind.shares for kind in sharing_replicas(whole)] == [(0.225,)]
