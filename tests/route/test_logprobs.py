"""Log-probabilities are stored with each answer whose text is still that of its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq

import synth_ray

ADDRESS = "write to ann.lee@example-mail.com today about {{ words }}"


def test_logprobs_are_a_column_and_are_dropped_where_scrubbing_changed_the_answer(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"question number {n}"}) + "\n" for n in range(200)))
    document: dict[str, Any] = {
        "name": "likely",
        "seeds": str(tmp_path / "seeds.jsonl"),
        "recipe": {"name": "distill", "top_logprobs": 1},
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ["all is well with {{ words }}", ADDRESS]}}},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(tmp_path / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    manifest = synth_ray.run(document).manifest
    assert manifest["pii"]["EMAIL_ADDRESS"] > 10
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.num_rows == manifest["rows"]["accepted"]
    kept = [row for row in rows if row["logprobs"] is not None]
    assert {row["completion"].startswith("all is well") for row in kept} == {True}
    assert sum("EMAIL" in row["completion"] for row in rows) == rows.num_rows - len(kept)
    for row in kept:
        assert "".join(token["token"] for token in row["logprobs"]) == row["completion"]
        assert all(token["top"][0] == {key: token[key] for key in ("token", "id", "logprob")} for token in row["logprobs"])
    for part in (tmp_path / "out").rglob("*.parquet"):
        assert "ann.lee" not in str(pq.read_table(part).to_pylist())
