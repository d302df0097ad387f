"""Whole runs with the scripted teacher: on threads, on Ray, on disk and in a bucket, always the same dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.route.preflight import preflight
from synth_ray.storage import open_storage
from tests.conftest import ROOT

SCRIPT = {"repeat_share": 0.2, "empty_share": 0.02, "fail_share": 0.02, "truncate_share": 0.03, "latency_s": 0.001}


def seeds(folder: Path, n: int = 120) -> Path:
    path = folder / "seeds.jsonl"
    rows = [{"prompt": f"Question {i} about the {i % 7}th thing?", "answer": str(i)} for i in range(n)]
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join([*lines, "{broken", json.dumps({"other": 1}), json.dumps(rows[0])]) + "\n")
    return path


def job(folder: Path, prefix: str, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": "scripted",
        "seeds": str(seeds(folder)),
        "recipe": {"name": "vary", "n": 2, "keep": ["answer"]},
        "models": {"teacher": {"engine": "scripted", "script": SCRIPT}},
        "plan": {"requests": 300, "chunk_requests": 40, "window_chunks": 3},
        "dedup": {"compares": ["prompt"]},
        "split": {"allow_synthetic_only_eval": True},
        "output": {"path": prefix},
        "cluster": {"engine": "local"},
        "limits": {"journal_flush_s": 0.2},
    }
    for key, value in more.items():
        document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
    return document


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest of a run on threads, whose dataset digest every other run must have."""
    folder = tmp_path_factory.mktemp("local")
    return synth_ray.run(job(folder, str(folder / "out"))).manifest | {"prefix": str(folder / "out")}


@pytest.fixture(scope="module")
def private_ray() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    yield
    ray.shutdown()


def test_every_slot_and_every_seed_is_accounted_for(local: dict[str, Any]) -> None:
    rows = local["rows"]
    assert rows["requested"] == 600 == rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values())
    assert rows["accepted"] == sum(local["splits"].values())
    assert set(rows["rejected"]) >= {"empty_completion", "truncated", "exact_duplicate"}
    assert set(rows["failed"]) == {"engine_error", "no_answer"}
    assert local["seeds"] == {
        "read": 123,
        "planned": 120,
        "rejected": {"broken_json": 1, "missing_field": 1, "duplicate_seed": 1},
        "rejected_at": {
            reason: [f"{Path(local['prefix']).parent / 'seeds.jsonl'}:{line}"]
            for reason, line in (("broken_json", 121), ("missing_field", 122), ("duplicate_seed", 123))
        },
    }
    assert local["complete"]
    assert local["tokens"]["completion"] > 0


def test_every_row_carries_its_provenance_and_no_lineage_crosses_splits(local: dict[str, Any]) -> None:
    data = f"read_parquet('{local['prefix']}/data/**/*.parquet', hive_partitioning = true)"
    [(rows, ids, depths, digests)] = duckdb.sql(
        f"select count(*), count(distinct id), list(distinct depth), list(distinct ask_digest) from {data} "
        "where origin = 'synthetic'"
    ).fetchall()
    assert (rows, ids, depths, digests) == (local["rows"]["accepted"], rows, [1], [local["ask_digest"]])
    assert duckdb.sql(f"select 1 from {data} group by lineage having count(distinct split) > 1").fetchall() == []


def test_a_rejected_row_is_kept_with_its_reason_and_its_kept_witness(local: dict[str, Any]) -> None:
    data, rejected = (f"read_parquet('{local['prefix']}/{part}')" for part in ("data/**/*.parquet", "rejected/*.parquet"))
    by_reason = dict(duckdb.sql(f"select reason, count(*) from {rejected} group by 1").fetchall())
    assert by_reason == {**local["rows"]["rejected"], **local["rows"]["failed"]}
    orphaned = duckdb.sql(f"select 1 from {rejected} where witness is not null and witness not in (select id from {data})")
    assert orphaned.fetchall() == []


def test_running_again_asks_nothing_and_changes_nothing(local: dict[str, Any]) -> None:
    prefix = Path(local["prefix"])
    second = synth_ray.run(job(prefix.parent, str(prefix))).manifest
    assert second["dataset_digest"] == local["dataset_digest"]
    assert second["rows"] == local["rows"]
    assert list((prefix / "_synth" / "asks").rglob("*.z")) == []


def test_a_job_that_asks_something_else_is_refused_with_the_key(local: dict[str, Any]) -> None:
    prefix = Path(local["prefix"])
    with pytest.raises(JobError, match=r"sampling\.temperature"):
        synth_ray.run(job(prefix.parent, str(prefix), sampling={"temperature": 0.1}))


@pytest.mark.parametrize("window", [1, 8])
def test_the_window_and_the_number_of_workers_do_not_change_the_dataset(
    local: dict[str, Any], tmp_path: Path, window: int
) -> None:
    changes = {"cluster": {"teachers": 3, "stagers": 2}, "plan": {"window_chunks": window}}
    assert synth_ray.run(job(tmp_path, str(tmp_path / "out"), **changes)).manifest["dataset_digest"] == local["dataset_digest"]


@pytest.mark.ray
@pytest.mark.parametrize("stagers", [1, 2, 3])
def test_on_ray_with_any_number_of_actors_the_dataset_is_the_same(
    local: dict[str, Any], tmp_path: Path, private_ray: None, stagers: int
) -> None:
    changes = {"cluster": {"engine": "ray", "stagers": stagers, "teachers": 2, "cpus_per_teacher": 0.5}}
    assert synth_ray.run(job(tmp_path, str(tmp_path / "out"), **changes)).manifest["dataset_digest"] == local["dataset_digest"]


@pytest.mark.ray
def test_the_command_line_joins_a_running_cluster_by_its_address(
    local: dict[str, Any], tmp_path: Path, private_ray: None
) -> None:
    import ray

    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job(tmp_path, str(tmp_path / "out"), cluster={"engine": "ray", "cpus_per_teacher": 0.5})))
    command = [sys.executable, "-m", "synth_ray.cli.main", "run", str(path), "--address", ray.get_runtime_context().gcs_address]
    subprocess.run([*command, "--quiet"], check=True, cwd=ROOT)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["dataset_digest"] == local["dataset_digest"]


@pytest.mark.ray
def test_a_teacher_that_dies_is_replaced_and_the_dataset_is_the_same(
    local: dict[str, Any], tmp_path: Path, private_ray: None
) -> None:
    changes = {
        "cluster": {"engine": "ray", "teachers": 2, "cpus_per_teacher": 0.5},
        "models": {
            "teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 0.05, "concurrency": 20, "die_after": 250}}
        },
        "limits": {"engine_replacements": 8, "journal_flush_s": 0.2},
    }
    assert synth_ray.run(job(tmp_path, str(tmp_path / "out"), **changes)).manifest["dataset_digest"] == local["dataset_digest"]


@pytest.mark.ray
def test_with_a_sharded_index_the_dataset_is_the_same(local: dict[str, Any], tmp_path: Path, private_ray: None) -> None:
    changes = {"cluster": {"engine": "ray", "index_shards": 2, "cpus_per_teacher": 0.5}}
    assert synth_ray.run(job(tmp_path, str(tmp_path / "out"), **changes)).manifest["dataset_digest"] == local["dataset_digest"]


def test_a_row_that_repeats_an_earlier_runs_is_rejected_and_an_incompatible_index_is_refused(
    local: dict[str, Any], tmp_path: Path
) -> None:
    second = synth_ray.run(job(tmp_path, str(tmp_path / "out"), dedup={"against": [local["prefix"]]})).manifest
    rejected = second["rows"]["rejected"]
    assert second["rows"]["accepted"] == 0
    assert rejected["exact_duplicate"] >= local["rows"]["accepted"]
    assert rejected["cross_split"] > 0  # by n-grams shared with rows of the earlier run in the other split
    other = job(tmp_path, str(tmp_path / "other"), dedup={"against": [local["prefix"]], "min_tokens": 7})
    nowhere = job(tmp_path, str(tmp_path / "third"), dedup={"against": [str(tmp_path / "nowhere")]})
    for wrong, message in ((other, "min_tokens: 6 there, 7 here"), (nowhere, "keep_index")):
        with pytest.raises(JobError, match=message):
            preflight(job_from(wrong))
        with pytest.raises(JobError, match=message):
            synth_ray.run(wrong)


def test_an_earlier_run_of_one_side_is_refused_by_rows_of_both(tmp_path: Path) -> None:
    first = job(tmp_path, str(tmp_path / "first"), plan={"requests": 40}, split={"fractions": {"train": 1.0}})
    synth_ray.run(first)
    second = job(tmp_path, str(tmp_path / "second"), dedup={"against": [str(tmp_path / "first")]})
    for step in (lambda: preflight(job_from(second)), lambda: synth_ray.run(second)):
        with pytest.raises(JobError, match="wanted the long n-grams of its train rows, because this job has evaluation rows"):
            step()


@pytest.mark.s3
def test_in_a_bucket_the_dataset_is_the_same(local: dict[str, Any], tmp_path: Path, bucket: str, moto_server: str) -> None:
    output = {"path": f"s3://{bucket}/route", "endpoint_url": moto_server}
    manifest = synth_ray.run(job(tmp_path, "", output=output)).manifest
    assert manifest["dataset_digest"] == local["dataset_digest"]
    storage = open_storage(output["path"], endpoint_url=moto_server)
    assert json.loads(storage.read("manifest.json"))["dataset_digest"] == local["dataset_digest"]


def test_a_target_stops_at_its_rows_and_the_rest_is_over_quota(tmp_path: Path) -> None:
    manifest = synth_ray.run(job(tmp_path, str(tmp_path / "out"), target={"accepted": 100}, cluster={"in_flight": 320})).manifest
    assert manifest["rows"]["accepted"] == 100
    assert manifest["complete"]
    assert manifest["rows"]["requested"] < 400


def test_a_budget_stops_a_run_with_a_valid_partial_manifest_and_the_run_resumes(local: dict[str, Any], tmp_path: Path) -> None:
    slow = {"models": {"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 0.3, "concurrency": 40}}}}
    short = synth_ray.run(job(tmp_path, str(tmp_path / "out"), budget={"max_seconds": 2.0}, **slow))
    assert short.stopped.startswith("budget.max_seconds")
    assert not short.manifest["complete"]
    resumed = synth_ray.run(job(tmp_path, str(tmp_path / "out")))
    assert resumed.manifest["dataset_digest"] == local["dataset_digest"]


def test_an_evaluation_split_is_never_synthetic_only_unless_the_job_says_so(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="allow_synthetic_only_eval"):
        synth_ray.run(job(tmp_path, str(tmp_path / "out"), split={"allow_synthetic_only_eval": False}))


def test_real_rows_are_in_the_evaluation_splits_and_their_prompts_are_never_seeds(tmp_path: Path) -> None:
    real = tmp_path / "real.jsonl"
    real.write_text(
        "\n".join(json.dumps({"prompt": f"Question {i} about the {i % 7}th thing?", "answer": "real"}) for i in range(9))
    )
    manifest = synth_ray.run(job(tmp_path, str(tmp_path / "out"), split={"real": [{"path": str(real)}]})).manifest
    assert manifest["seeds"]["rejected"]["reserved_for_eval"] == 9
    assert manifest["rows"]["real"] == 9
    data = f"read_parquet('{tmp_path}/out/data/**/*.parquet', hive_partitioning = true)"
    splits = duckdb.sql(f"select distinct split from {data} where origin = 'real'").fetchall()
    assert {s for (s,) in splits} <= {"validation", "test"}
