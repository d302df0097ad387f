"""A judge in a pool of its own, on threads and on Ray: whatever happens to its replicas, the dataset is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.ask.engine_start import PHASES
from synth_ray.ask.pooled_teacher import KILLER_DETAIL
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.prepare.feasibility import refuse_short_lag, refuse_slow_batches
from tests.conftest import TINY_TEACHER
from tests.faults.test_killed_actors import actors
from tests.route.test_route import job

TEACHER = {"latency_s": 0.01, "concurrency": 16, "fail_share": 0.02}
JUDGE = {"vocabulary": 50, "latency_s": 0.02, "concurrency": 8}
PLAN = {"requests": 240, "chunk_requests": 40, "window_chunks": 3}
SEPARATE = {"pools": "separate", "judges": 2}


def judged(folder: Path, *, judge: dict[str, Any] | None = None, teacher: dict[str, Any] | None = None, **more: Any) -> Any:
    """A job whose pairs are judged: three asks of the judge's for one of the teacher's."""
    document = job(folder, str(folder / "out"), plan=PLAN, **more)
    document |= {"recipe": {"name": "prefer", "n": 2}, "dedup": {}}
    document["models"] = {
        "teacher": {"engine": "scripted", "script": TEACHER | (teacher or {})},
        "judge": {"engine": "scripted", "script": JUDGE | (judge or {})},
    }
    return document


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest of a run whose judge lives in the teacher's replica."""
    return synth_ray.run(judged(tmp_path_factory.mktemp("shared"))).manifest


def test_in_pools_of_their_own_roles_make_the_same_dataset(shared: dict[str, Any], tmp_path: Path) -> None:
    tallies: list[Any] = []
    slow = {"latency_s": 0.2, "concurrency": 8}  # long enough for occupancy, which is looked at twice a second
    cluster = SEPARATE | {"teachers": 2, "min_teachers": 2}
    document = judged(tmp_path, judge=slow, cluster=cluster, budget={"gpu_hour_usd": 3600.0})
    manifest = synth_ray.run(document, watch=lambda tally: tallies.append(dict(tally.pools))).manifest
    assert manifest["dataset_digest"] == shared["dataset_digest"]
    assert manifest["rows"] == shared["rows"]
    assert set(manifest["engines"]) == {"teacher", "judge"}
    replicas = manifest["throughput"]["pools"]["judge"]
    assert (len(replicas), len(manifest["throughput"]["replicas"]), tallies[-1]) == (2, 2, {"judge": 2})
    assert sum(replica["asks"] for replica in replicas) > 240
    assert all(0 < replica["occupancy"] <= 1 for replica in replicas)
    up_s = sum(replica["up_s"] for replica in replicas)
    assert manifest["cost"]["replica_s"] > up_s  # the judge's seconds are paid for beside the teacher's


def test_judges_that_die_are_replaced_and_the_dataset_is_the_same(shared: dict[str, Any], tmp_path: Path) -> None:
    document = judged(tmp_path, judge={"die_after": 150}, cluster=SEPARATE, limits={"engine_replacements": 30})
    tallies: list[int] = []
    manifest = synth_ray.run(document, watch=lambda tally: tallies.append(tally.replicas_lost)).manifest
    assert manifest["dataset_digest"] == shared["dataset_digest"]
    assert tallies[-1] >= 2
    assert len(manifest["throughput"]["replicas"]) == 1  # no teacher replica was lost with them


def test_an_ask_that_kills_every_judge_fails_alone_and_a_pool_that_cannot_be_replaced_stops_the_run(tmp_path: Path) -> None:
    document = judged(tmp_path, judge={"poison": "Question 11 about"}, cluster=SEPARATE, limits={"engine_replacements": 30}) | {
        "plan": PLAN | {"requests": 120}
    }
    result = synth_ray.run(document)
    killed = duckdb.sql(f"select id from read_parquet('{tmp_path}/out/rejected/*.parquet') where detail = '{KILLER_DETAIL}'")
    assert (result.stopped, len(killed.fetchall())) == ("", 1)
    last = document | {"output": {"path": str(tmp_path / "last")}, "limits": {"engine_replacements": 0}}
    stopped = synth_ray.run(last | {"cluster": document["cluster"] | {"judges": 1}}).stopped
    assert "no replica of judge is left" in stopped


def test_pools_that_cannot_be_separate_are_refused(tmp_path: Path) -> None:
    document = judged(tmp_path, cluster=SEPARATE)
    wrong = [
        (document | {"models": {"teacher": document["models"]["teacher"]}}, "got no models.judge"),
        (
            document | {"models": document["models"] | {"judge": document["models"]["teacher"]}},
            "got the teacher's engine as judge",
        ),
        (document | {"cluster": {"replicas": 4}}, "wanted `pools: separate`"),
        (document | {"cluster": SEPARATE | {"replicas": 2}}, "wanted more than the judge's 2"),
        (document | {"cluster": SEPARATE | {"replicas": 5, "teachers": 2}}, "leave `teachers` out"),
    ]
    for refused, message in wrong:
        with pytest.raises(JobError, match=message):
            job_from(refused)


def test_only_one_replica_of_a_judge_sends_batches_and_the_lag_holds_what_waits_for_it(tmp_path: Path) -> None:
    document = judged(tmp_path, cluster=SEPARATE, limits={"request_deadline_s": 1e6})
    batches = {"engine": "batch_api", "model": "m", "family": "other", "batch": {"url": "http://127.0.0.1:1/v1"}}
    by_batch = job_from(document | {"models": document["models"] | {"judge": batches}})
    with pytest.raises(JobError, match=r"cluster\.judges: wanted one replica to send a provider's batches, got 2"):
        refuse_slow_batches(by_batch, requests=100)
    target = {"target": {"accepted": 100, "lag": 1}, "plan": {"chunk_requests": 64}}
    refuse_short_lag(job_from(document | target | {"cluster": {}}))
    with pytest.raises(JobError, match="wanted a lag of at least the 96 requests"):  # 4 × 16, and 2 × 2 × 8
        refuse_short_lag(job_from(document | target))


def elastic(folder: Path, **cluster: Any) -> Any:
    """A job whose judge has far more work than the teacher, and starts with one replica of four."""
    document = judged(folder, judge={"latency_s": 0.08, "concurrency": 4}, teacher={"concurrency": 4})
    document["cluster"] = {"engine": "local", "pools": "separate", "replicas": 4, "judges": 1, "in_flight": 8} | cluster
    return document


def sizes_of(document: Any) -> tuple[str, list[tuple[int, int]]]:
    """The digest of a run, and its sizes of the teacher's and the judge's pool, in turn."""
    sizes: list[tuple[int, int]] = []

    def watch(tally: Any) -> None:
        size = (tally.replicas, tally.pools.get("judge", 0))
        if not sizes or sizes[-1] != size:
            sizes.append(size)

    return str(synth_ray.run(document, watch=watch).manifest["dataset_digest"]), sizes


def test_replicas_move_to_the_pool_that_has_more_work_and_the_dataset_is_the_same(shared: dict[str, Any], tmp_path: Path) -> None:
    digest, sizes = sizes_of(elastic(tmp_path))
    assert digest == shared["dataset_digest"]
    assert (3, 1) in sizes
    assert (1, 3) in sizes
    assert all(sum(size) <= 4 for size in sizes)


@pytest.fixture(scope="module")
def private_ray() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    yield
    ray.shutdown()


ON_RAY = {"engine": "ray", "teachers": 2, "cpus_per_teacher": 0.5, "cpus_per_judge": 0.5}


@pytest.mark.ray
def test_on_ray_a_judge_that_is_killed_loses_no_row(shared: dict[str, Any], tmp_path: Path, private_ray: None) -> None:
    killed: list[int] = []
    lost: list[int] = []

    def watch(tally: Any) -> None:
        lost.append(tally.replicas_lost)
        if not killed and tally.requests_done >= 20 and (pids := actors("RoleActor")):
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    document = judged(tmp_path, judge={"latency_s": 0.2}, teacher={"latency_s": 0.05}, cluster=SEPARATE | ON_RAY)
    manifest = synth_ray.run(document, watch=watch).manifest
    assert manifest["dataset_digest"] == shared["dataset_digest"]
    assert (len(killed), lost[-1]) == (1, 1)
    assert sum(replica["asks"] for replica in manifest["throughput"]["pools"]["judge"]) > 0
    assert all(replica["requests"] for replica in manifest["throughput"]["replicas"][:1])


@pytest.mark.ray
def test_on_ray_replicas_move_between_pools_and_the_dataset_is_the_same(
    shared: dict[str, Any], tmp_path: Path, private_ray: None
) -> None:
    document = elastic(tmp_path, engine="ray", cpus_per_teacher=0.5, cpus_per_judge=0.5)
    document["models"]["judge"]["script"] |= {"latency_s": 0.3}
    digest, sizes = sizes_of(document)
    assert digest == shared["dataset_digest"]
    assert max(judges for _, judges in sizes) > 1
    assert all(sum(size) <= 4 for size in sizes)


@pytest.mark.vllm
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_judge_that_starts_says_what_it_is_doing(tmp_path: Path, engine: str, request: pytest.FixtureRequest) -> None:
    """The real engine, with random weights: its verdicts are worth nothing, its start is like any other."""
    cluster = SEPARATE | {"judges": 1}
    if engine == "ray":
        request.getfixturevalue("private_ray")
        cluster |= ON_RAY | {"teachers": 1}
    document = judged(tmp_path, cluster=cluster)
    args = {"dtype": "bfloat16", "max_num_seqs": 8, "max_model_len": 512, "enforce_eager": True, "load_format": "dummy"}
    document["models"]["judge"] = {"model": str(TINY_TEACHER), "engine_args": args}
    document["plan"] = {"requests": 2}
    told: list[tuple[str, str]] = []
    waiting: list[bool] = []

    def watch(tally: Any) -> None:
        told.extend(tally.phases.values())
        waiting.append(bool(tally.phases))

    synth_ray.run(document, watch=watch)
    assert {role for role, _ in told} == {"judge"}
    assert {phase for _, phase in told} <= set(PHASES)
    assert not waiting[-1]
