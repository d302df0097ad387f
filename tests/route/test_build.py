"""`build`: a dataset of real rows without a teacher. Every seed shape becomes a row of origin `real`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.errors import JobError

SEEDS = [
    {"question": f"How many legs have {n} spiders with {n + 1} friends?", "answer": f"They have {8 * (2 * n + 1)} legs."}
    for n in range(30)
]
SHAPES: list[dict[str, Any]] = [
    {"instruction": "Translate the word for a small grey house animal.", "input": "cat", "output": "chat", "topic": "words"},
    {"conversations": [{"from": "human", "value": "Which river runs through Cologne?"}, {"from": "gpt", "value": "The Rhine."}]},
    {
        "messages": [
            {"role": "user", "content": "Hello there, are you the desk?"},
            {"role": "assistant", "content": "I am."},
            {"role": "user", "content": "Then where is my parcel, please?"},
            {"role": "assistant", "content": "In Oslo."},
        ]
    },
    {"question": "A question that nobody ever answered?"},
    {"question": "Who wrote to you about the late delivery?", "answer": "It was jo.doe@mail.com, yesterday."},
]


def job(folder: Path, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "real rows",
        "seeds": {"path": str(folder / "seeds.jsonl")},
        "recipe": "build",
        "models": "none",
        "split": {"fractions": {"train": 0.8, "test": 0.2}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    } | more


@pytest.mark.parametrize("shape", SHAPES, ids=["alpaca", "sharegpt", "messages", "unanswered", "personal"])
def test_each_shape_becomes_one_row_of_messages(tmp_path: Path, shape: dict[str, Any]) -> None:
    manifest = synth_ray.run(job(tmp_path, [shape], split={"fractions": {"train": 1.0}})).manifest
    if "question" in shape and "answer" not in shape:
        assert manifest["rows"]["rejected"] == {"missing_field": 1}
        return
    assert manifest["rows"]["accepted"] == 1
    [row] = duckdb.sql(f"select * from read_parquet('{tmp_path}/out/data/**/*.parquet')").df().to_dict("records")
    assert (row["origin"], row["depth"]) == ("real", 0)
    assert not isinstance(row["teacher"], str)
    assert [m["role"] for m in row["messages"]][-1] == "assistant"
    assert len(row["messages"]) == len(shape.get("messages", [1, 2]))
    assert "jo.doe" not in json.dumps(list(row["messages"]))


def test_real_rows_may_be_split_for_evaluation_and_duplicates_are_rejected(tmp_path: Path) -> None:
    manifest = synth_ray.run(job(tmp_path, [*SEEDS, SEEDS[0] | {"note": "again"}])).manifest
    assert manifest["rows"]["requested"] == 31
    assert manifest["rows"]["rejected"]["exact_duplicate"] == 1
    assert set(manifest["splits"]) == {"train", "test"}
    assert manifest["tokens"] == {"prompt": 0, "completion": 0, "cached": 0}
    assert not manifest["synthetic_only_eval"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- synthetic\n" not in card
    assert "synthetic only" not in card


def test_a_recipe_that_asks_is_refused_without_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"models\.teacher: wanted the teacher that recipe 'distill' asks"):
        synth_ray.run(job(tmp_path, SEEDS, recipe="distill"))


def skewed() -> list[dict[str, Any]]:
    """60 rows of one label, 25 of another and 5 of a third; every tenth repeats the row nine before it."""
    labels = ["refund"] * 60 + ["delivery"] * 25 + ["praise"] * 5
    return [
        {"question": f"Message number {n - n % 10 // 9 * 9} about parcel {(n - n % 10 // 9 * 9) * 7919 % 1009}", "answer": label}
        for n, label in enumerate(labels)
    ]


def balanced_job(folder: Path, **target: Any) -> dict[str, Any]:
    options = {
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "dedup": {"near": False},
        "plan": {"chunk_requests": 128},
    }
    return job(folder, skewed(), target=target, **options)


def test_a_class_with_too_many_rows_is_capped(tmp_path: Path) -> None:
    manifest = synth_ray.run(balanced_job(tmp_path, balance={"by": "answer", "up_to": 20})).manifest
    rows = duckdb.sql(
        f"select completion, count(*) from read_parquet('{tmp_path}/out/data/**/*.parquet') group by all"
    ).fetchall()
    assert dict(rows) == {"refund": 20, "delivery": 20, "praise": 5}
    assert manifest["complete"]
    assert manifest["rows"]["requested"] == 45


def test_classes_that_run_out_of_seeds_are_reported(tmp_path: Path) -> None:
    result = synth_ray.run(balanced_job(tmp_path, accepted=60, balance={"by": "answer", "shares": "equal"}))
    assert result.stopped.startswith("target: 45 of 60 rows accepted, 1 of 3 cells short; 1 without more seeds")
    assert {cell["cell"]: cell["accepted"] for cell in result.manifest["target"]["cells"]} == {
        "refund": 20,
        "delivery": 20,
        "praise": 5,
    }
