"""Growing a finished output: a longer plan, a retry of failed requests, another target. Nothing is asked twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.errors import JobError
from synth_ray.storage import open_storage
from tests.route.test_route import SCRIPT, job


def plan(requests: int) -> dict[str, Any]:
    return {"requests": requests, "chunk_requests": 40, "window_chunks": 3}


def commits(folder: Path) -> dict[str, bytes]:
    store = open_storage(str(folder / "out"))
    return {entry.path: store.read(entry.path) for entry in store.list("_synth/commits/")}


def test_a_longer_plan_needs_extend_and_then_asks_only_the_new_requests(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    synth_ray.run(job(tmp_path, out, plan=plan(100)))
    before = commits(tmp_path)
    with pytest.raises(JobError, match=r"plan\.requests \(was 100, is 180\); add --extend"):
        synth_ray.run(job(tmp_path, out, plan=plan(180)))
    with pytest.raises(JobError, match="not shrink"):
        synth_ray.run(job(tmp_path, out, plan=plan(60)), extend=True)
    longer = synth_ray.run(job(tmp_path, out, plan=plan(180)), extend=True).manifest
    assert before.items() <= commits(tmp_path).items()
    fresh = synth_ray.run(job(tmp_path, str(tmp_path / "fresh"), plan=plan(180))).manifest
    assert (longer["rows"], longer["dataset_digest"]) == (fresh["rows"], fresh["dataset_digest"])
    assert synth_ray.run(job(tmp_path, out, plan=plan(180))).manifest["dataset_digest"] == longer["dataset_digest"]


def test_requests_past_their_deadline_are_asked_again_in_new_chunks_and_replaced_by_id(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    slow = {**SCRIPT, "fail_share": 0.0, "latency_s": 0.002, "slow_share": 0.05, "slow_factor": 100_000}
    quick = {**slow, "latency_s": 0.0}

    def job_with(script: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        models = {"models": {"teacher": {"engine": "scripted", "script": script}}}
        return job(tmp_path, out, plan=plan(100), **models, limits={"request_deadline_s": deadline_s})

    first = synth_ray.run(job_with(slow, 6.0)).manifest
    failed = first["rows"]["failed"]["deadline"]
    before = commits(tmp_path)
    retried = synth_ray.run(job_with(quick, 600.0), retry_failed=True).manifest
    assert failed > 0
    assert "deadline" not in retried["rows"]["failed"]
    assert retried["rows"]["requested"] == first["rows"]["requested"] == 200
    assert before.items() < commits(tmp_path).items()
    parts = [f"{out}/{file['path']}" for file in [*retried["files"], *retried["rejected_files"]]]
    ids = duckdb.sql(f"select count(*), count(distinct id) from read_parquet({parts}, union_by_name = true)").fetchall()
    assert ids == [(200, 200)]
    # The output keeps its grown plan: a plain run makes the same dataset, and a second retry has nothing to ask.
    for options in ({}, {"retry_failed": True}):
        assert synth_ray.run(job_with(quick, 600.0), **options).manifest["dataset_digest"] == retried["dataset_digest"]


def test_another_target_admits_the_same_chunks_again_and_asks_nothing(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = synth_ray.run(job(tmp_path, out, plan=plan(100))).manifest
    before = commits(tmp_path)
    other = synth_ray.run(job(tmp_path, out, plan=plan(100), target={"accepted": 50}, cluster={"in_flight": 320})).manifest
    assert other["rows"]["accepted"] == 50 < first["rows"]["accepted"]
    assert commits(tmp_path) == before
