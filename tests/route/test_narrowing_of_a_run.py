"""What a run says of its rows beside real ones: what it compared with, and what is wrong with that before anything is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.job.problems import BadJob
from synth_ray.route.preflight import preflight
from tests.unit.dedup.test_semantic import OTHERS, words_model

WORDS = [*OTHERS, "car", "buy", "quick", "start", "help", "big"]


def lines(folder: Path, name: str, start: int, rows: int) -> str:
    texts = [" ".join(WORDS[(n * k + k) % len(WORDS)] for k in range(1, 9)) + f" {n}" for n in range(start, start + rows)]
    (folder / name).write_text("".join(json.dumps({"prompt": text, "answer": text}) + "\n" for text in texts))
    return str(folder / name)


def job_of(folder: Path, *, seeds: int = 80, **quality: Any) -> dict[str, Any]:
    return {
        "name": "measured",
        "seeds": lines(folder, "seeds.jsonl", 0, seeds),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ["{{ words }}"]}}},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
        "quality": quality,
    }


def manifest_of(job: dict[str, Any]) -> dict[str, Any]:
    synth_ray.run(job)
    manifest: dict[str, Any] = json.loads((Path(job["output"]) / "manifest.json").read_text())
    return manifest


def test_the_seeds_are_the_last_resort_and_called_so(tmp_path: Path) -> None:
    manifest = manifest_of(job_of(tmp_path))
    reference = manifest["reference"]
    assert (reference["source"], reference["rows"], reference["shown"]) == ("seeds", 80, 80)
    assert "which the teacher was shown" in reference["note"] and reference["vectors"] == "words"
    assert manifest["narrowing"]["coverage"]["verdict"] == "fail"  # the script's words are no words of the seeds
    assert "of equal length" in reference["not_measured"] and "vendi" not in manifest["narrowing"]


def test_held_out_rows_are_measured_by_the_named_model_and_seeds_among_them_are_counted(tmp_path: Path) -> None:
    real = lines(tmp_path, "real.jsonl", 70, 90)  # ten are seeds
    model = words_model(tmp_path / "model")
    reference = manifest_of(job_of(tmp_path, reference=real, embedding=str(model)))["reference"]
    assert (reference["source"], reference["rows"], reference["shown"]) == ("quality.reference", 90, 10)
    assert reference["vectors"] == "model" and reference["note"].startswith("10 of 90")


def test_too_few_rows_are_told_with_the_next_move(tmp_path: Path) -> None:
    manifest = manifest_of(job_of(tmp_path, reference=lines(tmp_path, "real.jsonl", 500, 7)))
    assert manifest["narrowing"] == {}
    assert "at least 50" in (said := manifest["reference"]["not_measured"])
    assert "7 real ones (from quality.reference); name more real rows" in said


@pytest.mark.parametrize(
    ("quality", "wanted"),
    [
        ({"embedding": "no/such/folder"}, "quality.embedding: wanted a folder with an embedding model"),
        ({"reference": "no/such.jsonl"}, "quality.reference: "),
    ],
)
def test_what_is_not_there_is_found_before_anything_is_asked(tmp_path: Path, quality: dict[str, Any], wanted: str) -> None:
    job = job_of(tmp_path, **quality)
    with pytest.raises(BadJob, match=wanted):
        preflight(job_from(job))
    with pytest.raises(JobError, match=wanted):
        synth_ray.run(job)
    assert not list((tmp_path / "out").rglob("*.parquet"))
    preflight(job_from(job_of(tmp_path, measure=False, **quality)))  # nothing of it is opened
