"""Mixing in real rows: none is dropped for a synthetic row, none is in two splits, and the synthetic share is bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.problems import BadJob


def job(folder: Path, **more: Any) -> dict[str, Any]:
    real = [
        {"prompt": f"real question {n} about parcel {n * 7919 % 1009}?", "answer": f"real answer number {n}"} for n in range(60)
    ]
    real += [real[0], {"prompt": "a question without an answer?"}]
    for name, rows in {"real": real, "seeds": [{"prompt": f"made-up topic {n}"} for n in range(200)]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = {"answers": [*["a made answer about {{ prompt }} and {{ prompt | length }}"] * 3, "real answer number 3"]}
    document: dict[str, Any] = {
        "name": "mix",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": script}},
        "check": {"drop": []},
        "dedup": {"compares": ["completion"], "min_tokens": 3},
        "split": {"fractions": {"train": 0.8, "test": 0.2}, "group_at": None},
        "mix": {"real": str(folder / "real.jsonl")},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    return document | more


def test_real_rows_come_first_are_split_by_lineage_and_keep_their_origin(tmp_path: Path) -> None:
    manifest = synth_ray.run(job(tmp_path)).manifest
    mix = manifest["mix"]
    assert (mix["read"], mix["rejected"]) == (62, {"duplicate_seed": 1, "missing_field": 1})
    assert mix["accepted"] == manifest["rows"]["real"] == 60
    assert not manifest["synthetic_only_eval"]
    parts = f"read_parquet('{tmp_path}/out/data/**/*.parquet', hive_partitioning = true)"
    rows = duckdb.sql(f"select origin, depth, split, count(*) n from {parts} group by all").fetchall()
    real = {split: n for origin, depth, split, n in rows if origin == "real" and depth == 0}
    assert sum(real.values()) == 60
    assert set(real) == {"train", "test"}
    [(repeats,)] = duckdb.sql(f"select count(*) from {parts} where completion = 'real answer number 3'").fetchall()
    assert repeats == 1
    assert mix["synthetic_share"] == round(manifest["rows"]["accepted"] / (manifest["rows"]["accepted"] + 60), 4)


def test_the_share_of_synthetic_rows_is_kept(tmp_path: Path) -> None:
    half = {"real": str(tmp_path / "real.jsonl"), "max_synthetic_share": 0.5}
    manifest = synth_ray.run(job(tmp_path, mix=half)).manifest
    assert manifest["rows"]["accepted"] == 60
    assert manifest["rows"]["rejected"]["over_quota"] > 0
    with pytest.raises(JobError, match="wanted at most 60 synthetic rows beside 60 real ones, got a target of 61"):
        synth_ray.run(job(tmp_path, mix=half, target={"accepted": 61}, output=str(tmp_path / "more")))


def test_synthetic_sources_are_refused_as_real_rows(tmp_path: Path) -> None:
    synthetic = {"real": {"path": str(tmp_path / "real.jsonl"), "origin": "synthetic", "depth": 1}}
    with pytest.raises(BadJob, match="wanted sources of origin real"):
        synth_ray.run(job(tmp_path, mix=synthetic))
