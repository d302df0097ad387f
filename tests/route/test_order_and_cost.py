"""Order and routing change no row; costs add up over all runs of a dataset, and the budget is not exceeded."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.meter.costs import COSTS
from synth_ray.storage import open_storage
from tests.route.test_route import SCRIPT, job


def document(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    """Three epochs over 80 seeds; every eighth begins with the same long text."""
    job_document = job(folder, str(folder / name), **more)
    seeds = folder / "long.jsonl"
    seeds.write_text(
        "".join(json.dumps({"prompt": f"case {i % 8} " + "x" * 600 + f" question {i}", "answer": "a"}) + "\n" for i in range(80))
    )
    job_document["seeds"] = str(seeds)
    job_document["plan"] = {"requests": 240, "chunk_requests": 30}
    return job_document


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return dict(synth_ray.run(document(tmp_path_factory.mktemp("reference"), "out")).manifest)


@pytest.mark.parametrize(
    "cluster", [{"teachers": 3, "in_flight": 7}, {"teachers": 2, "min_teachers": 2}, {"in_flight": 1, "stagers": 2}]
)
def test_the_dataset_does_not_depend_on_order_or_routing(
    reference: dict[str, Any], tmp_path: Path, cluster: dict[str, Any]
) -> None:
    slow = {"models": {"teacher": {"engine": "scripted", "script": {**SCRIPT, "slow_share": 0.1, "concurrency": 8}}}}
    other = synth_ray.run(document(tmp_path, "other", cluster=cluster, **slow)).manifest
    assert other["dataset_digest"] == reference["dataset_digest"]


def test_a_budget_is_not_exceeded_and_the_cost_of_every_run_is_counted_once(reference: dict[str, Any], tmp_path: Path) -> None:
    slow = {"models": {"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 0.3, "concurrency": 10}}}}
    price = {"gpu_hour_usd": 3600.0}
    looks: list[float] = []  # the driver looks twice a second; where it was late by a second, that cost a dollar more
    short = synth_ray.run(
        document(tmp_path, "out", budget=price | {"max_usd": 3.0}, **slow), watch=lambda _: looks.append(time.monotonic())
    )
    late_s = max(0.0, max(after - before for before, after in pairwise(looks)) - 0.5)
    assert short.stopped.startswith("budget.max_usd")
    assert 0 < short.manifest["cost"]["usd"] <= 3.0 + late_s
    second = synth_ray.run(document(tmp_path, "out", budget=price | {"max_usd": 3.0}))
    assert "by earlier runs" in second.stopped
    third = synth_ray.run(document(tmp_path, "out", budget=price))
    cost, storage = third.manifest["cost"], open_storage(str(tmp_path / "out"))
    kept = [json.loads(storage.read(entry.path)) for entry in storage.list(COSTS)]
    assert cost["runs"] == len(kept) == 3
    assert cost["usd"] == pytest.approx(sum(record["usd"] for record in kept), abs=0.001)
    assert cost["usd"] > short.manifest["cost"]["usd"]
    assert cost["usd_per_1k_accepted"] == pytest.approx(1000 * cost["usd"] / third.manifest["rows"]["accepted"], rel=0.01)
    assert (third.manifest["dataset_digest"], third.manifest["tokens"]) == (reference["dataset_digest"], reference["tokens"])


def test_the_manifest_records_the_engines_and_their_throughput(tmp_path: Path) -> None:
    manifest = synth_ray.run(document(tmp_path, "out", cluster={"teachers": 2})).manifest
    assert manifest["engines"]["teacher"]["engine"] == "scripted"
    assert manifest["engines"]["teacher"]["engine_args"]["concurrency"] == 256
    throughput = manifest["throughput"]
    assert sum(replica["requests"] for replica in throughput["replicas"]) == 240
    assert sum(replica["tokens"]["completion"] for replica in throughput["replicas"]) == manifest["tokens"]["completion"]
    assert throughput["tokens_s"]["completion"] > 0
